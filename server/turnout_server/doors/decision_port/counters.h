/* Counters of one thread that others read at any time: plain loads and stores, but whole ones. */
#ifndef TURNOUT_COUNTERS_H
#define TURNOUT_COUNTERS_H
#include <stdint.h>

static inline void counter_add(uint64_t *counter, uint64_t n) {
  __atomic_store_n(counter, __atomic_load_n(counter, __ATOMIC_RELAXED) + n, __ATOMIC_RELAXED);
}
static inline uint64_t counter_read(const uint64_t *counter) { return __atomic_load_n(counter, __ATOMIC_RELAXED); }

/* A pointer handed from one thread to another. */
static inline void *mailbox_swap(void **box, void *value) { return __atomic_exchange_n(box, value, __ATOMIC_ACQ_REL); }
static inline void *mailbox_read(void **box) { return __atomic_load_n(box, __ATOMIC_ACQUIRE); }
static inline int flag_read(const int *flag) { return __atomic_load_n(flag, __ATOMIC_ACQUIRE); }
static inline void flag_set(int *flag, int value) { __atomic_store_n(flag, value, __ATOMIC_RELEASE); }
#endif
