# Decodes UTF-8 as Python's bytes.decode("utf-8", "replace") does: each maximal invalid part reads as one U+FFFD
# (Unicode 15, section 3.9, table 3-7).
from libc.stddef cimport size_t
from libc.stdint cimport uint32_t


cdef inline uint32_t utf8_next(const unsigned char* text, size_t n, size_t* at) noexcept nogil:
    """The code point at `at[0]` < n; moves `at[0]` behind it."""
    cdef size_t i = at[0]
    cdef uint32_t first = text[i]
    cdef uint32_t code
    cdef unsigned char low = 0x80, high = 0xBF
    cdef int more, k
    at[0] = i + 1
    if first < 0x80:
        return first
    if 0xC2 <= first <= 0xDF:
        code = first & 0x1F
        more = 1
    elif 0xE0 <= first <= 0xEF:
        code = first & 0x0F
        more = 2
        if first == 0xE0:
            low = 0xA0
        elif first == 0xED:
            high = 0x9F
    elif 0xF0 <= first <= 0xF4:
        code = first & 0x07
        more = 3
        if first == 0xF0:
            low = 0x90
        elif first == 0xF4:
            high = 0x8F
    else:
        return 0xFFFD
    for k in range(1, more + 1):
        if i + k >= n or text[i + k] < low or text[i + k] > high:
            at[0] = i + k
            return 0xFFFD
        code = (code << 6) | (text[i + k] & 0x3F)
        low = 0x80
        high = 0xBF
    at[0] = i + more + 1
    return code


cdef inline int utf8_put(uint32_t code, unsigned char* out) noexcept nogil:
    """Writes a code point's 1 to 4 bytes; returns how many."""
    if code < 0x80:
        out[0] = <unsigned char> code
        return 1
    if code < 0x800:
        out[0] = <unsigned char> (0xC0 | (code >> 6))
        out[1] = <unsigned char> (0x80 | (code & 0x3F))
        return 2
    if code < 0x10000:
        out[0] = <unsigned char> (0xE0 | (code >> 12))
        out[1] = <unsigned char> (0x80 | ((code >> 6) & 0x3F))
        out[2] = <unsigned char> (0x80 | (code & 0x3F))
        return 3
    out[0] = <unsigned char> (0xF0 | (code >> 18))
    out[1] = <unsigned char> (0x80 | ((code >> 12) & 0x3F))
    out[2] = <unsigned char> (0x80 | ((code >> 6) & 0x3F))
    out[3] = <unsigned char> (0x80 | (code & 0x3F))
    return 4
