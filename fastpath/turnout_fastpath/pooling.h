/* Integer sums over int8 rows. Integer arithmetic is exact, so a sum does not depend on its order or on the vector
 * width that the processor has: the same text gives the same bits everywhere. */
#ifndef TURNOUT_POOLING_H
#define TURNOUT_POOLING_H
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define TURNOUT_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default"), noinline))
#else
#define TURNOUT_CLONES __attribute__((noinline))
#endif

enum { POOLING_LANES = 8 };

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#define POOLING_AVX2 __attribute__((target("avx2")))

/* Sixteen sums of weights[id] * rows[id]: two rows at a time, as pairs of 16-bit numbers. */
POOLING_AVX2 static inline void pool_16_avx2(const int8_t *rows, const uint16_t *weights, int width, const int32_t *ids,
                                             int n, int32_t *sums) {
  __m256i low = _mm256_setzero_si256(), high = low;
  for (int i = 0; i < n; i += 2) {
    const int32_t a = ids[i], b = i + 1 < n ? ids[i + 1] : a;
    const uint32_t pair = weights[a] | (i + 1 < n ? (uint32_t)weights[b] << 16 : 0);
    const __m256i factors = _mm256_set1_epi32((int32_t)pair);
    const __m256i x = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(rows + (size_t)a * width)));
    const __m256i y = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(rows + (size_t)b * width)));
    low = _mm256_add_epi32(low, _mm256_madd_epi16(_mm256_unpacklo_epi16(x, y), factors));
    high = _mm256_add_epi32(high, _mm256_madd_epi16(_mm256_unpackhi_epi16(x, y), factors));
  }
  __m256i *at = (__m256i *)sums;
  const __m256i first = _mm256_permute2x128_si256(low, high, 0x20), second = _mm256_permute2x128_si256(low, high, 0x31);
  _mm256_storeu_si256(at, _mm256_add_epi32(_mm256_loadu_si256(at), first));
  _mm256_storeu_si256(at + 1, _mm256_add_epi32(_mm256_loadu_si256(at + 1), second));
}

/* As above, 64 sums in registers. */
POOLING_AVX2 static inline void pool_64_avx2(const int8_t *rows, const uint16_t *weights, int width, const int32_t *ids,
                                             int n, int32_t *sums) {
  __m256i low[4], high[4];
#pragma GCC unroll 4
  for (int k = 0; k < 4; k++) low[k] = high[k] = _mm256_setzero_si256();
  for (int i = 0; i < n; i += 2) {
    const int32_t a = ids[i], b = i + 1 < n ? ids[i + 1] : a;
    const uint32_t pair = weights[a] | (i + 1 < n ? (uint32_t)weights[b] << 16 : 0);
    const __m256i factors = _mm256_set1_epi32((int32_t)pair);
    const __m128i *p = (const __m128i *)(rows + (size_t)a * width), *q = (const __m128i *)(rows + (size_t)b * width);
    if (i + 9 < n) {
      __builtin_prefetch(rows + (size_t)ids[i + 8] * width);
      __builtin_prefetch(rows + (size_t)ids[i + 9] * width);
    }
#pragma GCC unroll 4
    for (int k = 0; k < 4; k++) {
      const __m256i x = _mm256_cvtepi8_epi16(_mm_loadu_si128(p + k)), y = _mm256_cvtepi8_epi16(_mm_loadu_si128(q + k));
      low[k] = _mm256_add_epi32(low[k], _mm256_madd_epi16(_mm256_unpacklo_epi16(x, y), factors));
      high[k] = _mm256_add_epi32(high[k], _mm256_madd_epi16(_mm256_unpackhi_epi16(x, y), factors));
    }
  }
#pragma GCC unroll 4
  for (int k = 0; k < 4; k++) {
    __m256i *at = (__m256i *)(sums + 16 * k);
    const __m256i first = _mm256_permute2x128_si256(low[k], high[k], 0x20);
    const __m256i second = _mm256_permute2x128_si256(low[k], high[k], 0x31);
    _mm256_storeu_si256(at, _mm256_add_epi32(_mm256_loadu_si256(at), first));
    _mm256_storeu_si256(at + 1, _mm256_add_epi32(_mm256_loadu_si256(at + 1), second));
  }
}

POOLING_AVX2 static void pool_rows_avx2(const int8_t *rows, const uint16_t *weights, int width, const int32_t *ids,
                                        int n, int32_t *sums) {
  int d = 0;
  for (; d + 64 <= width; d += 64) pool_64_avx2(rows + d, weights, width, ids, n, sums + d);
  for (; d < width; d += 16) pool_16_avx2(rows + d, weights, width, ids, n, sums + d);
}

/* Up to 256 rows: their sums fit in 16 bits. */
POOLING_AVX2 static inline void sum_16_avx2(const int8_t *rows, int width, const uint32_t *buckets, int n,
                                            int32_t *sums) {
  __m256i total = _mm256_setzero_si256();
  for (int i = 0; i < n; i++)
    total = _mm256_add_epi16(
        total, _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(rows + (size_t)buckets[i] * width))));
  __m256i *at = (__m256i *)sums;
  const __m256i first = _mm256_cvtepi16_epi32(_mm256_castsi256_si128(total));
  const __m256i second = _mm256_cvtepi16_epi32(_mm256_extracti128_si256(total, 1));
  _mm256_storeu_si256(at, _mm256_add_epi32(_mm256_loadu_si256(at), first));
  _mm256_storeu_si256(at + 1, _mm256_add_epi32(_mm256_loadu_si256(at + 1), second));
}

/* As above, 32 sums. */
POOLING_AVX2 static inline void sum_32_avx2(const int8_t *rows, int width, const uint32_t *buckets, int n,
                                            int32_t *sums) {
  __m256i low = _mm256_setzero_si256(), high = low;
  for (int i = 0; i < n; i++) {
    const __m128i *row = (const __m128i *)(rows + (size_t)buckets[i] * width);
    if (i + 16 < n) __builtin_prefetch(rows + (size_t)buckets[i + 16] * width);
    low = _mm256_add_epi16(low, _mm256_cvtepi8_epi16(_mm_loadu_si128(row)));
    high = _mm256_add_epi16(high, _mm256_cvtepi8_epi16(_mm_loadu_si128(row + 1)));
  }
  for (int k = 0; k < 4; k++) {
    const __m256i half = k < 2 ? low : high;
    const __m128i quarter = k & 1 ? _mm256_extracti128_si256(half, 1) : _mm256_castsi256_si128(half);
    __m256i *at = (__m256i *)sums + k;
    _mm256_storeu_si256(at, _mm256_add_epi32(_mm256_loadu_si256(at), _mm256_cvtepi16_epi32(quarter)));
  }
}

POOLING_AVX2 static void sum_rows_avx2(const int8_t *rows, int width, const uint32_t *buckets, int n, int32_t *sums) {
  for (int i = 0; i < n; i += 256) {
    const int some = n - i < 256 ? n - i : 256;
    int c = 0;
    for (; c + 32 <= width; c += 32) sum_32_avx2(rows + c, width, buckets + i, some, sums + c);
    for (; c < width; c += 16) sum_16_avx2(rows + c, width, buckets + i, some, sums + c);
  }
}

/* The dots of eight rows. */
POOLING_AVX2 static inline __attribute__((always_inline)) __m256i dot_8_avx2(const int8_t *rows, const int width, const int16_t *query) {
  __m256i dots[8];
#pragma GCC unroll 8
  for (int k = 0; k < 8; k++) dots[k] = _mm256_setzero_si256();
  for (int d = 0; d < width; d += 16) {
    const __m256i part = _mm256_loadu_si256((const __m256i *)(query + d));
#pragma GCC unroll 8
    for (int k = 0; k < 8; k++) {
      const __m256i row = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(rows + (size_t)k * width + d)));
      dots[k] = _mm256_add_epi32(dots[k], _mm256_madd_epi16(row, part));
    }
  }
  const __m256i a = _mm256_hadd_epi32(_mm256_hadd_epi32(dots[0], dots[1]), _mm256_hadd_epi32(dots[2], dots[3]));
  const __m256i b = _mm256_hadd_epi32(_mm256_hadd_epi32(dots[4], dots[5]), _mm256_hadd_epi32(dots[6], dots[7]));
  return _mm256_add_epi32(_mm256_permute2x128_si256(a, b, 0x20), _mm256_permute2x128_si256(a, b, 0x31));
}

/* Returns how many rows it has done, a multiple of eight. */
POOLING_AVX2 static int dot_rows_avx2(const int8_t *rows, int n, int width, const int16_t *query, int32_t *dots) {
  int i = 0;
  /* With the width known, the addresses are too. */
  for (; width == 64 && i + 8 <= n; i += 8)
    _mm256_storeu_si256((__m256i *)(dots + i), dot_8_avx2(rows + (size_t)i * 64, 64, query));
  for (; i + 8 <= n; i += 8)
    _mm256_storeu_si256((__m256i *)(dots + i), dot_8_avx2(rows + (size_t)i * width, width, query));
  return i;
}
#define POOLING_HAS_AVX2 __builtin_cpu_supports("avx2")
#else
#define POOLING_HAS_AVX2 0
#define pool_rows_avx2(...) ((void)0)
#define sum_rows_avx2(...) ((void)0)
#define dot_rows_avx2(...) 0
#endif

/* sums[d] += weights[id] * rows[id][d] over all ids; the width is a multiple of 16. A row contributes at most
 * 127 * 16,383 a dimension, so 1,000 ids stay below 2^31. */
static void pool_rows(const int8_t *rows, const uint16_t *weights, int width, const int32_t *ids, int n,
                      int32_t *sums) {
  if (POOLING_HAS_AVX2) {
    pool_rows_avx2(rows, weights, width, ids, n, sums);
    return;
  }
  for (int i = 0; i < n; i++) {
    const int8_t *row = rows + (size_t)ids[i] * width;
    const int32_t weight = weights[ids[i]];
    for (int d = 0; d < width; d++) sums[d] += weight * row[d];
  }
}

/* sums[c] += rows[bucket][c] over all buckets; the width is a multiple of 16. */
static void sum_rows(const int8_t *rows, int width, const uint32_t *buckets, int n, int32_t *sums) {
  if (POOLING_HAS_AVX2) {
    sum_rows_avx2(rows, width, buckets, n, sums);
    return;
  }
  for (int i = 0; i < n; i++) {
    const int8_t *row = rows + (size_t)buckets[i] * width;
    for (int c = 0; c < width; c++) sums[c] += row[c];
  }
}

/* dots[i] = query . rows[i]; |query[d]| <= 32,767, so 127 * 32,767 * width stays below 2^31 for width <= 512. */
static void dot_rows(const int8_t *rows, int n, int width, const int16_t *query, int32_t *dots) {
  int i = POOLING_HAS_AVX2 ? dot_rows_avx2(rows, n, width, query, dots) : 0;
  for (; i < n; i++) {
    const int8_t *row = rows + (size_t)i * width;
    int32_t dot = 0;
    for (int d = 0; d < width; d++) dot += (int32_t)query[d] * row[d];
    dots[i] = dot;
  }
}

/* cosines[i] = dots[i] / spans[i]. */
TURNOUT_CLONES static void divide_dots(const int32_t *restrict dots, const float *restrict spans, int n,
                                       float *restrict cosines) {
  for (int i = 0; i < n; i++) cosines[i] = (float)dots[i] / spans[i];
}

/* The greatest of n numbers, of which there is at least one. */
static inline float greatest_of(const float *values, int n) {
  float lanes[4], most;
  int i = 0;
  if (n < 4) {
    most = values[0];
    for (i = 1; i < n; i++) most = values[i] > most ? values[i] : most;
    return most;
  }
  for (int k = 0; k < 4; k++) lanes[k] = values[k];
  for (i = 4; i + 4 <= n; i += 4)
    for (int k = 0; k < 4; k++) lanes[k] = values[i + k] > lanes[k] ? values[i + k] : lanes[k];
  for (int k = 0; i + k < n; k++) lanes[k] = values[i + k] > lanes[k] ? values[i + k] : lanes[k];
  most = lanes[0];
  for (int k = 1; k < 4; k++) most = lanes[k] > most ? lanes[k] : most;
  return most;
}

/* The unit vector of `sums`, and that times 32,767, rounded to nearest even; 0 if the sums are. Squares are added up by
 * lanes, and then halves of these to halves. The width is a multiple of 16. */
TURNOUT_CLONES static int normalise_sums(const int32_t *restrict sums, int width, float *restrict unit,
                                         int16_t *restrict query) {
  const float shift = 12582912; /* 1.5 * 2^23: added, it leaves an integer in the lowest bits */
  double squares[POOLING_LANES] = {0}, length;
  for (int d = 0; d < width; d += POOLING_LANES)
    for (int k = 0; k < POOLING_LANES; k++) squares[k] += (double)sums[d + k] * (double)sums[d + k];
  for (int half = POOLING_LANES / 2; half; half /= 2)
    for (int k = 0; k < half; k++) squares[k] += squares[k + half];
  length = squares[0] > 0 ? 1.0 / sqrt(squares[0]) : 0;
  for (int d = 0; d < width; d++) {
    float steps;
    uint32_t bits;
    unit[d] = (float)(sums[d] * length);
    steps = unit[d] * 32767 + shift;
    memcpy(&bits, &steps, sizeof bits);
    query[d] = (int16_t)bits;
  }
  return squares[0] > 0;
}
#endif
