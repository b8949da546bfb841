/* Atomic access to shared memory, and the machine's monotonic clock. */
#ifndef TURNOUT_ATOMICS_H
#define TURNOUT_ATOMICS_H
#include <stdint.h>
#include <time.h>

static inline uint64_t atomic_get(const uint64_t *p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
static inline void atomic_put(uint64_t *p, uint64_t v) { __atomic_store_n(p, v, __ATOMIC_RELEASE); }
static inline int atomic_swap_if(uint64_t *p, uint64_t expected, uint64_t v) {
  return __atomic_compare_exchange_n(p, &expected, v, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}
/* The later of what is there and `v` stays. */
static inline void atomic_raise(uint64_t *p, uint64_t v) {
  uint64_t there = __atomic_load_n(p, __ATOMIC_ACQUIRE);
  while (there < v && !__atomic_compare_exchange_n(p, &there, v, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
  }
}
static inline uint64_t clock_ns(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}
/* One clock for all processes of the machine, with a tick of a few milliseconds and next to no cost. */
static inline uint64_t monotonic_ms(void) { return clock_ns(CLOCK_MONOTONIC_COARSE) / 1000000u; }
static inline uint64_t monotonic_ns(void) { return clock_ns(CLOCK_MONOTONIC); }
static inline uint64_t unix_ms(void) { return clock_ns(CLOCK_REALTIME_COARSE) / 1000000u; }
#endif
