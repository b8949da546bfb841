"""All keywords and phrases of a policy in one Aho-Corasick automaton, run once over the text.

The text is read as symbols: ASCII letters in lower case, a run of white space as one space, other bytes as they are,
and a boundary between a word byte (ASCII letter, digit, underscore, or part of a multi-byte character that is no
punctuation) and any other. A phrase is written in the same symbols, with a boundary at each end that is a word, so
"form" does not match "inform". Scripts that write no spaces (Han, kana, Thai, Hangul) get no boundary. Letters beyond
ASCII match in lower, upper and title case of the whole phrase.
"""

from collections import deque

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memset


cdef enum:
    MAX_STATES = 1 << 18

BOUNDARY = 256  # a symbol beyond the bytes


cdef inline int is_word(unsigned char b) noexcept nogil:
    return 97 <= b <= 122 or 48 <= b <= 57 or b == 95 or b >= 128 or 65 <= b <= 90


# Bytes of a multi-byte space or punctuation mark at `at`, or 0: Latin-1 marks, general punctuation, CJK punctuation
# and full-width forms of ASCII marks.
cdef inline int mark_length(const unsigned char* text, size_t at, size_t n) noexcept nogil:
    cdef unsigned char b = text[at]
    if b == 0xC2 and at + 1 < n and (text[at + 1] & 0xC0) == 0x80:
        return 2
    if at + 2 < n and (text[at + 2] & 0xC0) == 0x80 and (
            (b == 0xE2 and (text[at + 1] == 0x80 or text[at + 1] == 0x81))
            or (b == 0xE3 and text[at + 1] == 0x80) or (b == 0xEF and text[at + 1] == 0xBC)):
        return 3
    return 0


cdef void keywords_scan(const keywords_t* keywords, const unsigned char* text, size_t n, uint64_t* found) noexcept nogil:
    cdef size_t i = 0
    cdef uint32_t state = 0
    cdef uint32_t o
    cdef int inside = 0      # the last symbol was a word byte
    cdef int spaced = 0      # the last symbol was white space
    cdef int mark = 0        # bytes left of a multi-byte mark
    cdef int word
    cdef unsigned char b
    memset(found, 0, KEYWORD_WORDS * sizeof(uint64_t))
    if keywords.n_states <= 1:
        return
    while i <= n:
        if i == n:
            b = 32
            word = 0
        else:
            b = text[i]
            word = is_word(b)
            if mark == 0 and b >= 0xC2:
                mark = mark_length(text, i, n)
            if mark:
                mark -= 1
                word = 0
        if word != inside:
            inside = word
            state = keywords.next[state * keywords.n_classes + keywords.boundary]
            for o in range(keywords.first_output[state], keywords.first_output[state + 1]):
                found[keywords.outputs[o] >> 6] |= <uint64_t> 1 << (keywords.outputs[o] & 63)
        if i == n:
            break
        i += 1
        if b == 32 or 9 <= b <= 13:
            if spaced:
                continue
            spaced = 1
            b = 32
        else:
            spaced = 0
        state = keywords.next[state * keywords.n_classes + keywords.classes[b]]
        for o in range(keywords.first_output[state], keywords.first_output[state + 1]):
            found[keywords.outputs[o] >> 6] |= <uint64_t> 1 << (keywords.outputs[o] & 63)


def _writes_no_spaces(str char):
    code = ord(char)
    return (0x0E00 <= code <= 0x0EFF or 0x1100 <= code <= 0x11FF or 0x3040 <= code <= 0x30FF
            or 0x3400 <= code <= 0x9FFF or 0xAC00 <= code <= 0xD7AF or code >= 0x20000)


def _symbols(str phrase):
    """Symbols of one spelling of a phrase."""
    text = " ".join(phrase.split())
    cdef bytes encoded = text.encode()
    cdef const unsigned char* data = encoded
    cdef size_t i, n = len(encoded)
    cdef int inside = 0, mark = 0, word
    symbols = []
    for i in range(n):
        b = data[i]
        word = is_word(b)
        if mark == 0:
            mark = mark_length(data, i, n)
        if mark:
            mark -= 1
            word = 0
        if word != inside:
            symbols.append(BOUNDARY)
            inside = word
        symbols.append(b + 32 if 65 <= b <= 90 else b)
    if inside:
        symbols.append(BOUNDARY)
    if symbols and symbols[0] == BOUNDARY and _writes_no_spaces(text[0]):
        symbols.pop(0)
    if symbols and symbols[len(symbols) - 1] == BOUNDARY and _writes_no_spaces(text[len(text) - 1]):
        symbols.pop()
    return tuple(symbols)


cdef class KeywordAutomaton:
    def __cinit__(self, groups):
        import numpy

        if len(groups) > MAX_KEYWORD_GROUPS:
            raise ValueError(f"{len(groups)} keyword groups, limit: {MAX_KEYWORD_GROUPS}")
        children = [{}]
        ends = [set()]
        for group, phrases in enumerate(groups):
            for phrase in phrases:
                if not phrase.split():
                    raise ValueError(f"an empty phrase in keyword group {group}")
                spellings = {phrase}
                if not phrase.isascii():
                    spellings = {phrase, phrase.lower(), phrase.upper(), phrase.title(), phrase.capitalize()}
                for spelling in sorted(spellings):
                    state = 0
                    for symbol in _symbols(spelling):
                        if symbol not in children[state]:
                            children[state][symbol] = len(children)
                            children.append({})
                            ends.append(set())
                        state = children[state][symbol]
                    ends[state].add(group)
        if len(children) > MAX_STATES:
            raise ValueError(f"the keywords need {len(children)} states, limit: {MAX_STATES}")

        used = sorted({symbol for edges in children for symbol in edges} | {BOUNDARY})
        class_of = {symbol: i + 1 for i, symbol in enumerate(used)}  # class 0: in no phrase
        table = numpy.zeros((len(children), len(used) + 1), numpy.uint32)
        fail = [0] * len(children)
        queue = deque()
        for symbol, child in children[0].items():
            table[0, class_of[symbol]] = child
            queue.append(child)
        while queue:
            state = queue.popleft()
            ends[state] |= ends[fail[state]]
            table[state] = table[fail[state]]
            for symbol, child in children[state].items():
                fail[child] = int(table[fail[state], class_of[symbol]])
                table[state, class_of[symbol]] = child
                queue.append(child)
        first = numpy.zeros(len(children) + 1, numpy.uint32)
        first[1:] = numpy.cumsum([len(groups_here) for groups_here in ends])
        outputs = numpy.array([group for here in ends for group in sorted(here)] or [0], numpy.uint32)

        cdef const uint32_t[:, ::1] table_view = table
        cdef const uint32_t[::1] first_view = first
        cdef const uint32_t[::1] output_view = outputs
        self.tables = (table, first, outputs)
        self.n_groups = len(groups)
        self.c.next = &table_view[0, 0]
        self.c.first_output = &first_view[0]
        self.c.outputs = &output_view[0]
        self.c.n_classes = len(used) + 1
        self.c.n_states = len(children)
        self.c.boundary = class_of[BOUNDARY]
        cdef int b
        for b in range(256):
            self.c.classes[b] = class_of.get(b + 32 if 65 <= b <= 90 else b, 0)

    def scan(self, text):
        """Numbers of the groups that have a phrase in `text` (str or UTF-8 bytes), in order."""
        cdef bytes encoded = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
        cdef const unsigned char* data = encoded
        cdef uint64_t[KEYWORD_WORDS] found
        cdef size_t n = len(encoded)
        with nogil:
            keywords_scan(&self.c, data, n, found)
        return [group for group in range(self.n_groups) if found[group >> 6] >> (group & 63) & 1]
