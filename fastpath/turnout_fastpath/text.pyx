# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""One pass over a text that fills the features of `text_features.FEATURE_NAMES`."""

from libc.stddef cimport size_t
from libc.string cimport memset


cdef void text_scan(const unsigned char* text, size_t n, float* values) noexcept nogil:
    cdef size_t end = n if n < TEXT_SCAN_LIMIT else TEXT_SCAN_LIMIT
    cdef size_t i
    cdef long chars = 0, words = 0, lines = 0, sentences = 0, letters = 0, upper = 0, digits = 0
    cdef long punctuation = 0, other = 0, word = 0, longest = 0, word_chars = 0, questions = 0
    cdef unsigned char b
    memset(values, 0, TEXT_FEATURES * sizeof(float))
    for i in range(end + 1):
        b = text[i] if i < end else 10
        if 97 <= b <= 122 or 65 <= b <= 90 or b >= 128 or 48 <= b <= 57:
            if b < 128 or b >= 192:
                word += 1
                if b >= 128 or b >= 65:
                    letters += 1
                else:
                    digits += 1
                if 65 <= b <= 90:
                    upper += 1
                if b >= 128:
                    other += 1
        else:
            if word:
                words += 1
                word_chars += word
                longest = max(longest, word)
                word = 0
            if b > 32 and b != 127:
                punctuation += 1
            if b == 63:
                questions += 1
            if b == 46 or b == 33 or b == 63:
                sentences += 1
        if i < end and b == 10:
            lines += 1
        if i < end and (b < 128 or b >= 192):
            chars += 1
    values[0] = <float> n
    values[1] = <float> chars
    values[2] = <float> words
    values[3] = <float> (lines + (1 if end and text[end - 1] != 10 else 0))
    values[4] = <float> sentences
    values[6] = <float> longest
    if words:
        values[5] = <float> word_chars / <float> words
    if chars:
        values[7] = <float> letters / <float> chars
        values[8] = <float> upper / <float> chars
        values[9] = <float> digits / <float> chars
        values[10] = <float> punctuation / <float> chars
        values[11] = <float> other / <float> chars
    values[24] = <float> questions


def scan(text):
    import numpy

    cdef bytes encoded = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else bytes(text)
    cdef const unsigned char* data = encoded
    cdef size_t n = len(encoded)
    cdef float[::1] values = numpy.zeros(TEXT_FEATURES, numpy.float32)
    with nogil:
        text_scan(data, n, &values[0])
    return numpy.asarray(values)
