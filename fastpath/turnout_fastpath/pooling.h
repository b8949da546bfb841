/* Integer sums over int8 rows. Integer arithmetic is exact, so a sum does not depend on its order or on the vector
 * width that the processor has: the same text gives the same bits everywhere. */
#ifndef TURNOUT_POOLING_H
#define TURNOUT_POOLING_H
#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define TURNOUT_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default"), noinline))
#else
#define TURNOUT_CLONES __attribute__((noinline))
#endif

/* sums[d] += weights[id] * rows[id][d] over all ids; the width is a multiple of 16. A row contributes at most
 * 127 * 16,383 a dimension, so 1,000 ids stay below 2^31. */
TURNOUT_CLONES static void pool_rows(const int8_t *rows, const uint16_t *weights, int width, const int32_t *ids, int n,
                                     int32_t *sums) {
  for (int i = 0; i < n; i++) {
    if (i + 8 < n) __builtin_prefetch(rows + (size_t)ids[i + 8] * width);
    const int8_t *row = rows + (size_t)ids[i] * width;
    const int32_t weight = weights[ids[i]];
    for (int d = 0; d < width; d++) sums[d] += weight * row[d];
  }
}

/* sums[c] += rows[bucket][c] over all buckets; the width is a multiple of 16. */
TURNOUT_CLONES static void sum_rows(const int8_t *rows, int width, const uint32_t *buckets, int n, int32_t *sums) {
  for (int i = 0; i < n; i++) {
    if (i + 8 < n) __builtin_prefetch(rows + (size_t)buckets[i + 8] * width);
    const int8_t *row = rows + (size_t)buckets[i] * width;
    for (int c = 0; c < width; c++) sums[c] += row[c];
  }
}

/* dots[i] = query . rows[i]; |query[d]| <= 32,767, so 127 * 32,767 * width stays below 2^31 for width <= 512. */
TURNOUT_CLONES static void dot_rows(const int8_t *rows, int n, int width, const int16_t *query, int32_t *dots) {
  for (int i = 0; i < n; i++) {
    const int8_t *row = rows + (size_t)i * width;
    int32_t dot = 0;
    for (int d = 0; d < width; d++) dot += (int32_t)query[d] * row[d];
    dots[i] = dot;
  }
}
#endif
