/* Bytes from one thread to another, in records of any length: the producer never waits, and counts what finds no room.

   `head` and `tail` count bytes since the beginning and are each written by one side; a record is 8 bytes of its size and
   then its own, rounded up to 8, in one piece: where it would reach past the end of the memory, a SKIP fills that. */
#ifndef TURNOUT_RING_H
#define TURNOUT_RING_H
#include <stddef.h>
#include <stdint.h>

#define RING_SKIP UINT32_MAX
#define RING_LINE 64 /* of the processor's cache: the two sides do not share one */

typedef struct {
  _Alignas(RING_LINE) uint64_t head; /* of the producer, as the next three */
  uint64_t claimed;
  uint64_t tail_seen;
  uint64_t dropped;
  _Alignas(RING_LINE) uint64_t tail; /* of the consumer */
  _Alignas(RING_LINE) uint8_t *data; /* of neither; 8-byte aligned */
  uint64_t size;                     /* a power of two */
} ring_t;

static inline uint64_t ring_needs(uint64_t size) { return 8 + ((size + 7) & ~(uint64_t)7); }

/* Room for a record of `size` bytes, to be filled and published before the next claim; NULL, and counted: there is none. */
static inline uint8_t *ring_claim(ring_t *ring, uint64_t size) {
  uint64_t needed = ring_needs(size), at = ring->head & (ring->size - 1), to_end = ring->size - at;
  uint64_t skipped = to_end < needed ? to_end : 0;
  if (needed > ring->size / 2) goto full;
  if (ring->size - (ring->head - ring->tail_seen) < needed + skipped) {
    ring->tail_seen = __atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE);
    if (ring->size - (ring->head - ring->tail_seen) < needed + skipped) goto full;
  }
  if (skipped) {
    *(uint32_t *)(ring->data + at) = RING_SKIP;
    at = 0;
  }
  *(uint32_t *)(ring->data + at) = (uint32_t)size;
  ring->claimed = ring->head + skipped + needed;
  return ring->data + at + 8;
full:
  __atomic_store_n(&ring->dropped, ring->dropped + 1, __ATOMIC_RELAXED);
  return NULL;
}

static inline void ring_publish(ring_t *ring) { __atomic_store_n(&ring->head, ring->claimed, __ATOMIC_RELEASE); }

/* The oldest record, which stays until it is released; NULL: there is none. */
static inline const uint8_t *ring_peek(ring_t *ring, uint64_t *size) {
  uint64_t head = __atomic_load_n(&ring->head, __ATOMIC_ACQUIRE), tail = ring->tail, at;
  if (tail == head) return NULL;
  at = tail & (ring->size - 1);
  if (*(const uint32_t *)(ring->data + at) == RING_SKIP) {
    /* A record follows: both were published at once. */
    __atomic_store_n(&ring->tail, tail + ring->size - at, __ATOMIC_RELEASE);
    at = 0;
  }
  *size = *(const uint32_t *)(ring->data + at);
  return ring->data + at + 8;
}

static inline void ring_release(ring_t *ring, uint64_t size) {
  __atomic_store_n(&ring->tail, ring->tail + ring_needs(size), __ATOMIC_RELEASE);
}

static inline uint64_t ring_dropped(const ring_t *ring) { return __atomic_load_n(&ring->dropped, __ATOMIC_RELAXED); }
#endif
