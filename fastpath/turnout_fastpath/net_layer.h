/* The arithmetic of a net in float32. Each sum is made in the order of the rows, and each step rounds alone, so that
 * nothing depends on the vector width that the processor has: the same input gives the same bits everywhere. Compiled
 * without fused multiply-add. */
#ifndef TURNOUT_NET_LAYER_H
#define TURNOUT_NET_LAYER_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "pooling.h"

enum { NET_LANES = 8, NET_COLUMNS = 16, NET_ROW_WORD = 64 };

/* sums[j] += values[i] * weights[i][j] over the rows i whose bit in `used` is set; the width is a multiple of NET_COLUMNS,
 * `words` the number of words of `used`. */
typedef void (*net_layer_t)(const float *weights, int width, const float *values, const uint64_t *used, int words,
                            float *sums);

/* A layer by vectors of `lanes` numbers, so many of them a pass that their sums stay in registers. */
#define NET_LAYER(name, lanes, most, attributes)                                                                      \
  typedef float name##_t __attribute__((vector_size(4 * lanes), aligned(4), may_alias));                              \
  static inline attributes __attribute__((always_inline)) void name##_pass(                                           \
      const float *weights, int width, const float *values, const uint64_t *used, int words, float *sums,             \
      const int vectors) {                                                                                            \
    name##_t kept[most];                                                                                              \
    _Pragma("GCC unroll 32") for (int k = 0; k < vectors; k++) kept[k] = ((name##_t *)sums)[k];                       \
    for (int word = 0; word < words; word++, values += NET_ROW_WORD, weights += (size_t)NET_ROW_WORD * width) {       \
      for (uint64_t rows = used[word]; rows; rows &= rows - 1) {                                                      \
        const size_t i = (size_t)__builtin_ctzll(rows);                                                               \
        const name##_t *row = (const name##_t *)(weights + i * (size_t)width);                                        \
        const float value = values[i];                                                                                \
        _Pragma("GCC unroll 32") for (int k = 0; k < vectors; k++) kept[k] += value * row[k];                         \
      }                                                                                                               \
    }                                                                                                                 \
    _Pragma("GCC unroll 32") for (int k = 0; k < vectors; k++) ((name##_t *)sums)[k] = kept[k];                       \
  }                                                                                                                   \
  attributes static void name(const float *weights, int width, const float *values, const uint64_t *used, int words,  \
                              float *sums) {                                                                          \
    const int vectors = width / lanes, passes = (vectors + most - 1) / most;                                          \
    int at = 0;                                                                                                       \
    for (int pass = 0; pass < passes; pass++) {                                                                       \
      const int taken = (vectors - at + passes - pass - 1) / (passes - pass);                                         \
      switch (taken) {                                                                                                \
        NET_PASS(name, 1) NET_PASS(name, 2) NET_PASS(name, 3) NET_PASS(name, 4) NET_PASS(name, 5) NET_PASS(name, 6)   \
        NET_PASS(name, 7) NET_PASS(name, 8) NET_PASS(name, 9) NET_PASS(name, 10) NET_PASS(name, 11)                   \
        NET_PASS(name, 12) NET_PASS(name, 13)                                                                         \
      }                                                                                                               \
      at += taken;                                                                                                    \
    }                                                                                                                 \
  }
#define NET_PASS(name, n)                                                                           \
  case n:                                                                                           \
    name##_pass(weights + at * (NET_LANES_OF(name)), width, values, used, words, sums + at * (NET_LANES_OF(name)), n); \
    break;
#define NET_LANES_OF(name) (int)(sizeof(name##_t) / sizeof(float))
enum { NET_MOST = 13 };

NET_LAYER(net_layer_4, 4, NET_MOST, )
#if defined(__x86_64__) && defined(__GNUC__)
NET_LAYER(net_layer_8, 8, NET_MOST, __attribute__((target("avx2"))))
NET_LAYER(net_layer_16, 16, NET_MOST, __attribute__((target("avx512f"))))
#endif

/* The layer by vectors of so many numbers, or NULL if this processor has none. */
static net_layer_t net_layer_of(int lanes) {
  if (lanes == 4) return net_layer_4;
#if defined(__x86_64__) && defined(__GNUC__)
  __builtin_cpu_init();
  if (lanes == 8 && __builtin_cpu_supports("avx2")) return net_layer_8;
  if (lanes == 16 && __builtin_cpu_supports("avx512f")) return net_layer_16;
#endif
  return NULL;
}

/* z[i] = clip((inputs[i] - mean[i]) * scale[i]) - rest[i] of n inputs. */
TURNOUT_CLONES static void net_standardise(const float *restrict inputs, int n, const float *restrict mean,
                                           const float *restrict scale, const float *restrict rest, float low, float high,
                                           float *restrict z) {
  for (int i = 0; i < n; i++) {
    float x = (inputs[i] - mean[i]) * scale[i];
    x = x > low ? x : low;
    x = x < high ? x : high;
    z[i] = x - rest[i];
  }
}

/* Sets the bits of those of n values that are not 0, behind which 3 more can be read. Returns the number of words. */
static inline int net_used(const float *values, int n, uint64_t *used) {
  const int words = (n + NET_ROW_WORD - 1) / NET_ROW_WORD;
  for (int word = 0; word < words; word++) {
    const int first = word * NET_ROW_WORD, left = n - first < NET_ROW_WORD ? n - first : NET_ROW_WORD;
    uint64_t bits = 0;
    for (int i = 0; i < left; i += 4) {
#ifdef __SSE2__
      const __m128 four = _mm_loadu_ps(values + first + i);
      bits |= (uint64_t)(unsigned)_mm_movemask_ps(_mm_cmpneq_ps(four, _mm_setzero_ps())) << i;
#else
      for (int k = 0; k < 4; k++) bits |= (uint64_t)(values[first + i + k] != 0) << (i + k);
#endif
    }
    used[word] = left < NET_ROW_WORD ? bits & (((uint64_t)1 << left) - 1) : bits;
  }
  return words;
}

/* In place max(x, 0). */
TURNOUT_CLONES static void net_rectify(float *values, int n) {
  for (int i = 0; i < n; i++) values[i] = values[i] > 0 ? values[i] : 0;
}

typedef float net_lanes_t __attribute__((vector_size(4 * NET_LANES), aligned(4), may_alias));
typedef int32_t net_bits_t __attribute__((vector_size(4 * NET_LANES), aligned(4), may_alias));
#define NET_CHOOSE(mask, a, b) ((net_lanes_t)(((mask) & (net_bits_t)(a)) | (~(mask) & (net_bits_t)(b))))

/* In place e^x of each lane, to within 2 units in the last place where x is between -87 and 87, and e^-87 or e^87 beyond;
 * after Cephes' expf. */
static inline __attribute__((always_inline)) void net_exp(net_lanes_t *lanes) {
  const net_lanes_t zero = {0}, low = zero - 87, high = zero + 87;
  const net_lanes_t shift = zero + 12582912; /* 1.5 * 2^23: added, it leaves an integer in the lowest bits */
  net_lanes_t x = *lanes, steps, y;
  net_bits_t power;
  x = NET_CHOOSE(x > low, x, low);
  x = NET_CHOOSE(x < high, x, high);
  steps = x * 1.44269504088896341f + shift;
  power = ((net_bits_t)steps << 23) + 0x3F800000;
  steps -= shift;
  x -= steps * 0.693359375f; /* ln 2 in two parts, the first of few bits */
  x -= steps * -2.12194440e-4f;
  y = 1.9875691500e-4f * x + 1.3981999507e-3f;
  y = y * x + 8.3334519073e-3f;
  y = y * x + 4.1665795894e-2f;
  y = y * x + 1.6666665459e-1f;
  y = y * x + 5.0000001201e-1f;
  y = y * (x * x) + x + 1;
  *lanes = y * (net_lanes_t)power;
}

/* The softmax of n logits, where what is below e^-20 of the likeliest counts as nothing. Each lane has a total of its own;
 * then halves of them are added to halves. `shares` has room for whole lanes. */
TURNOUT_CLONES static void net_softmax(const float *restrict logits, int n, float *restrict shares) {
  const int whole = (n + NET_LANES - 1) / NET_LANES;
  const net_lanes_t zero = {0}, least = zero - 20;
  net_lanes_t *const lanes = (net_lanes_t *)shares;
  net_lanes_t peaks, totals = zero, x;
  float peak;
  lanes[whole - 1] = zero - 1e30f;
  memcpy(shares, logits, n * sizeof(float));
  peaks = lanes[0];
  for (int i = 1; i < whole; i++) peaks = NET_CHOOSE(lanes[i] > peaks, lanes[i], peaks);
  peak = peaks[0];
  for (int k = 1; k < NET_LANES; k++) peak = peaks[k] > peak ? peaks[k] : peak;
  for (int i = 0; i < whole; i++) {
    x = lanes[i] - peak;
    const net_bits_t counts = x > least;
    net_exp(&x);
    lanes[i] = (net_lanes_t)(counts & (net_bits_t)x);
    totals += lanes[i];
  }
  for (int half = NET_LANES / 2; half; half /= 2)
    for (int k = 0; k < half; k++) totals[k] += totals[k + half];
  for (int i = 0; i < whole; i++) lanes[i] /= totals[0];
}

/* In place 1 / (1 + e^-x) of n values, in an array of whole lanes. */
TURNOUT_CLONES static void net_sigmoid(float *values, int n) {
  for (int i = 0; i < n; i += NET_LANES) {
    net_lanes_t x = -*(const net_lanes_t *)(values + i);
    net_exp(&x);
    *(net_lanes_t *)(values + i) = 1 / (1 + x);
  }
}
#endif
