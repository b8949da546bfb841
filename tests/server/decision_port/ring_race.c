/* The ring of the decision port against a queue that remembers, and under a race of its two sides. */
#include "ring.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_WAITING = 4096 };

static ring_t make(uint64_t size) {
  ring_t ring;
  memset(&ring, 0, sizeof ring);
  ring.data = aligned_alloc(64, size);
  ring.size = size;
  return ring;
}

static uint32_t next(uint64_t *state) {
  *state = *state * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(*state >> 33);
}

static void fill(uint8_t *at, uint64_t size, uint64_t number) {
  for (uint64_t i = 0; i < size; i++) at[i] = (uint8_t)(number * 31 + i);
}

static int holds(const uint8_t *at, uint64_t size, uint64_t number) {
  for (uint64_t i = 0; i < size; i++)
    if (at[i] != (uint8_t)(number * 31 + i)) return 0;
  return 1;
}

/* Steps of one thread: what goes in comes out, in order, and nothing is refused that must fit. */
static int remembers(uint64_t size, uint64_t seed, int steps) {
  static uint64_t numbers[MOST_WAITING], sizes[MOST_WAITING];
  ring_t ring = make(size);
  uint64_t state = seed, first = 0, last = 0, dropped = 0, bytes = 0;
  for (uint64_t step = 0; step < (uint64_t)steps; step++) {
    if (next(&state) % 2) {
      uint64_t wanted = next(&state) % (next(&state) % 8 ? 64 : size);
      uint8_t *at = ring_claim(&ring, wanted);
      if (at == NULL) {
        dropped++;
        /* The most that a skip can waste is less than the record itself. */
        if (ring_needs(wanted) <= size / 2 && bytes + 2 * ring_needs(wanted) <= size) return 1;
        continue;
      }
      fill(at, wanted, step);
      if (next(&state) % 8 == 0) continue; /* claimed and given up: as if it had not been */
      ring_publish(&ring);
      numbers[last % MOST_WAITING] = step;
      sizes[last++ % MOST_WAITING] = wanted;
      bytes = ring.head - ring.tail;
    } else {
      uint64_t found;
      const uint8_t *at = ring_peek(&ring, &found);
      if ((at == NULL) != (first == last)) return 2;
      if (at == NULL) continue;
      if (found != sizes[first % MOST_WAITING] || !holds(at, found, numbers[first % MOST_WAITING])) return 3;
      first++;
      ring_release(&ring, found);
      bytes = ring.head - ring.tail;
    }
  }
  free(ring.data);
  return ring_dropped(&ring) == dropped ? 0 : 4;
}

static ring_t shared;
static int is_over;
static uint64_t published;

static void *produce(void *told) {
  uint64_t state = 7, steps = *(uint64_t *)told;
  for (uint64_t step = 0; step < steps; step++) {
    uint64_t size = 8 + next(&state) % 200;
    uint8_t *at = ring_claim(&shared, size);
    if (at == NULL) continue;
    memcpy(at, &step, 8);
    fill(at + 8, size - 8, step);
    ring_publish(&shared);
    published++;
  }
  __atomic_store_n(&is_over, 1, __ATOMIC_RELEASE);
  return NULL;
}

/* The two sides at once: each record that was published comes whole and in order; the others are counted. */
static int races(uint64_t steps) {
  pthread_t producer;
  uint64_t taken = 0, before = 0, number, size;
  shared = make(4096);
  pthread_create(&producer, NULL, produce, &steps);
  for (;;) {
    int over = __atomic_load_n(&is_over, __ATOMIC_ACQUIRE);
    const uint8_t *at = ring_peek(&shared, &size);
    if (at == NULL) {
      if (over) break;
      continue;
    }
    memcpy(&number, at, 8);
    if (taken && number <= before) return 5;
    if (!holds(at + 8, size - 8, number)) return 6;
    before = number;
    taken++;
    ring_release(&shared, size);
  }
  pthread_join(producer, NULL);
  free(shared.data);
  return taken == published && taken + ring_dropped(&shared) == steps ? 0 : 7;
}

int main(int count, char **told) {
  uint64_t steps = count > 1 ? strtoull(told[1], NULL, 10) : 200000;
  int failed = 0;
  for (uint64_t seed = 1; seed <= 20 && !failed; seed++) failed = remembers(64u << (seed % 8), seed, (int)(steps / 20));
  if (!failed) failed = races(steps);
  if (failed) fprintf(stderr, "the ring failed: check %d\n", failed);
  return failed;
}
