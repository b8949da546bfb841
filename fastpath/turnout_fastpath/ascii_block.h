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
  uint64_t marks; /* ASCII punctuation, underscores among it */
  uint64_t apostrophes, quotes, openings /* ( */;
  uint64_t inner;   /* - . */
  uint64_t paired;  /* , ) ] [ " */
  uint64_t spaces;  /* 0x20 alone */
  uint64_t foreign; /* bytes beyond ASCII */
} ascii_block_t;

#ifdef __SSE2__
static inline __m128i ascii_between(__m128i bytes, char first, char last) {
  __m128i offset = _mm_sub_epi8(bytes, _mm_set1_epi8(first));
  return _mm_cmpeq_epi8(_mm_min_epu8(offset, _mm_set1_epi8(last - first)), offset);
}

static inline __m128i ascii_equal(__m128i bytes, char value) { return _mm_cmpeq_epi8(bytes, _mm_set1_epi8(value)); }

static inline uint64_t ascii_bits(__m128i mask) { return (uint64_t)(uint32_t)_mm_movemask_epi8(mask); }

static inline void read_ascii_block(const unsigned char *text, ascii_block_t *block) {
  memset(block, 0, sizeof(*block));
  for (int k = 0; k < ASCII_BLOCK_BYTES; k += 16) {
    __m128i bytes = _mm_loadu_si128((const __m128i *)(text + k));
    __m128i upper = ascii_between(bytes, 'A', 'Z');
    __m128i digit = ascii_between(bytes, '0', '9');
    __m128i alphanumeric = _mm_or_si128(_mm_or_si128(upper, digit), ascii_between(bytes, 'a', 'z'));
    __m128i underscore = ascii_equal(bytes, '_');
    __m128i quote = ascii_equal(bytes, '"');
    __m128i inner = _mm_or_si128(ascii_equal(bytes, '-'), ascii_equal(bytes, '.'));
    __m128i bracket = _mm_or_si128(ascii_equal(bytes, '['), ascii_equal(bytes, ']'));
    __m128i paired = _mm_or_si128(ascii_equal(bytes, ','), ascii_equal(bytes, ')'));
    block->words |= ascii_bits(_mm_or_si128(alphanumeric, underscore)) << k;
    block->uppers |= ascii_bits(upper) << k;
    block->digits |= ascii_bits(digit) << k;
    block->underscores |= ascii_bits(underscore) << k;
    block->marks |= ascii_bits(_mm_andnot_si128(alphanumeric, ascii_between(bytes, '!', '~'))) << k;
    block->apostrophes |= ascii_bits(ascii_equal(bytes, '\'')) << k;
    block->quotes |= ascii_bits(quote) << k;
    block->openings |= ascii_bits(ascii_equal(bytes, '(')) << k;
    block->inner |= ascii_bits(inner) << k;
    block->paired |= ascii_bits(_mm_or_si128(_mm_or_si128(paired, bracket), quote)) << k;
    block->spaces |= ascii_bits(ascii_equal(bytes, ' ')) << k;
    block->foreign |= ascii_bits(bytes) << k;
  }
}
#else
static inline void read_ascii_block(const unsigned char *text, ascii_block_t *block) {
  memset(block, 0, sizeof(*block));
  for (int k = 0; k < ASCII_BLOCK_BYTES; k++) {
    unsigned char b = text[k];
    uint64_t bit = (uint64_t)1 << k;
    if (b >= 128) {
      block->foreign |= bit;
    } else if (b >= 'A' && b <= 'Z') {
      block->uppers |= bit;
    } else if (b >= '0' && b <= '9') {
      block->digits |= bit;
    } else if (b >= 'a' && b <= 'z') {
      block->words |= bit;
    } else if (b == ' ') {
      block->spaces |= bit;
    } else if (b > ' ' && b < 127) {
      block->marks |= bit;
      if (b == '_') block->underscores |= bit;
      if (b == '\'') block->apostrophes |= bit;
      if (b == '"') block->quotes |= bit;
      if (b == '(') block->openings |= bit;
      if (b == '-' || b == '.') block->inner |= bit;
      if (b == ',' || b == ')' || b == '[' || b == ']' || b == '"') block->paired |= bit;
    }
  }
  block->words |= block->uppers | block->digits | block->underscores;
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

static inline int count_bits(uint64_t bits) {
  bits -= bits >> 1 & 0x5555555555555555u;
  bits = (bits & 0x3333333333333333u) + (bits >> 2 & 0x3333333333333333u);
  return (int)(((bits + (bits >> 4)) & 0x0F0F0F0F0F0F0F0Fu) * 0x0101010101010101u >> 56);
}

/* Of a number that is not 0. */
static inline unsigned lowest_bit(uint64_t bits) { return (unsigned)__builtin_ctzll(bits); }
static inline unsigned highest_bit(uint64_t bits) { return 63u - (unsigned)__builtin_clzll(bits); }

/* The bits below bit k, which may be 64. */
static inline uint64_t bits_below(unsigned k) { return k < 64 ? ((uint64_t)1 << k) - 1 : ~(uint64_t)0; }

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
