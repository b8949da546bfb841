/* BLAKE2b (RFC 7693), unkeyed, 16-byte digest. */
#ifndef TURNOUT_BLAKE2B_H
#define TURNOUT_BLAKE2B_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#endif

enum { BLAKE2B_DIGEST = 16, BLAKE2B_SALT = 16, BLAKE2B_BLOCK = 128 };

typedef struct {
  uint64_t h[8];
  uint64_t total;
  size_t filled;
  uint8_t block[BLAKE2B_BLOCK];
} blake2b_t;

static const uint64_t blake2b_iv[8] = {0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1,
                                       0x510e527fade682d1, 0x9b05688c2b3e6c1f, 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179};

static const uint8_t blake2b_sigma[10][16] = {
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
    {11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4}, {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
    {9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13}, {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
    {12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11}, {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
    {6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5}, {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0}};

#define BLAKE2B_ROTATE(x, n) (((x) >> (n)) | ((x) << (64 - (n))))
#define BLAKE2B_MIX(a, b, c, d, x, y)         \
  do {                                        \
    v[a] += v[b] + (x);                       \
    v[d] = BLAKE2B_ROTATE(v[d] ^ v[a], 32);   \
    v[c] += v[d];                             \
    v[b] = BLAKE2B_ROTATE(v[b] ^ v[c], 24);   \
    v[a] += v[b] + (y);                       \
    v[d] = BLAKE2B_ROTATE(v[d] ^ v[a], 16);   \
    v[c] += v[d];                             \
    v[b] = BLAKE2B_ROTATE(v[b] ^ v[c], 63);   \
  } while (0)
#define BLAKE2B_ROUND(s)                                  \
  do {                                                    \
    BLAKE2B_MIX(0, 4, 8, 12, m[s[0]], m[s[1]]);           \
    BLAKE2B_MIX(1, 5, 9, 13, m[s[2]], m[s[3]]);           \
    BLAKE2B_MIX(2, 6, 10, 14, m[s[4]], m[s[5]]);          \
    BLAKE2B_MIX(3, 7, 11, 15, m[s[6]], m[s[7]]);          \
    BLAKE2B_MIX(0, 5, 10, 15, m[s[8]], m[s[9]]);          \
    BLAKE2B_MIX(1, 6, 11, 12, m[s[10]], m[s[11]]);        \
    BLAKE2B_MIX(2, 7, 8, 13, m[s[12]], m[s[13]]);         \
    BLAKE2B_MIX(3, 4, 9, 14, m[s[14]], m[s[15]]);         \
  } while (0)

static __attribute__((noinline)) void blake2b_compress(blake2b_t *b, const uint8_t *block, uint64_t last) {
  uint64_t v[16], m[16];
  memcpy(m, block, BLAKE2B_BLOCK); /* little-endian machines only, like the rest of the core */
  memcpy(v, b->h, sizeof b->h);
  memcpy(v + 8, blake2b_iv, sizeof blake2b_iv);
  v[12] ^= b->total;
  v[14] ^= last;
#pragma GCC unroll 12
  for (int r = 0; r < 12; r++) BLAKE2B_ROUND(blake2b_sigma[r % 10]);
  for (int i = 0; i < 8; i++) b->h[i] ^= v[i] ^ v[i + 8];
}

/* With a salt and a personalisation of 16 bytes each (RFC 7693, section 2.5; zeros where there is none). */
static inline void blake2b_start(blake2b_t *b, const uint8_t salt[BLAKE2B_SALT], const uint8_t person[BLAKE2B_SALT]) {
  uint64_t own[4];
  memcpy(own, salt, BLAKE2B_SALT);
  memcpy(own + 2, person, BLAKE2B_SALT);
  memcpy(b->h, blake2b_iv, sizeof blake2b_iv);
  b->h[0] ^= 0x01010000 ^ BLAKE2B_DIGEST;
  for (int i = 0; i < 4; i++) b->h[4 + i] ^= own[i];
  b->total = 0;
  b->filled = 0;
}

static inline void blake2b_add(blake2b_t *b, const void *data, size_t n) {
  const uint8_t *p = (const uint8_t *)data;
  while (n) {
    if (b->filled == BLAKE2B_BLOCK) {
      b->total += BLAKE2B_BLOCK;
      blake2b_compress(b, b->block, 0);
      b->filled = 0;
    }
    /* The last block waits for blake2b_finish, so a full block is only compressed once more bytes are known. */
    while (!b->filled && n > BLAKE2B_BLOCK) {
      b->total += BLAKE2B_BLOCK;
      blake2b_compress(b, p, 0);
      p += BLAKE2B_BLOCK;
      n -= BLAKE2B_BLOCK;
    }
    size_t take = BLAKE2B_BLOCK - b->filled < n ? BLAKE2B_BLOCK - b->filled : n;
    memcpy(b->block + b->filled, p, take);
    b->filled += take;
    p += take;
    n -= take;
  }
}

static inline void blake2b_finish(blake2b_t *b, uint8_t digest[BLAKE2B_DIGEST]) {
  b->total += b->filled;
  memset(b->block + b->filled, 0, BLAKE2B_BLOCK - b->filled);
  blake2b_compress(b, b->block, ~(uint64_t)0);
  memcpy(digest, b->h, BLAKE2B_DIGEST);
}

/* Four BLAKE2b-128 side by side, a block of each in turn: `groups` times four blocks, of which the k-th go to the k-th
 * hash. With one vector for the same word of all four, they take little longer than one. */
enum { BLAKE2B_STRANDS = 4, BLAKE2B_GROUP = BLAKE2B_STRANDS * BLAKE2B_BLOCK };

static void blake2b_strands_each(const uint8_t *data, size_t groups, uint8_t digests[BLAKE2B_STRANDS * BLAKE2B_DIGEST]) {
  static const uint8_t nothing[BLAKE2B_SALT];
  for (int k = 0; k < BLAKE2B_STRANDS; k++) {
    blake2b_t hash;
    blake2b_start(&hash, nothing, nothing);
    for (size_t i = 0; i < groups; i++)
      blake2b_add(&hash, data + i * BLAKE2B_GROUP + (size_t)k * BLAKE2B_BLOCK, BLAKE2B_BLOCK);
    blake2b_finish(&hash, digests + k * BLAKE2B_DIGEST);
  }
}

#if defined(__x86_64__) && defined(__GNUC__)
#define BLAKE2B_VECTOR_MIX(a, b, c, d, x, y)                             \
  do {                                                                   \
    a = _mm256_add_epi64(_mm256_add_epi64(a, b), x);                     \
    d = _mm256_shuffle_epi32(_mm256_xor_si256(d, a), 0xB1);              \
    c = _mm256_add_epi64(c, d);                                          \
    b = _mm256_shuffle_epi8(_mm256_xor_si256(b, c), by_24);              \
    a = _mm256_add_epi64(_mm256_add_epi64(a, b), y);                     \
    d = _mm256_shuffle_epi8(_mm256_xor_si256(d, a), by_16);              \
    c = _mm256_add_epi64(c, d);                                          \
    b = _mm256_xor_si256(b, c);                                          \
    b = _mm256_xor_si256(_mm256_srli_epi64(b, 63), _mm256_add_epi64(b, b)); \
  } while (0)

__attribute__((target("avx2"))) static void blake2b_strands_avx2(const uint8_t *data, size_t groups,
                                                                 uint8_t digests[BLAKE2B_STRANDS * BLAKE2B_DIGEST]) {
  const __m256i by_24 = _mm256_setr_epi8(3, 4, 5, 6, 7, 0, 1, 2, 11, 12, 13, 14, 15, 8, 9, 10, 3, 4, 5, 6, 7, 0, 1, 2, 11,
                                         12, 13, 14, 15, 8, 9, 10);
  const __m256i by_16 = _mm256_setr_epi8(2, 3, 4, 5, 6, 7, 0, 1, 10, 11, 12, 13, 14, 15, 8, 9, 2, 3, 4, 5, 6, 7, 0, 1, 10,
                                         11, 12, 13, 14, 15, 8, 9);
  __m256i h[8], v[16], m[16];
  for (int i = 0; i < 8; i++) h[i] = _mm256_set1_epi64x((long long)blake2b_iv[i]);
  h[0] = _mm256_xor_si256(h[0], _mm256_set1_epi64x(0x01010000 ^ BLAKE2B_DIGEST));
  for (size_t group = 0; group < groups; group++, data += BLAKE2B_GROUP) {
    for (int i = 0; i < 4; i++) {
      const __m256i a = _mm256_loadu_si256((const __m256i *)data + i);
      const __m256i b = _mm256_loadu_si256((const __m256i *)(data + BLAKE2B_BLOCK) + i);
      const __m256i c = _mm256_loadu_si256((const __m256i *)(data + 2 * BLAKE2B_BLOCK) + i);
      const __m256i d = _mm256_loadu_si256((const __m256i *)(data + 3 * BLAKE2B_BLOCK) + i);
      const __m256i ab = _mm256_unpacklo_epi64(a, b), cd = _mm256_unpacklo_epi64(c, d);
      const __m256i odd_ab = _mm256_unpackhi_epi64(a, b), odd_cd = _mm256_unpackhi_epi64(c, d);
      m[4 * i] = _mm256_permute2x128_si256(ab, cd, 0x20);
      m[4 * i + 1] = _mm256_permute2x128_si256(odd_ab, odd_cd, 0x20);
      m[4 * i + 2] = _mm256_permute2x128_si256(ab, cd, 0x31);
      m[4 * i + 3] = _mm256_permute2x128_si256(odd_ab, odd_cd, 0x31);
    }
    for (int i = 0; i < 8; i++) {
      v[i] = h[i];
      v[i + 8] = _mm256_set1_epi64x((long long)blake2b_iv[i]);
    }
    v[12] = _mm256_xor_si256(v[12], _mm256_set1_epi64x((long long)((group + 1) * BLAKE2B_BLOCK)));
    if (group + 1 == groups) v[14] = _mm256_xor_si256(v[14], _mm256_set1_epi64x(-1));
#pragma GCC unroll 12
    for (int r = 0; r < 12; r++) {
      const uint8_t *s = blake2b_sigma[r % 10];
      BLAKE2B_VECTOR_MIX(v[0], v[4], v[8], v[12], m[s[0]], m[s[1]]);
      BLAKE2B_VECTOR_MIX(v[1], v[5], v[9], v[13], m[s[2]], m[s[3]]);
      BLAKE2B_VECTOR_MIX(v[2], v[6], v[10], v[14], m[s[4]], m[s[5]]);
      BLAKE2B_VECTOR_MIX(v[3], v[7], v[11], v[15], m[s[6]], m[s[7]]);
      BLAKE2B_VECTOR_MIX(v[0], v[5], v[10], v[15], m[s[8]], m[s[9]]);
      BLAKE2B_VECTOR_MIX(v[1], v[6], v[11], v[12], m[s[10]], m[s[11]]);
      BLAKE2B_VECTOR_MIX(v[2], v[7], v[8], v[13], m[s[12]], m[s[13]]);
      BLAKE2B_VECTOR_MIX(v[3], v[4], v[9], v[14], m[s[14]], m[s[15]]);
    }
    for (int i = 0; i < 8; i++) h[i] = _mm256_xor_si256(h[i], _mm256_xor_si256(v[i], v[i + 8]));
  }
  for (int i = 0; i < BLAKE2B_DIGEST / 8; i++) {
    uint64_t words[BLAKE2B_STRANDS];
    _mm256_storeu_si256((__m256i *)words, h[i]);
    for (int k = 0; k < BLAKE2B_STRANDS; k++) memcpy(digests + k * BLAKE2B_DIGEST + 8 * i, &words[k], 8);
  }
}
#endif

/* `groups` is at least 1. */
static inline void blake2b_strands(const uint8_t *data, size_t groups,
                                   uint8_t digests[BLAKE2B_STRANDS * BLAKE2B_DIGEST]) {
#if defined(__x86_64__) && defined(__GNUC__)
  if (__builtin_cpu_supports("avx2")) {
    blake2b_strands_avx2(data, groups, digests);
    return;
  }
#endif
  blake2b_strands_each(data, groups, digests);
}
#endif
