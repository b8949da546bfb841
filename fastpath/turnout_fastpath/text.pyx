# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""One pass over a text that fills the features of `text_features.FEATURE_NAMES`; text.pyi defines each of them.

read_block() takes 64 bytes at a time and goes by their bits: first to all short ASCII words, then to the marks, numbers
and line feeds that need a look. Long words and what is beyond ASCII go character by character, and part the block.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint64_t
from libc.string cimport memcpy, memset

from turnout_fastpath.text_lines cimport close_line, open_line
from turnout_fastpath.text_marks cimport end_sentence, read_mark
from turnout_fastpath.text_state cimport *
from turnout_fastpath.text_words cimport (
    BLOCK_WORDS, count_number, empty_lanes, make_room, read_any_word, read_beyond_ascii, read_short_words
)
from turnout_fastpath.unicode_tables cimport (
    SCRIPT_ARABIC, SCRIPT_CYRILLIC, SCRIPT_GREEK, SCRIPT_HAN, SCRIPT_HANGUL, SCRIPT_HEBREW, SCRIPT_INDIC, SCRIPT_KANA,
    SCRIPT_LATIN, SCRIPT_THAI
)
from turnout_fastpath.utf8 cimport utf8_next


cdef extern from "ascii_block.h" nogil:
    enum:
        ASCII_BLOCK_BYTES
        ASCII_KEY_BYTES
    ctypedef struct ascii_block_t:
        uint64_t words
        uint64_t uppers
        uint64_t digits
        uint64_t underscores
        uint64_t apostrophes
        uint64_t quotes
        uint64_t openings
        uint64_t silent
        uint64_t inner
        uint64_t spaces
        uint64_t foreign
    ascii_block_t read_ascii_block(const unsigned char*)
    unsigned lowest_bit(uint64_t)
    unsigned run_start(uint64_t, unsigned)
    uint64_t ends_with_some(uint64_t, uint64_t, uint64_t, uint64_t)
    uint64_t long_ends(uint64_t, uint64_t)


cdef inline size_t read_event(scan_t* s, size_t i, unsigned char b, uint64_t digits, uint64_t spaces) noexcept nogil:
    """A mark, a number or a control character; `digits` and `spaces` are those from `i` on. Returns where to go on."""
    if is_digit(b):
        count_number(s, i, i + lowest_bit(~digits), lowest_bit(~digits))
        return i + 1
    if b == 10:
        close_line(s)
        spaces >>= 1
        return open_line(s, i + 1, i + 1 + lowest_bit(~spaces))
    if 32 < b < 127:
        return read_mark(s, i, b)
    s.line.tabs += b == 9
    s.counts[PUNCTUATION] -= 1  # read_block() counts it as a mark
    return i + 1


cdef size_t read_block(scan_t* s, size_t start) noexcept nogil:
    """Reads on from `start`, which lies in no word begun before, for some 64 bytes; returns where to go on."""
    cdef unsigned char[ASCII_BLOCK_BYTES + ASCII_KEY_BYTES] padded
    cdef const unsigned char* p = s.text + start
    cdef unsigned stop = ASCII_BLOCK_BYTES, halt, k, at = 0
    cdef size_t left = s.end - start, after = start
    cdef ascii_block_t block
    cdef uint64_t words, joined, joining, letters, starts, ends, void, names, calls, halts, others, counted
    cdef uint64_t events, segment, segment_ends, segment_events
    if left < ASCII_BLOCK_BYTES + ASCII_KEY_BYTES:
        memset(padded, 0, sizeof(padded))
        memcpy(padded, p, left)
        p = padded
        if left < ASCII_BLOCK_BYTES:
            stop = <unsigned> left
    block = read_ascii_block(p)
    joined = block.apostrophes & (block.words << 1) & (block.words >> 1)
    words = block.words | joined
    if words >> 63:
        # The last word may go on behind the block: it begins the next one.
        stop = run_start(words, 64)
        if stop == 0:
            return read_any_word(s, start)
    counted = bits_below(stop)
    block.foreign &= counted
    letters = block.words & ~(block.digits | block.underscores)
    others = ~(block.words | block.spaces | block.foreign)
    # Some marks say nothing by themselves, some nothing between word bytes, a parenthesis something before one alone.
    events = others & ~(block.apostrophes | block.quotes | block.silent | block.openings)
    events &= ~(block.inner & (words << 1) & (words >> 1))
    events |= block.openings & ~(words >> 2 | ~words >> 1) | (block.openings & <uint64_t> 3 << 62)
    starts = words & ~(words << 1)
    ends = ~words & (words << 1)
    # Behind these bytes a word may go on.
    joining = block.foreign | (block.apostrophes & (block.foreign >> 1 | <uint64_t> 1 << 63))
    void = ends & ~(ends_with_some(words, starts, ends, letters | block.digits) | joining)
    while void:
        # Underscores alone are no word.
        halt = lowest_bit(void)
        void &= void - 1
        words &= bits_below(run_start(words, halt)) | ~bits_below(halt)
    joined &= words
    starts &= words
    ends &= words << 1
    halts = (long_ends(words, ends) | (ends & joining)) & bits_below(stop + 1)
    events = (events | (starts & block.digits)) & counted
    names = ends_with_some(words, starts, ends, block.uppers & ((letters & ~block.uppers) << 1))
    if block.underscores:
        names |= ends_with_some(words, starts, ends, block.underscores) & ends_with_some(words, starts, ends, letters)
    # Two characters or more before a parenthesis, the first of them no digit.
    calls = ends & block.openings & (words << 2) & ~(names | (words + (starts & block.digits)))
    make_room(s, BLOCK_WORDS)
    s.block = start
    while True:
        # Up to the next long word or character beyond ASCII.
        halt = stop
        segment = halts | block.foreign
        if segment:
            halt = lowest_bit(segment)
            if halts >> halt & 1:
                halt = run_start(words, halt)
        segment = bits_below(halt) & ~bits_below(at)
        segment_ends = ends & (segment << 1)
        segment_events = events & segment
        s.counts[IDENTIFIERS] += count_bits((names | calls) & segment_ends)
        read_short_words(s, p, starts & segment, segment_ends)
        s.pending_words = starts & segment
        s.plain_calls = calls & segment_ends
        while segment_events:
            k = lowest_bit(segment_events)
            segment_events &= segment_events - 1
            after = read_event(s, start + k, p[k], block.digits >> k, block.spaces >> k)
            segment_events &= ~bits_below(<unsigned> (after - start))
            if p[k] == 10:
                others &= bits_below(k) | ~bits_below(<unsigned> (after - start))  # white space
        s.pending_words = 0
        if halt >= stop:
            break
        after = read_beyond_ascii(s, start + halt) if p[halt] >= 128 else read_any_word(s, start + halt)
        at = <unsigned> (after - start)
        counted &= bits_below(halt) | ~bits_below(at)
        if at >= stop:
            break
        halts &= ~bits_below(at + 1)
        block.foreign &= ~bits_below(at)
    s.word_chars += count_bits(words & counted)
    s.ascii_letters += count_bits(letters & counted)
    s.counts[UPPERS] += count_bits(block.uppers & counted)
    s.counts[PUNCTUATION] += count_bits((others | block.underscores) & ~joined & counted)
    if block.digits:
        s.counts[DIGITS] += count_bits(block.digits & counted)
    if block.quotes:
        s.quotes += count_bits(block.quotes & counted)
    if after <= start + stop:
        return start + stop
    if s.text[after - 1] == c'`' or s.text[after - 1] == c'$':
        s.counts[PUNCTUATION] += <int32_t> (after - start - stop)  # of a run of backticks or dollars
    return after


cdef size_t scanned_bytes(const unsigned char* text, size_t n) noexcept nogil:
    """The bytes to scan: up to the limit, without a character that it cuts."""
    cdef size_t at = TEXT_SCAN_LIMIT, back, behind
    if n <= TEXT_SCAN_LIMIT:
        return n
    for back in range(1, 4):
        if text[TEXT_SCAN_LIMIT - back] >= 0xC0:
            at = behind = TEXT_SCAN_LIMIT - back
            utf8_next(text, n, &behind)
            return at if behind > TEXT_SCAN_LIMIT else <size_t> TEXT_SCAN_LIMIT
    return TEXT_SCAN_LIMIT


cdef void write_values(const scan_t* s, size_t n, float* values) noexcept nogil:
    cdef int k
    cdef double chars = <double> (s.end - s.non_ascii_bytes) + s.counts[NON_ASCII]
    cdef double letters = s.ascii_letters
    for k in range(SCAN_SCRIPTS):
        letters += s.scripts[k]
    for k in range(TEXT_FEATURES):
        values[k] = <float> s.counts[k]
    values[BYTES] = <float> n
    values[CHARS] = <float> chars
    values[MEAN_WORD_CHARS] = <float> (<double> s.word_chars / s.counts[WORDS]) if s.counts[WORDS] else 0
    values[QUOTATIONS] = <float> (s.counts[QUOTATIONS] + s.quotes // 2)
    values[LETTERS] = <float> letters
    values[LATIN] = <float> (s.ascii_letters + s.scripts[SCRIPT_LATIN])
    values[ACCENTED_LATIN] = <float> s.scripts[SCRIPT_LATIN]
    values[CYRILLIC] = <float> s.scripts[SCRIPT_CYRILLIC]
    values[GREEK] = <float> s.scripts[SCRIPT_GREEK]
    values[ARABIC] = <float> s.scripts[SCRIPT_ARABIC]
    values[HEBREW] = <float> s.scripts[SCRIPT_HEBREW]
    values[INDIC] = <float> s.scripts[SCRIPT_INDIC]
    values[THAI] = <float> s.scripts[SCRIPT_THAI]
    values[HANGUL] = <float> s.scripts[SCRIPT_HANGUL]
    values[KANA] = <float> s.scripts[SCRIPT_KANA]
    values[HAN] = <float> s.scripts[SCRIPT_HAN]
    for k in range(LETTERS, NON_ASCII + 1):
        values[k] = <float> (values[k] / chars) if chars else 0
    for k in range(LATIN, HAN + 1):
        values[k] = <float> (values[k] / letters) if letters else 0


cdef void text_scan(const unsigned char* text, size_t n, float* values) noexcept nogil:
    cdef scan_t s
    cdef size_t i
    memset(&s, 0, sizeof(s))
    s.text = text
    s.end = scanned_bytes(text, n)
    s.number_end = s.slash_chunk = s.path_chunk = <size_t> -2
    i = open_line(&s, 0, 0)
    while i < s.end:
        if text[i] >= 128:
            i = read_beyond_ascii(&s, i)
        elif text[i] == 32:
            i += 1
        else:
            i = read_block(&s, i)
    close_line(&s)
    end_sentence(&s, s.end)
    empty_lanes(&s)
    write_values(&s, n, values)


def scan(text):
    import numpy

    cdef bytes encoded = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    cdef const unsigned char* data = encoded
    cdef size_t n = len(encoded)
    cdef float[::1] values = numpy.zeros(TEXT_FEATURES, numpy.float32)
    with nogil:
        text_scan(data, n, &values[0])
    return numpy.asarray(values)
