/* The word of ASCII letters, digits and underscores at the start of 16 readable bytes: its length, which of its bytes
   are what (bit k for byte k), and its lower-case bytes as two little-endian numbers padded with zero bytes. */
#ifndef TURNOUT_ASCII_WORD_H
#define TURNOUT_ASCII_WORD_H
#include <stdint.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

typedef struct {
  uint32_t length; /* 16: the word may go on */
  uint32_t uppers, digits, underscores;
  uint64_t key[2];
} ascii_word_t;

#ifdef __SSE2__
static inline __m128i ascii_between(__m128i bytes, char first, char last) {
  __m128i offset = _mm_sub_epi8(bytes, _mm_set1_epi8(first));
  return _mm_cmpeq_epi8(_mm_min_epu8(offset, _mm_set1_epi8(last - first)), offset);
}

static inline ascii_word_t read_ascii_word(const unsigned char *text) {
  static const unsigned char ones_then_zeros[32] = {
      255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255};
  ascii_word_t word;
  __m128i bytes = _mm_loadu_si128((const __m128i *)text);
  __m128i lower = _mm_or_si128(bytes, _mm_set1_epi8(0x20));
  __m128i letter = ascii_between(lower, 'a', 'z');
  uint32_t letters = (uint32_t)_mm_movemask_epi8(letter);
  uint32_t bit5 = (uint32_t)_mm_movemask_epi8(_mm_slli_epi16(bytes, 2));
  uint32_t digits = (uint32_t)_mm_movemask_epi8(ascii_between(bytes, '0', '9'));
  uint32_t underscores = (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('_')));
  word.length = (uint32_t)__builtin_ctz(~(letters | digits | underscores));
  uint32_t inside = (1u << word.length) - 1;
  word.uppers = letters & ~bit5 & inside;
  word.digits = digits & inside;
  word.underscores = underscores & inside;
  __m128i mask = _mm_loadu_si128((const __m128i *)(ones_then_zeros + 16 - word.length));
  _mm_storeu_si128((__m128i *)word.key, _mm_and_si128(lower, mask));
  return word;
}
#else
static inline ascii_word_t read_ascii_word(const unsigned char *text) {
  ascii_word_t word = {0, 0, 0, 0, {0, 0}};
  unsigned char key[16] = {0};
  for (; word.length < 16; word.length++) {
    unsigned char b = text[word.length];
    if (b >= '0' && b <= '9') {
      word.digits |= 1u << word.length;
    } else if (b == '_') {
      word.underscores |= 1u << word.length;
    } else if (b >= 'A' && b <= 'Z') {
      word.uppers |= 1u << word.length;
    } else if (b < 'a' || b > 'z') {
      break;
    }
    key[word.length] = b | 0x20;
  }
  memcpy(word.key, key, sizeof(key));
  return word;
}
#endif
#endif
