/* What 64 bytes are, one bit a byte, so that a scan can go from word to word without looking at what lies between. */
#ifndef TURNOUT_ASCII_BLOCK_H
#define TURNOUT_ASCII_BLOCK_H
#include <stdint.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum { ASCII_BLOCK_BYTES = 64, ASCII_KEY_BYTES = 16 };

typedef struct {
  uint64_t words; /* ASCII letters, digits and underscores */
  uint64_t uppers, digits, underscores;
  uint64_t apostrophes, quotes; /* ' and " */
  uint64_t openings;            /* ( */
  uint64_t silent;              /* , ) [ ] */
  uint64_t inner;               /* - . */
  uint64_t spaces;              /* 0x20 alone */
  uint64_t foreign;             /* bytes beyond ASCII */
} ascii_block_t;

#ifdef __SSE2__
typedef struct { __m128i part[4]; } ascii_mask_t;

static inline uint64_t ascii_bits(ascii_mask_t mask) {
  uint64_t low = (uint32_t)_mm_movemask_epi8(mask.part[0]) | (uint32_t)_mm_movemask_epi8(mask.part[1]) << 16;
  uint64_t high = (uint32_t)_mm_movemask_epi8(mask.part[2]) | (uint32_t)_mm_movemask_epi8(mask.part[3]) << 16;
  return low | high << 32;
}

static inline ascii_mask_t ascii_or(ascii_mask_t a, ascii_mask_t b) {
  for (int k = 0; k < 4; k++) a.part[k] = _mm_or_si128(a.part[k], b.part[k]);
  return a;
}

static inline ascii_mask_t ascii_equal(ascii_mask_t bytes, char value) {
  for (int k = 0; k < 4; k++) bytes.part[k] = _mm_cmpeq_epi8(bytes.part[k], _mm_set1_epi8(value));
  return bytes;
}

static inline ascii_mask_t ascii_between(ascii_mask_t bytes, char first, char last) {
  for (int k = 0; k < 4; k++) {
    __m128i offset = _mm_sub_epi8(bytes.part[k], _mm_set1_epi8(first));
    bytes.part[k] = _mm_cmpeq_epi8(_mm_min_epu8(offset, _mm_set1_epi8(last - first)), offset);
  }
  return bytes;
}

static inline ascii_block_t read_ascii_block(const unsigned char *text) {
  ascii_block_t block;
  ascii_mask_t bytes, upper, digit, underscore, round, square;
  for (int k = 0; k < 4; k++) bytes.part[k] = _mm_loadu_si128((const __m128i *)text + k);
  upper = ascii_between(bytes, 'A', 'Z');
  digit = ascii_between(bytes, '0', '9');
  underscore = ascii_equal(bytes, '_');
  block.uppers = ascii_bits(upper);
  block.digits = ascii_bits(digit);
  block.underscores = ascii_bits(underscore);
  block.words =
      ascii_bits(ascii_or(ascii_or(upper, digit), ascii_or(underscore, ascii_between(bytes, 'a', 'z'))));
  block.apostrophes = ascii_bits(ascii_equal(bytes, '\''));
  block.quotes = ascii_bits(ascii_equal(bytes, '"'));
  block.openings = ascii_bits(ascii_equal(bytes, '('));
  round = ascii_or(ascii_equal(bytes, ','), ascii_equal(bytes, ')'));
  square = ascii_or(ascii_equal(bytes, '['), ascii_equal(bytes, ']'));
  block.silent = ascii_bits(ascii_or(round, square));
  block.inner = ascii_bits(ascii_between(bytes, '-', '.'));
  block.spaces = ascii_bits(ascii_equal(bytes, ' '));
  block.foreign = ascii_bits(bytes);
  return block;
}
#else
static inline ascii_block_t read_ascii_block(const unsigned char *text) {
  ascii_block_t block;
  memset(&block, 0, sizeof(block));
  for (int k = 0; k < ASCII_BLOCK_BYTES; k++) {
    unsigned char b = text[k];
    uint64_t bit = (uint64_t)1 << k;
    if (b >= 128) block.foreign |= bit;
    if (b >= 'A' && b <= 'Z') block.uppers |= bit;
    if (b >= 'a' && b <= 'z') block.words |= bit;
    if (b >= '0' && b <= '9') block.digits |= bit;
    if (b == '_') block.underscores |= bit;
    if (b == '\'') block.apostrophes |= bit;
    if (b == '"') block.quotes |= bit;
    if (b == '(') block.openings |= bit;
    if (b == ',' || b == ')' || b == '[' || b == ']') block.silent |= bit;
    if (b == '-' || b == '.') block.inner |= bit;
    if (b == ' ') block.spaces |= bit;
  }
  block.words |= block.uppers | block.digits | block.underscores;
  return block;
}
#endif

/* The word of up to 16 ASCII letters, digits, _ and ' at `text`, of which 16 bytes are readable: in lower case, padded
   with zero bytes. */
static inline void read_ascii_key(const unsigned char *text, unsigned length, uint64_t *low, uint64_t *high) {
  static const unsigned char ones_then_zeros[32] = {
      255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255};
  uint64_t bytes[2], mask[2];
  memcpy(bytes, text, 16);
  memcpy(mask, ones_then_zeros + 16 - length, 16);
  *low = (bytes[0] | 0x2020202020202020u) & mask[0];
  *high = (bytes[1] | 0x2020202020202020u) & mask[1];
}

static inline int32_t count_bits(uint64_t bits) {
#ifdef __POPCNT__
  return (int32_t)__builtin_popcountll(bits);
#else
  bits -= bits >> 1 & 0x5555555555555555u;
  bits = (bits & 0x3333333333333333u) + (bits >> 2 & 0x3333333333333333u);
  return (int32_t)(((bits + (bits >> 4)) & 0x0F0F0F0F0F0F0F0Fu) * 0x0101010101010101u >> 56);
#endif
}

/* 64 if there is none. */
static inline unsigned lowest_bit(uint64_t bits) { return bits ? (unsigned)__builtin_ctzll(bits) : 64; }

/* The bits below bit k, which may be 64. */
static inline uint64_t bits_below(unsigned k) { return k < 64 ? ((uint64_t)1 << k) - 1 : ~(uint64_t)0; }

/* Where the run of bits that ends before bit `end` begins. */
static inline unsigned run_start(uint64_t words, unsigned end) {
  uint64_t gaps = ~words & bits_below(end);
  return gaps ? 64 - (unsigned)__builtin_clzll(gaps) : 0;
}

/* The ends (the places behind) of those runs of `words` that have a bit of `some`. Adding its start to a run carries
   through to its end, unless a bit is missing on the way. */
static inline uint64_t ends_with_some(uint64_t words, uint64_t starts, uint64_t ends, uint64_t some) {
  return ends & ~((words & ~some) + starts);
}

/* The ends of the runs of 17 bits and more. */
static inline uint64_t long_ends(uint64_t words, uint64_t ends) {
  uint64_t runs = words & words << 1;
  runs &= runs << 2;
  runs &= runs << 4;
  runs &= runs << 8;
  return ends & (runs & runs << 1) << 1;
}
#endif
