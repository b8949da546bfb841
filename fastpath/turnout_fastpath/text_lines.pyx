# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Lines: how they begin, and what they turn out to be."""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t
from libc.string cimport memcmp, memset

from turnout_fastpath.text_state cimport *

cdef enum:
    IS_OPENER = 1           # look_at_opening() looks at lines that begin so,
    IS_OPENER_MARK = 2      # that have this as their second character,
    IS_LEVEL_INITIAL = 4    # or that begin so and go on with another capital

cdef uint8_t[256] FLAGS


def _fill_tables():
    for flag, chars in (
        (IS_OPENER, "0123456789aFT-*+>`~([\xc2\xe2"),
        (IS_OPENER_MARK, ".):"),
        (IS_LEVEL_INITIAL, "CDEFINTW"),
    ):
        for char in chars:
            FLAGS[ord(char)] |= flag


_fill_tables()


cdef bint starts_with(const scan_t* s, size_t i, const char* prefix, size_t size) noexcept nogil:
    return i + size <= s.end and memcmp(s.text + i, prefix, size) == 0


cdef bint is_date(const scan_t* s, size_t i) noexcept nogil:
    """2024-01-31 or 2024/01/31."""
    cdef int k
    if i + 10 > s.end:
        return 0
    for k in range(10):
        if k == 4 or k == 7:
            if s.text[i + k] != c'-' and s.text[i + k] != c'/':
                return 0
        elif not is_digit(s.text[i + k]):
            return 0
    return 1


cdef bint is_level(const scan_t* s, size_t i) noexcept nogil:
    """The level of a log line in capitals, alone."""
    cdef size_t size = 0
    cdef unsigned char behind
    if starts_with(s, i, "INFO", 4):
        size = 4
    elif starts_with(s, i, "WARN", 4):
        size = 7 if starts_with(s, i, "WARNING", 7) else 4
    elif (starts_with(s, i, "ERROR", 5) or starts_with(s, i, "DEBUG", 5) or starts_with(s, i, "TRACE", 5)
          or starts_with(s, i, "FATAL", 5)):
        size = 5
    elif starts_with(s, i, "NOTICE", 6):
        size = 6
    elif starts_with(s, i, "CRITICAL", 8):
        size = 8
    behind = byte_at(s, i + size)
    return size and (is_blank(behind) or behind == c':' or behind == c']')


cdef bint opens_item(const scan_t* s, size_t i, unsigned char b) noexcept nogil:
    """The mark of a list item stands at `i`: - * + 1. 1) (1) 1、 and bullets."""
    cdef unsigned char behind = byte_at(s, i + 1), third = byte_at(s, i + 2), fourth = byte_at(s, i + 3)
    cdef size_t first = i + (b == c'('), after = first
    if b == c'-' or b == c'*' or b == c'+':
        return behind == 32 or behind == 9
    if b == 0xC2:
        return behind == 0xB7  # ·
    if b == 0xE2:
        return ((behind == 0x80 and (third == 0xA2 or third == 0xA3))                    # • ‣
                or (behind == 0x80 and (third == 0x93 or third == 0x94) and fourth == 32)  # – —
                or (behind == 0x97 and (third == 0x8F or third == 0xA6))                 # ● ◦
                or (behind == 0x96 and third == 0xAA)                                    # ▪
                or (behind == 0x91 and 0xA0 <= third <= 0xB3))                           # ① to ⑳
    while after < first + 3 and is_digit(byte_at(s, after)):
        after += 1
    if after == first:
        return 0
    behind = byte_at(s, after)
    third = byte_at(s, after + 1)
    if b != c'(' and behind == 0xE3 and third == 0x80 and byte_at(s, after + 2) == 0x81:
        return 1  # 、
    return (behind == c')' or (behind == c'.' and b != c'(')) and (third == 32 or third == 9)


cdef void look_at_opening(scan_t* s, size_t i, bint indented) noexcept nogil:
    """The first characters of a line's content."""
    cdef unsigned char b = s.text[i], behind = byte_at(s, i + 1), third = byte_at(s, i + 2)
    cdef size_t inside = i + (b == c'[' or b == c'(')
    if is_letter(b):
        s.counts[ANSWER_OPTIONS] += ((b | 32) <= 106 and (behind == c'.' or behind == c')' or behind == c':')
                                     and (third == 32 or third == 9))
        s.line.log |= ((indented and starts_with(s, i, "at ", 3)) or starts_with(s, i, "File \"", 6)
                       or starts_with(s, i, "Traceback (", 11) or is_level(s, i))
        return
    s.counts[QUOTED_LINES] += b == c'>'
    s.counts[CODE_FENCES] += (b == c'`' or b == c'~') and behind == b and third == b
    s.counts[LIST_ITEMS] += opens_item(s, i, b)
    s.line.log |= is_date(s, inside) or (b == c'[' and is_level(s, inside))


cdef size_t open_line(scan_t* s, size_t start, size_t i) noexcept nogil:
    """Begins the line at `start`, which is blank up to `i`; returns where its content begins."""
    cdef unsigned char b = byte_at(s, i), behind
    memset(&s.line, 0, sizeof(line_t))
    while b != 10 and is_blank(b):
        i += 1
        b = byte_at(s, i)
    s.line.start = i
    s.line.words = words_before(s, i)
    if b == 10:
        return i
    s.counts[LINES] += 1
    if i > start:
        s.counts[INDENTED_LINES] += s.text[start] == 9 or (s.text[start] == 32 and s.text[start + 1] == 32)
    behind = byte_at(s, i + 1)
    if FLAGS[b] & IS_OPENER or FLAGS[behind] & IS_OPENER_MARK or (FLAGS[b] & IS_LEVEL_INITIAL and 65 <= behind <= 90):
        look_at_opening(s, i, i > start)
    return i


cdef void close_line(scan_t* s) noexcept nogil:
    s.counts[TABLE_LINES] += s.line.pipes >= 2 or s.line.tabs >= 2
    s.counts[INLINE_CODE_SPANS] += s.line.backticks >> 1
    s.counts[LOG_LINES] += s.line.log
