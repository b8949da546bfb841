/* Times in buckets whose width is at most 1/128 of their value, after Gil Tene's HdrHistogram. histogram.py reads them. */
#ifndef TURNOUT_HISTOGRAM_H
#define TURNOUT_HISTOGRAM_H
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>

enum {
  STEP_BITS = 7,                 /* buckets to a power of two: 128 */
  STEPS = 1 << STEP_BITS,
  VALUE_BITS = 40,               /* up to 18 minutes in ns; more counts as that */
  BUCKETS = (VALUE_BITS - STEP_BITS + 1) * STEPS,
};

typedef struct {
  uint64_t counts[BUCKETS];
  uint64_t n, sum_ns, max_ns;
} histogram_t;

static inline int bucket_of(uint64_t ns) {
  int shift;
  if (ns >> VALUE_BITS) ns = (1ull << VALUE_BITS) - 1;
  if (ns < STEPS) return (int)ns;
  shift = 63 - __builtin_clzll(ns) - STEP_BITS;
  return (shift + 1) * STEPS + (int)((ns >> shift) - STEPS);
}

static inline void histogram_add(histogram_t *histogram, uint64_t ns) {
  histogram->counts[bucket_of(ns)]++;
  histogram->n++;
  histogram->sum_ns += ns;
  if (ns > histogram->max_ns) histogram->max_ns = ns;
}

/* As JSON: buckets that are not empty. */
static inline void histogram_print(const histogram_t *histogram) {
  const char *comma = "";
  printf("{\"count\":%" PRIu64 ",\"sum_ns\":%" PRIu64 ",\"max_ns\":%" PRIu64 ",\"buckets\":[", histogram->n,
         histogram->sum_ns, histogram->max_ns);
  for (int i = 0; i < BUCKETS; i++)
    if (histogram->counts[i]) {
      printf("%s[%d,%" PRIu64 "]", comma, i, histogram->counts[i]);
      comma = ",";
    }
  printf("]}");
}
#endif
