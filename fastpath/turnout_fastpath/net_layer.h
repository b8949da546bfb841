/* One layer of a net in float32. Each sum is made in the order of the rows, so that it does not depend on the vector
 * width that the processor has: the same input gives the same bits everywhere. Compiled without fused multiply-add. */
#ifndef TURNOUT_NET_LAYER_H
#define TURNOUT_NET_LAYER_H
#include <stddef.h>
#include <stdint.h>

#include "pooling.h"

/* sums[j] += values[i] * weights[rows[i]][j] over all i; the width is a multiple of 16. */
TURNOUT_CLONES static void net_layer(const float *restrict weights, int width, const int32_t *restrict rows,
                                     const float *restrict values, int n, float *restrict sums) {
  int i = 0;
  /* Four rows a pass: the sums are read and written a quarter as often. */
  for (; i + 4 <= n; i += 4) {
    const float *restrict a = weights + (size_t)rows[i] * width;
    const float *restrict b = weights + (size_t)rows[i + 1] * width;
    const float *restrict c = weights + (size_t)rows[i + 2] * width;
    const float *restrict d = weights + (size_t)rows[i + 3] * width;
    const float p = values[i], q = values[i + 1], r = values[i + 2], s = values[i + 3];
    for (int j = 0; j < width; j++) sums[j] = (((sums[j] + p * a[j]) + q * b[j]) + r * c[j]) + s * d[j];
  }
  for (; i < n; i++) {
    const float *restrict a = weights + (size_t)rows[i] * width;
    const float p = values[i];
    for (int j = 0; j < width; j++) sums[j] += p * a[j];
  }
}
#endif
