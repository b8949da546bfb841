# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Marks: ends of sentences, operators, pairs, paths, formulas, fields."""

from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint8_t, uint32_t

from turnout_fastpath.text_state cimport *
from turnout_fastpath.utf8 cimport utf8_next

cdef enum:
    FIELD_NAME_CHARS = 32
    FIELD_NAME_WORDS = 3

# Where a byte may stand.
cdef enum:
    IS_CLOSER = 1           # between the end of a sentence and white space
    IS_IN_FIELD_NAME = 2
    IS_LEFT_OPERAND = 4
    IS_RIGHT_OPERAND = 8
    IS_BEFORE_PATH = 16     # a slash behind it begins a path

cdef uint8_t[256] FLAGS
cdef uint8_t[256] MARK_BIT      # 0 to 31, by mark
cdef uint32_t[256] PAIRS        # bits of the marks that make a pair of code behind this one


def _fill_tables():
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    digits = "0123456789"
    marks = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
    for flag, chars in (
        (IS_CLOSER, "\"')]*"),
        (IS_IN_FIELD_NAME, letters + digits + " -*_\"'()/.#&>" + "".join(map(chr, range(128, 256)))),
        (IS_LEFT_OPERAND, letters + digits + ")]}"),
        (IS_RIGHT_OPERAND, letters + digits + "([{\\"),
        (IS_BEFORE_PATH, ".~\"'`(=:"),
    ):
        for char in chars:
            FLAGS[ord(char)] |= flag
    for char in marks:
        MARK_BIT[ord(char)] = marks.index(char)
    for pair in "== != <= >= => -> :: && || += -= *= /= := /* */ </ /> << >> ++".split():
        PAIRS[ord(pair[0])] |= <uint32_t> 1 << MARK_BIT[ord(pair[1])]


_fill_tables()


cdef void end_sentence(scan_t* s, size_t i) noexcept nogil:
    cdef int32_t words = words_before(s, i)
    s.counts[SENTENCES] += words > s.sentence_words
    s.sentence_words = words


cdef bint closes_sentence(const scan_t* s, size_t i) noexcept nogil:
    """White space or the end follows, behind any closing marks."""
    cdef unsigned char b = byte_at(s, i)
    while not is_blank(b):
        if FLAGS[b] & IS_CLOSER:
            i += 1
        elif b == 0xE2 and byte_at(s, i + 1) == 0x80 and (byte_at(s, i + 2) == 0x99 or byte_at(s, i + 2) == 0x9D):
            i += 3  # ’ ”
        elif b == 0xC2 and byte_at(s, i + 1) == 0xBB:
            i += 2  # »
        else:
            return 0
        b = byte_at(s, i)
    return 1


cdef void look_at_field(scan_t* s, size_t colon) noexcept nogil:
    """The first colon of a line: is what stands before it a short name?"""
    cdef size_t at = s.line.start
    cdef int32_t chars = 0, words = words_before(s, colon) - s.line.words
    if not 1 <= words <= FIELD_NAME_WORDS:
        return
    while at < colon:
        if not FLAGS[s.text[at]] & IS_IN_FIELD_NAME or chars == FIELD_NAME_CHARS:
            return
        utf8_next(s.text, s.end, &at)
        chars += 1
    s.counts[FIELD_LINES] += 1


cdef bint ends_in(const scan_t* s, size_t i, const char* suffix, size_t size) noexcept nogil:
    """Does the text before `i` end so, without regard to case?"""
    cdef size_t k
    if i < size:
        return 0
    for k in range(size):
        if s.text[i - size + k] | 32 != <unsigned char> suffix[k]:
            return 0
    return 1


cdef bint names_fault(const scan_t* s, size_t i) noexcept nogil:
    """The word before the colon at `i`."""
    cdef unsigned char last = byte_at(s, i - 1) | 32
    if last == c'r':
        return ends_in(s, i, "error", 5)
    if last == c'n':
        return ends_in(s, i, "exception", 9) or ends_in(s, i, "warn", 4)
    if last == c'g':
        return ends_in(s, i, "warning", 7)
    if last == c'l':
        return ends_in(s, i, "fatal", 5) or ends_in(s, i, "critical", 8)
    return last == c'c' and ends_in(s, i, "panic", 5)


cdef size_t find_chunk(scan_t* s, size_t i) noexcept nogil:
    """Where the chunk at `i` begins. Asked from left to right, so that it looks at each byte once."""
    cdef size_t at = i
    while at > s.chunk_seen and not is_blank(s.text[at - 1]):
        at -= 1
    if at > s.chunk_seen:
        s.chunk = at
    s.chunk_seen = i
    return s.chunk


cdef void count_path(scan_t* s, size_t i) noexcept nogil:
    cdef size_t chunk = find_chunk(s, i)
    if s.path_chunk != chunk:
        s.path_chunk = chunk
        s.counts[PATHS_AND_URLS] += 1


cdef void look_at_slash(scan_t* s, size_t i, unsigned char before, unsigned char behind) noexcept nogil:
    cdef size_t chunk
    if before == c':' and behind == c'/':
        count_path(s, i)
    elif before != c'<' and (is_letter(behind) or behind == c'.' or behind == c'_'):
        chunk = find_chunk(s, i)
        if s.slash_chunk != chunk:
            s.slash_chunk = chunk
            s.slashes = 0
        s.slashes += 1
        if s.slashes == 2 or i == chunk or FLAGS[before] & IS_BEFORE_PATH:
            count_path(s, i)


cdef bint is_operation(const scan_t* s, size_t i, unsigned char b) noexcept nogil:
    """An ASCII operator between two operands, with one space on both sides or on none."""
    cdef unsigned char left = byte_at(s, i - 1), right = byte_at(s, i + 1)
    cdef int spaced = left == 32
    if (right == 32) != spaced:
        return 0
    if spaced:
        left = byte_at(s, i - 2)
        right = byte_at(s, i + 2)
    if not (FLAGS[left] & IS_LEFT_OPERAND and FLAGS[right] & IS_RIGHT_OPERAND):
        return 0
    if b == c'=' or b == c'+' or b == c'^':
        return 1
    if b == c'-' and not spaced:
        return 0
    return is_digit(left) or is_digit(right)


cdef inline void count_pair(scan_t* s, size_t i, unsigned char before, unsigned char b) noexcept nogil:
    """A run of one mark is one pair."""
    if PAIRS[before] >> MARK_BIT[b] & 1 and not (before == b and byte_at(s, i - 2) == b):
        s.counts[CODE_MARKS] += 1


cdef size_t read_mark(scan_t* s, size_t i, unsigned char b) noexcept nogil:
    """A mark whose neighbours matter; returns where to go on."""
    cdef unsigned char before = byte_at(s, i - 1), behind = byte_at(s, i + 1), third
    cdef size_t after = i + 1
    if b == c'.' or b == c'!' or b == c'?':
        s.counts[QUESTION_MARKS] += b == c'?'
        if closes_sentence(s, after):
            end_sentence(s, i)
    elif b == c':':
        count_pair(s, i, before, b)
        s.counts[JSON_MARKS] += before == c'"'
        s.line.log |= names_fault(s, i)
        if not s.line.colon_seen:
            s.line.colon_seen = 1
            if is_blank(behind) or behind == c'"':
                look_at_field(s, i)
    elif b == c'=' or b == c'+' or b == c'^' or b == c'*' or b == c'-':
        count_pair(s, i, before, b)
        s.counts[MATH_MARKS] += is_operation(s, i, b)
    elif b == c'/':
        count_pair(s, i, before, b)
        s.counts[MATH_MARKS] += is_operation(s, i, b)
        look_at_slash(s, i, before, behind)
    elif b == c'<':
        count_pair(s, i, before, b)
        s.counts[MATH_MARKS] += is_operation(s, i, b)
        s.line.tag_open = is_letter(behind) or behind == c'!' or (behind == c'/' and is_letter(byte_at(s, i + 2)))
    elif b == c'>':
        count_pair(s, i, before, b)
        s.counts[MATH_MARKS] += is_operation(s, i, b)
        s.counts[MARKUP_TAGS] += s.line.tag_open
        s.line.tag_open = 0
    elif b == c'(':
        if byte_at(s, i + 2) == c')':
            if behind == c's':
                s.counts[IDENTIFIERS] -= <int32_t> (s.plain_calls >> (i - s.block) & 1)  # a plural
            s.counts[ANSWER_OPTIONS] += (65 <= (behind & 0xDF) <= 74 and is_blank(before)
                                         and is_blank(byte_at(s, i + 3)))
    elif b == c'{':
        s.counts[CODE_MARKS] += 1
        s.counts[LATEX_MARKS] += before == c'^' or before == c'_'
        s.counts[JSON_MARKS] += (before == c'[') + (behind == c'"')
    elif b == c'}':
        s.counts[CODE_MARKS] += 1
        s.counts[JSON_MARKS] += (before == c'"') + (behind == c',' or behind == c']')
    elif b == c';':
        s.counts[CODE_MARKS] += behind == 10 or behind == 13
    elif b == c'&':
        count_pair(s, i, before, b)
    elif b == c'|':
        count_pair(s, i, before, b)
        s.line.pipes += before != c'|' and behind != c'|'
    elif b == c'\\':
        third = byte_at(s, i + 2)
        if before == c':' and is_letter(behind):
            count_path(s, i)
        elif (is_letter(behind) and is_letter(third)) or behind == c'(' or behind == c'[':
            s.counts[LATEX_MARKS] += 1
    elif b == c'$':
        if behind == c'$':
            s.counts[LATEX_MARKS] += 1
            s.line.dollar_open = 0
            after = i + 2
        elif s.line.dollar_open and not is_blank(before) and not is_digit(behind):
            s.counts[LATEX_MARKS] += 1
            s.line.dollar_open = 0
        else:
            s.line.dollar_open = 1
            s.counts[MONEY_AND_PERCENT] += is_digit(behind)
    elif b == c'%':
        s.counts[MONEY_AND_PERCENT] += is_digit(before) or (before == 32 and is_digit(byte_at(s, i - 2)))
    elif b == c'@':
        if is_word_byte(before) and is_word_byte(behind):
            count_path(s, i)
    elif b == c'`':
        while byte_at(s, after) == c'`':
            after += 1
        s.line.backticks += after - i <= 2
    return after
