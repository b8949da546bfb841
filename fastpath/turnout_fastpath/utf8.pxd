# Decodes UTF-8 as Python's bytes.decode("utf-8", "replace") does: each maximal invalid part reads as one U+FFFD
# (Unicode 15, section 3.9, table 3-7).
from libc.stddef cimport size_t
from libc.stdint cimport uint32_t


# Bytes of the ill-formed sequence at `at` that read as one U+FFFD: its lead and those that could have followed.
cdef inline size_t utf8_bad_bytes(const unsigned char* text, size_t n, size_t at) noexcept nogil:
    cdef unsigned char lead = text[at]
    cdef unsigned char low = 0x80, high = 0xBF
    cdef size_t length = 1, i
    if lead < 0xC2 or lead > 0xF4:
        return 1
    if lead >= 0xE0:
        length = 2 if lead < 0xF0 else 3
    if lead == 0xE0:
        low = 0xA0
    elif lead == 0xED:
        high = 0x9F
    elif lead == 0xF0:
        low = 0x90
    elif lead == 0xF4:
        high = 0x8F
    for i in range(1, length):
        if at + i >= n or text[at + i] < low or text[at + i] > high:
            return i
        low = 0x80
        high = 0xBF
    return length


# The code point at `at[0]` < n; moves `at[0]` behind it.
cdef inline uint32_t utf8_next(const unsigned char* text, size_t n, size_t* at) noexcept nogil:
    cdef const unsigned char* p = text + at[0]
    cdef size_t left = n - at[0]
    cdef uint32_t code = p[0]
    if code < 0x80:
        at[0] += 1
        return code
    if code < 0xE0:
        if left >= 2 and code >= 0xC2 and (p[1] & 0xC0) == 0x80:
            at[0] += 2
            return ((code & 0x1F) << 6) | (p[1] & 0x3F)
    elif code < 0xF0:
        if left >= 3 and (p[1] & 0xC0) == 0x80 and (p[2] & 0xC0) == 0x80:
            code = ((code & 0x0F) << 12) | (<uint32_t> (p[1] & 0x3F) << 6) | (p[2] & 0x3F)
            # Neither overlong nor a surrogate.
            if code >= 0x800 and (code & 0xF800) != 0xD800:
                at[0] += 3
                return code
    elif left >= 4 and (p[1] & 0xC0) == 0x80 and (p[2] & 0xC0) == 0x80 and (p[3] & 0xC0) == 0x80:
        code = ((code & 0x0F) << 18) | (<uint32_t> (p[1] & 0x3F) << 12)
        code |= (<uint32_t> (p[2] & 0x3F) << 6) | (p[3] & 0x3F)
        if 0x10000 <= code < 0x110000:
            at[0] += 4
            return code
    at[0] += utf8_bad_bytes(text, n, at[0])
    return 0xFFFD


# Writes a code point's 1 to 4 bytes; returns how many.
cdef inline int utf8_put(uint32_t code, unsigned char* out) noexcept nogil:
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
