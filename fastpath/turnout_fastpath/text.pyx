# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""One pass over a text that fills the features of `text_features.FEATURE_NAMES`; text.pyi defines each of them.

read_block() takes 64 bytes at a time and goes by their bits: first to all short ASCII words, then to the marks, numbers
and line feeds that need a look. Long words and what is beyond ASCII go character by character, and part the block.
"""

from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

from turnout_fastpath.utf8 cimport utf8_next, utf8_put


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
    void read_ascii_key(const unsigned char*, unsigned, uint64_t*, uint64_t*)
    int32_t count_bits(uint64_t)
    unsigned lowest_bit(uint64_t)
    uint64_t bits_below(unsigned)
    unsigned run_start(uint64_t, unsigned)
    uint64_t ends_with_some(uint64_t, uint64_t, uint64_t, uint64_t)
    uint64_t long_ends(uint64_t, uint64_t)


cdef extern from "unicode_tables.h" nogil:
    enum:
        CHAR_LETTER
        CHAR_DIGIT
        CHAR_UPPER
        CHAR_MARK
        CHAR_PUNCTUATION
    enum:
        SCRIPT_LATIN
        SCRIPT_CYRILLIC
        SCRIPT_GREEK
        SCRIPT_ARABIC
        SCRIPT_HEBREW
        SCRIPT_INDIC
        SCRIPT_THAI
        SCRIPT_HANGUL
        SCRIPT_KANA
        SCRIPT_HAN
        SCRIPT_EMOJI
        SCRIPT_OTHER
    unsigned char_properties(uint32_t)


cdef extern from "word_classes.h" nogil:
    enum:
        CLASS_QUESTION
        CLASS_AUXILIARY
        CLASS_CODE
        LANE_PARTS
        FOLD_FIRST
        FOLD_END
    const uint32_t* group_classes
    const uint64_t** group_steps
    const unsigned short* letter_fold
    uint32_t word_group(uint64_t, uint64_t, uint64_t, uint64_t)
    unsigned sequence_lengths_at(uint32_t)
    uint32_t sequence_group(uint64_t)


# In the order of FEATURE_NAMES.
cdef enum:
    BYTES, CHARS, WORDS, LINES, SENTENCES, MEAN_WORD_CHARS, LONGEST_WORD_CHARS
    LETTERS, UPPERS, DIGITS, PUNCTUATION, NON_ASCII
    CODE_FENCES, INLINE_CODE_SPANS, CODE_MARKS, IDENTIFIERS, CODE_WORDS, INDENTED_LINES, PATHS_AND_URLS
    MATH_MARKS, LATEX_MARKS, NUMBERS, LONGEST_NUMBER_DIGITS, MONEY_AND_PERCENT
    QUESTION_MARKS, QUESTION_WORDS, OPENS_WITH_QUESTION
    LIST_ITEMS, ANSWER_OPTIONS, QUOTED_LINES, QUOTATIONS, TABLE_LINES, MARKUP_TAGS, JSON_MARKS, LOG_LINES, FIELD_LINES
    LATIN, ACCENTED_LATIN, CYRILLIC, GREEK, ARABIC, HEBREW, INDIC, THAI, HANGUL, KANA, HAN, EMOJI
    SOCIAL_WORDS

cdef enum:
    # The first classes are features, from SOCIAL_WORDS on.
    CLASS_FEATURES = 16
    # No more words than this stand in a block. One byte a class counts 255; the lanes may be emptied within a block.
    BLOCK_WORDS = 32
    LANE_LIMIT = 255 - BLOCK_WORDS
    KEY_BYTES = 32
    # Han and kana, and Thai and Lao, write no spaces: their runs are cut into words of so many characters.
    HAN_WORD_CHARS = 2
    THAI_WORD_CHARS = 4
    HANGUL_WORD_CHARS = 1 << 30  # a run is a word
    # A question sequence opens the text when it ends this early.
    OPENING_CHARS = 8
    FIELD_NAME_CHARS = 32
    FIELD_NAME_WORDS = 3


cdef struct line_t:
    size_t start            # of its content, behind white space
    int32_t words           # of the text before it
    int32_t pipes
    int32_t tabs
    int32_t backticks       # runs of one or two
    int dollar_open
    int tag_open
    int colon_seen
    int log


cdef struct scan_t:
    const unsigned char* text
    size_t end
    int32_t[TEXT_FEATURES] counts   # numerators where the feature is a share
    int32_t[SCRIPT_OTHER + 1] scripts  # letters beyond ASCII
    int32_t ascii_letters
    int32_t word_chars
    int32_t quotes          # straight double quotes
    int32_t sentence_words  # words up to the last end of a sentence
    uint64_t[LANE_PARTS] class_lanes  # words of each class, one byte a class, not yet in `counts`
    int32_t lane_words      # at most so many are in the lanes
    size_t non_ascii_bytes
    size_t number_end       # of the last number's digits
    int32_t number_digits
    size_t block            # start of the block that is being read
    uint64_t pending_words  # starts of its words that are counted, but may stand behind what is being read
    uint64_t plain_calls    # places in it behind words that are names only if a ( follows
    size_t chunk            # start of the last chunk that was asked for
    size_t chunk_seen       # no white space between it and this
    size_t slash_chunk      # chunk of the last slash
    int32_t slashes         # in it
    size_t path_chunk       # the last chunk that was counted as a path or URL
    line_t line


# What a byte is, and where it may stand.
cdef enum:
    IS_WORD = 1             # letter, digit or underscore
    IS_BLANK = 2
    IS_MARK = 4             # punctuation
    IS_CLOSER = 8           # may stand between the end of a sentence and white space
    IS_IN_FIELD_NAME = 16
    IS_LEFT_OPERAND = 32
    IS_RIGHT_OPERAND = 64
    IS_BEFORE_PATH = 128    # a slash behind it begins a path
    IS_LINE_OPENER = 256    # look_at_opening() looks at lines that begin so
    IS_LEVEL_INITIAL = 512  # or so, if the next byte is a capital too

cdef unsigned short[256] FLAGS
cdef uint8_t[256] MARK_BIT      # 0 to 31, by mark
cdef uint32_t[256] PAIRS        # bits of the marks that make a pair of code behind this one

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_DIGITS = "0123456789"
_MARKS = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
_BEYOND_ASCII = "".join(map(chr, range(128, 256)))
_CODE_PAIRS = "== != <= >= => -> :: && || += -= *= /= := /* */ </ /> << >> ++"


def _fill_tables():
    for flag, chars in (
        (IS_WORD, _LETTERS + _DIGITS + "_"),
        (IS_BLANK, " \t\n\v\f\r"),
        (IS_MARK, _MARKS),
        (IS_CLOSER, "\"')]*"),
        (IS_IN_FIELD_NAME, _LETTERS + _DIGITS + " -*_\"'()/.#&>" + _BEYOND_ASCII),
        (IS_LEFT_OPERAND, _LETTERS + _DIGITS + ")]}"),
        (IS_RIGHT_OPERAND, _LETTERS + _DIGITS + "([{\\"),
        (IS_BEFORE_PATH, ".~\"'`(=:"),
        (IS_LINE_OPENER, _DIGITS + "aFT-*+>`~([\xc2\xe2"),
        (IS_LEVEL_INITIAL, "CDEFINTW"),
    ):
        for char in chars:
            FLAGS[ord(char)] |= flag
    for char in _MARKS:
        MARK_BIT[ord(char)] = _MARKS.index(char)
    for pair in _CODE_PAIRS.split():
        PAIRS[ord(pair[0])] |= <uint32_t> 1 << MARK_BIT[ord(pair[1])]


_fill_tables()


cdef inline unsigned char byte_at(const scan_t* s, size_t i) noexcept nogil:
    """The byte at `i`; beyond the end, and before the start, a line feed."""
    return s.text[i] if i < s.end else 10


cdef inline bint is_blank(unsigned char b) noexcept nogil:
    return FLAGS[b] & IS_BLANK != 0


cdef inline bint is_digit(unsigned char b) noexcept nogil:
    return 48 <= b <= 57


cdef inline bint is_letter(unsigned char b) noexcept nogil:
    return 97 <= (b | 32) <= 122


cdef inline uint32_t next_code(const scan_t* s, size_t* at) noexcept nogil:
    """The non-ASCII code point at `at[0]`; moves behind it."""
    cdef const unsigned char* p = s.text + at[0]
    cdef size_t left = s.end - at[0]
    if left >= 3 and 0xE1 <= p[0] <= 0xEC and (p[1] & 0xC0) == 0x80 and (p[2] & 0xC0) == 0x80:
        at[0] += 3
        return (<uint32_t> (p[0] & 15) << 12) | (<uint32_t> (p[1] & 63) << 6) | (p[2] & 63)
    if left >= 2 and 0xC2 <= p[0] <= 0xDF and (p[1] & 0xC0) == 0x80:
        at[0] += 2
        return (<uint32_t> (p[0] & 31) << 6) | (p[1] & 63)
    return utf8_next(s.text, s.end, at)


# Words


cdef void empty_lanes(scan_t* s) noexcept nogil:
    cdef int k
    for k in range(CLASS_FEATURES):
        s.counts[SOCIAL_WORDS + k] += (s.class_lanes[k >> 3] >> (8 * (k & 7))) & 255
    s.counts[QUESTION_WORDS] += (s.class_lanes[CLASS_QUESTION >> 3] >> (8 * (CLASS_QUESTION & 7))) & 255
    s.counts[CODE_WORDS] += (s.class_lanes[CLASS_CODE >> 3] >> (8 * (CLASS_CODE & 7))) & 255
    memset(s.class_lanes, 0, sizeof(s.class_lanes))
    s.lane_words = 0


cdef inline void make_room(scan_t* s, int32_t words) noexcept nogil:
    """For counting so many more words in the lanes."""
    if s.lane_words + words > LANE_LIMIT:
        empty_lanes(s)
    s.lane_words += words


cdef inline void count_group(scan_t* s, uint32_t group) noexcept nogil:
    """A word or sequence of a group of classes; needs make_room()."""
    cdef int k
    for k in range(LANE_PARTS):
        s.class_lanes[k] += group_steps[group][k]


cdef inline bint opens_question(uint32_t group) noexcept nogil:
    return group_classes[group] & (1 << CLASS_QUESTION | 1 << CLASS_AUXILIARY) != 0


cdef inline void count_words(scan_t* s, int32_t words, int32_t chars, int32_t longest) noexcept nogil:
    s.counts[WORDS] += words
    s.word_chars += chars
    s.counts[LONGEST_WORD_CHARS] = max(s.counts[LONGEST_WORD_CHARS], longest)


cdef inline int32_t words_before(const scan_t* s, size_t i) noexcept nogil:
    return s.counts[WORDS] - count_bits(s.pending_words & ~bits_below(<unsigned> (i - s.block)))


cdef void count_number(scan_t* s, size_t at, size_t digits_end, int32_t digits) noexcept nogil:
    """A word that begins with digits. Behind a number and one of . , : it continues that number."""
    cdef unsigned char before = byte_at(s, at - 1)
    if s.number_end + 1 == at and (before == c'.' or before == c',' or before == c':'):
        s.number_digits += digits
    else:
        s.counts[NUMBERS] += 1
        s.number_digits = digits
    s.number_end = digits_end
    s.counts[LONGEST_NUMBER_DIGITS] = max(s.counts[LONGEST_NUMBER_DIGITS], s.number_digits)
    # A time of hours, minutes and seconds.
    if (before == c':' and at >= 5 and s.text[at - 4] == c':' and is_digit(s.text[at - 5])
            and is_digit(s.text[at - 3]) and is_digit(s.text[at - 2])
            and is_digit(s.text[at]) and is_digit(byte_at(s, at + 1))):
        s.line.log = 1


cdef inline int run_chars(unsigned properties) noexcept nogil:
    """Characters a word in the runs of this letter's script, 0 for ordinary letters and for what is no letter."""
    cdef unsigned script = properties >> 8
    if not properties & CHAR_LETTER or script < SCRIPT_THAI or script > SCRIPT_HAN:
        return 0
    if script == SCRIPT_THAI:
        return THAI_WORD_CHARS
    return HANGUL_WORD_CHARS if script == SCRIPT_HANGUL else HAN_WORD_CHARS


cdef void count_sequences(scan_t* s, uint64_t history, unsigned lengths, int32_t chars) noexcept nogil:
    """Looks up the last characters of a run, which has had `chars`: as many as the bits of `lengths` say, less one."""
    cdef unsigned k
    cdef uint32_t group
    while lengths:
        k = lowest_bit(lengths)
        lengths &= lengths - 1
        group = sequence_group(history & bits_below(16 * k + 16))
        if group:
            make_room(s, 1)
            count_group(s, group)
            if s.counts[WORDS] == 0 and chars <= OPENING_CHARS and group_classes[group] >> CLASS_QUESTION & 1:
                s.counts[OPENS_WITH_QUESTION] = 1


cdef size_t read_run(scan_t* s, size_t start, int word_chars) noexcept nogil:
    """A run of Han and kana, of Thai, or of Hangul, whose words have `word_chars` characters; returns where it ends."""
    cdef size_t at = start, after
    cdef uint64_t history = 0
    cdef uint32_t code
    cdef unsigned properties, lengths
    cdef int32_t chars = 0
    while at < s.end and s.text[at] >= 128:
        after = at
        code = next_code(s, &after)
        properties = char_properties(code)
        if run_chars(properties) == word_chars:
            s.scripts[properties >> 8] += 1
        elif not properties & CHAR_MARK:
            break
        at = after
        chars += 1
        history = history << 16 | (code if code < 0x10000 else 0xFFFF)
        lengths = sequence_lengths_at(code) & <unsigned> bits_below(chars)
        if lengths:
            count_sequences(s, history, lengths, chars)
    s.counts[NON_ASCII] += chars
    s.non_ascii_bytes += at - start
    count_words(s, (chars + word_chars - 1) // word_chars, chars, min(chars, word_chars))
    return at


cdef inline bint is_word_char(const scan_t* s, size_t at) noexcept nogil:
    """An ordinary letter, a digit or an underscore begins at `at`."""
    cdef unsigned properties
    if at >= s.end:
        return 0
    if s.text[at] < 128:
        return FLAGS[s.text[at]] & IS_WORD != 0
    properties = char_properties(next_code(s, &at))
    return properties & (CHAR_LETTER | CHAR_DIGIT) and not run_chars(properties)


cdef inline int fold_into(unsigned char* key, uint32_t code) noexcept nogil:
    """Writes a letter's folded form of up to 4 bytes; returns how many."""
    if FOLD_FIRST <= code < FOLD_END:
        code = letter_fold[code - FOLD_FIRST]
        if code == 0:
            return 0
        if code & 0x8000:
            key[0] = (code >> 7) & 127
            key[1] = code & 127
            return 2
    return utf8_put(code, key)


cdef inline bint is_call(const scan_t* s, size_t at, size_t after, int32_t chars) noexcept nogil:
    """A name before `(`; `(s)` is a plural."""
    return (byte_at(s, after) == c'(' and chars >= 2 and not is_digit(s.text[at])
            and not (byte_at(s, after + 1) == c's' and byte_at(s, after + 2) == c')'))


cdef size_t read_any_word(scan_t* s, size_t start) noexcept nogil:
    """An ordinary word of any length and script, character by character; returns where it ends."""
    cdef unsigned char[KEY_BYTES + 8] key
    cdef uint64_t[4] parts
    cdef size_t size = 0, at = start, after, digits_end = start
    cdef int32_t chars = 0, ascii = 0, letters = 0, ascii_letters = 0, uppers = 0, digits = 0, leading_digits = 0
    cdef int32_t underscores = 0, marks = 0
    cdef uint32_t code, group = 0
    cdef unsigned properties
    cdef unsigned char b, before = 0
    cdef bint camel = 0
    memset(key, 0, sizeof(key))
    while at < s.end:
        b = s.text[at]
        after = at + 1
        code = b
        if b >= 128:
            after = at
            code = next_code(s, &after)
            if code == 0x2019:
                if not is_word_char(s, after):
                    break
                code = 39
            else:
                properties = char_properties(code)
                if run_chars(properties):
                    break
                if properties & CHAR_LETTER:
                    letters += 1
                    uppers += (properties & CHAR_UPPER) != 0
                    s.scripts[properties >> 8] += 1
                elif properties & CHAR_DIGIT:
                    digits += 1
                elif properties & CHAR_MARK:
                    marks += 1
                else:
                    break
        elif is_letter(b):
            ascii_letters += 1
            if b < 97:
                uppers += 1
                camel |= 97 <= before <= 122
                code = b | 32
        elif is_digit(b):
            digits += 1
        elif b == c'_':
            underscores += 1
        elif b != 39 or not is_word_char(s, after):
            break
        ascii += b < 128
        chars += 1
        if leading_digits == chars - 1 and digits == chars:
            leading_digits = chars
            digits_end = after
        if size <= KEY_BYTES:
            size += fold_into(key + size, code)
        before = b
        at = after
    letters += ascii_letters
    s.ascii_letters += ascii_letters
    s.counts[UPPERS] += uppers
    s.counts[DIGITS] += digits
    s.counts[PUNCTUATION] += underscores
    s.counts[NON_ASCII] += chars - ascii
    s.non_ascii_bytes += at - start - ascii
    if not letters and not digits:
        s.counts[PUNCTUATION] += chars - underscores - marks  # apostrophes that join nothing
        return at
    if leading_digits:
        count_number(s, start, digits_end, leading_digits)
    if camel or (underscores and letters) or is_call(s, start, at, chars):
        s.counts[IDENTIFIERS] += 1
    if size <= KEY_BYTES:
        memcpy(parts, key, KEY_BYTES)
        group = word_group(parts[0], parts[1], parts[2], parts[3])
    if s.counts[WORDS] == 0:
        s.counts[OPENS_WITH_QUESTION] = opens_question(group)
    count_words(s, 1, chars, chars)
    make_room(s, 1)
    count_group(s, group)
    return at


# Marks


cdef inline void end_sentence(scan_t* s, size_t i) noexcept nogil:
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


cdef inline size_t read_mark(scan_t* s, size_t i, unsigned char b) noexcept nogil:
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
        if FLAGS[before] & FLAGS[behind] & IS_WORD:
            count_path(s, i)
    elif b == c'`':
        while byte_at(s, after) == c'`':
            after += 1
        s.line.backticks += after - i <= 2
    return after


cdef size_t read_beyond_ascii(scan_t* s, size_t at) noexcept nogil:
    """A character beyond ASCII, and the word if it begins one; returns where to go on."""
    cdef size_t after = at
    cdef uint32_t code = next_code(s, &after)
    cdef unsigned properties = char_properties(code)
    cdef int word_chars = run_chars(properties)
    if word_chars:
        return read_run(s, at, word_chars)
    if properties & (CHAR_LETTER | CHAR_DIGIT):
        return read_any_word(s, at)
    s.counts[NON_ASCII] += 1
    s.non_ascii_bytes += after - at
    s.counts[PUNCTUATION] += (properties & CHAR_PUNCTUATION) != 0
    s.counts[EMOJI] += properties >> 8 == SCRIPT_EMOJI
    if code == 0x3002 or code == 0xFF01 or code == 0xFF61 or code == 0x2026 or code == 0x0964 or code == 0x06D4:
        end_sentence(s, at)  # 。！｡ … । ۔
    elif code == 0xFF1F or code == 0x061F:
        s.counts[QUESTION_MARKS] += 1  # ？ ؟
        end_sentence(s, at)
    elif code == 0x201C or code == 0xAB or code == 0x300C or code == 0x300E:
        s.counts[QUOTATIONS] += 1  # “ « 「 『
    elif code == 0xFF1A:
        if not s.line.colon_seen:  # ：
            s.line.colon_seen = 1
            look_at_field(s, at)
    elif 0xA2 <= code <= 0xA5 or 0x20A0 <= code <= 0x20CF or code == 0xFF05 or code == 0xFFE5:
        s.counts[MONEY_AND_PERCENT] += 1
    elif (code == 0xB1 or code == 0xB2 or code == 0xB3 or code == 0xB9 or code == 0xD7 or code == 0xF7
          or 0x2070 <= code <= 0x209F or 0x2200 <= code <= 0x22FF or 0x27C0 <= code <= 0x27EF
          or 0x2980 <= code <= 0x2AFF):
        s.counts[MATH_MARKS] += 1
    return after


# Lines


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


cdef inline size_t open_line(scan_t* s, size_t start, size_t i) noexcept nogil:
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
    if (FLAGS[b] & IS_LINE_OPENER or behind == c'.' or behind == c')' or behind == c':'
            or (FLAGS[b] & IS_LEVEL_INITIAL and 65 <= behind <= 90)):
        look_at_opening(s, i, i > start)
    return i


cdef inline void close_line(scan_t* s) noexcept nogil:
    s.counts[TABLE_LINES] += s.line.pipes >= 2 or s.line.tabs >= 2
    s.counts[INLINE_CODE_SPANS] += s.line.backticks >> 1
    s.counts[LOG_LINES] += s.line.log


# Blocks


cdef inline void read_short_words(scan_t* s, const unsigned char* p, uint64_t starts, uint64_t ends) noexcept nogil:
    """Looks up the words of a block."""
    cdef uint64_t low, high
    cdef unsigned k, end
    cdef int32_t longest = s.counts[LONGEST_WORD_CHARS]
    if s.counts[WORDS] == 0 and starts:
        read_ascii_key(p + lowest_bit(starts), lowest_bit(ends) - lowest_bit(starts), &low, &high)
        s.counts[OPENS_WITH_QUESTION] = opens_question(word_group(low, high, 0, 0))
    s.counts[WORDS] += count_bits(starts)
    while starts:
        k = lowest_bit(starts)
        end = lowest_bit(ends)
        starts &= starts - 1
        ends &= ends - 1
        longest = max(longest, <int32_t> (end - k))
        read_ascii_key(p + k, end - k, &low, &high)
        count_group(s, word_group(low, high, 0, 0))
    s.counts[LONGEST_WORD_CHARS] = longest


cdef inline size_t read_event(scan_t* s, size_t i, unsigned char b, uint64_t digits, uint64_t spaces) noexcept nogil:
    """A mark, a number or a control character; `digits` and `spaces` are those from `i` on. Returns where to go on."""
    if FLAGS[b] & IS_MARK:
        return read_mark(s, i, b)
    if is_digit(b):
        count_number(s, i, i + lowest_bit(~digits), lowest_bit(~digits))
        return i + 1
    if b == 10:
        close_line(s)
        spaces >>= 1
        return open_line(s, i + 1, i + 1 + lowest_bit(~spaces))
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
    if FLAGS[s.text[after - 1]] & IS_MARK and s.text[after - 1] != c'_':
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
    for k in range(SCRIPT_OTHER + 1):
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

    cdef bytes encoded = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else bytes(text)
    cdef const unsigned char* data = encoded
    cdef size_t n = len(encoded)
    cdef float[::1] values = numpy.zeros(TEXT_FEATURES, numpy.float32)
    with nogil:
        text_scan(data, n, &values[0])
    return numpy.asarray(values)
