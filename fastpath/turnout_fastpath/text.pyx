# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""One pass over a text that fills the features of `text_features.FEATURE_NAMES`; text.pyi defines each of them.

Words of up to 15 ASCII letters, digits and underscores, which is nearly all of English and of code, are read 16 bytes
at a time. Everything else goes character by character.
"""

from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

from turnout_fastpath.utf8 cimport utf8_next, utf8_put


cdef extern from "ascii_word.h" nogil:
    ctypedef struct ascii_word_t:
        uint32_t length
        uint32_t uppers
        uint32_t digits
        uint32_t underscores
        uint64_t[2] key
    ascii_word_t read_ascii_word(const unsigned char*)


cdef extern from "unicode_tables.h" nogil:
    enum:
        CHAR_LETTER
        CHAR_DIGIT
        CHAR_UPPER
        CHAR_MARK
        CHAR_PUNCTUATION
        CHAR_SPACE
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
        CLASS_FAULT
    enum:
        FOLD_FIRST
        FOLD_END
    const unsigned short* letter_fold
    uint32_t word_classes(uint64_t, uint64_t, uint64_t, uint64_t)
    unsigned sequence_lengths_at(uint32_t)
    uint32_t sequence_classes(uint64_t)


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
    # The first bits of a word's classes are features, from SOCIAL_WORDS on.
    CLASS_FEATURES = 0xFFFF
    KEY_BYTES = 32
    # Han and kana, and Thai and Lao, write no spaces: their runs are cut into words of so many characters.
    HAN_WORD_CHARS = 2
    THAI_WORD_CHARS = 4
    # A question sequence opens the text when it ends this early.
    OPENING_CHARS = 8
    FIELD_NAME_BYTES = 32
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
    size_t non_ascii_bytes
    size_t number_end       # of the last number's digits
    int32_t number_digits
    size_t chunk            # start of what stands between white space
    size_t slash_chunk      # the chunk of the last slash
    int32_t slashes
    size_t path_chunk       # the last chunk that was counted as a path or URL
    int sentence_open       # a word since the last end of a sentence
    line_t line


# What an ASCII byte is, and what may surprise about it.
cdef enum:
    BYTE_OTHER = 0
    BYTE_WORD = 1
    BYTE_MARK = 2
    BYTE_SPACE = 3
cdef enum:
    IS_ACTIVE = 1           # a mark that read_active_mark() looks at
    IS_CLOSER = 4           # may stand between the end of a sentence and white space
    IS_IN_FIELD_NAME = 8
    IS_LEFT_OPERAND = 16
    IS_RIGHT_OPERAND = 32
    IS_BEFORE_PATH = 64     # a slash behind it begins a path
    IS_LINE_OPENER = 128    # look_at_opening() looks at lines that begin so

cdef uint8_t[256] KIND
cdef uint8_t[256] FLAGS
cdef uint8_t[256] MARK_BIT      # 0 to 31, by mark
cdef uint64_t[256] MARKS_AFTER  # bit MARK_BIT: a code pair; 32 + MARK_BIT: a JSON pair

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_DIGITS = "0123456789"
_MARKS = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
_CODE_PAIRS = "() [] == != <= >= => -> :: && || += -= *= /= := /* */ </ /> << >> ++"
_JSON_PAIRS = "\": {\" [\" [{ }, ], \"} \"] }]"


def _fill_tables():
    for char in _MARKS:
        KIND[ord(char)] = BYTE_MARK
        MARK_BIT[ord(char)] = _MARKS.index(char)
    for char in _LETTERS + _DIGITS + "_":
        KIND[ord(char)] = BYTE_WORD
    for char in " \t\v\f\r\n":
        KIND[ord(char)] = BYTE_SPACE
    for flag, chars in (
        (IS_ACTIVE, "!\"$%(*+-./:;<=>?@\\^`{|"),
        (IS_CLOSER, "\"')]*"),
        (IS_IN_FIELD_NAME, _LETTERS + _DIGITS + " -*_\"'()/.#&>"),
        (IS_LEFT_OPERAND, _LETTERS + _DIGITS + ")]}"),
        (IS_RIGHT_OPERAND, _LETTERS + _DIGITS + "([{\\"),
        (IS_BEFORE_PATH, ".~\"'`(=:"),
        (IS_LINE_OPENER, _DIGITS + "ABCDEFGHIJTabcdefghij-*+>`~(["),
    ):
        for char in chars:
            FLAGS[ord(char)] |= flag
    for byte in range(128, 256):
        FLAGS[byte] |= IS_IN_FIELD_NAME
    FLAGS[0xC2] |= IS_LINE_OPENER
    FLAGS[0xE2] |= IS_LINE_OPENER
    for shift, pairs in ((0, _CODE_PAIRS), (32, _JSON_PAIRS)):
        for pair in pairs.split():
            MARKS_AFTER[ord(pair[0])] |= <uint64_t> 1 << (MARK_BIT[ord(pair[1])] + <int> shift)


_fill_tables()


cdef inline unsigned char byte_at(const scan_t* s, size_t i) noexcept nogil:
    """The byte at `i`; beyond the end, and before the start, a line feed."""
    return s.text[i] if i < s.end else 10


cdef inline bint is_blank(unsigned char b) noexcept nogil:
    return KIND[b] == BYTE_SPACE


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


cdef inline int run_chars(unsigned properties) noexcept nogil:
    """Characters a word in the runs of this letter's script, no limit for Hangul, 0 for ordinary letters."""
    cdef unsigned script = properties >> 8
    if not properties & CHAR_LETTER or script < SCRIPT_THAI or script > SCRIPT_HAN:
        return 0
    if script == SCRIPT_THAI:
        return THAI_WORD_CHARS
    return 1 << 30 if script == SCRIPT_HANGUL else HAN_WORD_CHARS


cdef inline void count_char(scan_t* s, size_t bytes, unsigned properties) noexcept nogil:
    """A character beyond ASCII."""
    s.counts[NON_ASCII] += 1
    s.non_ascii_bytes += bytes
    if properties & CHAR_LETTER:
        s.scripts[properties >> 8] += 1
        s.counts[UPPERS] += (properties & CHAR_UPPER) != 0
    elif properties & CHAR_DIGIT:
        s.counts[DIGITS] += 1


cdef void count_classes(scan_t* s, uint32_t classes) noexcept nogil:
    cdef uint32_t left = classes & CLASS_FEATURES
    cdef int k = SOCIAL_WORDS
    while left:
        s.counts[k] += left & 1
        left >>= 1
        k += 1
    s.counts[QUESTION_WORDS] += (classes & CLASS_QUESTION) != 0
    s.counts[CODE_WORDS] += (classes & CLASS_CODE) != 0


cdef inline void count_words(scan_t* s, int32_t words, int32_t chars, int32_t longest) noexcept nogil:
    s.counts[WORDS] += words
    s.word_chars += chars
    if longest > s.counts[LONGEST_WORD_CHARS]:
        s.counts[LONGEST_WORD_CHARS] = longest
    s.sentence_open = 1


cdef inline void count_number(scan_t* s, size_t at, size_t digits_end, int32_t digits) noexcept nogil:
    """A word that begins with digits. Behind a number and one of . , : it continues that number."""
    cdef unsigned char before = byte_at(s, at - 1)
    if s.number_end + 1 == at and (before == c'.' or before == c',' or before == c':'):
        s.number_digits += digits
    else:
        s.counts[NUMBERS] += 1
        s.number_digits = digits
    s.number_end = digits_end
    if s.number_digits > s.counts[LONGEST_NUMBER_DIGITS]:
        s.counts[LONGEST_NUMBER_DIGITS] = s.number_digits
    # A time of hours, minutes and seconds.
    if (before == c':' and at >= 5 and s.text[at - 4] == c':' and is_digit(s.text[at - 5])
            and is_digit(s.text[at - 3]) and is_digit(s.text[at - 2])
            and is_digit(s.text[at]) and is_digit(byte_at(s, at + 1))):
        s.line.log = 1


cdef bint ends_in(const scan_t* s, size_t at, size_t after, const char* suffix, size_t size) noexcept nogil:
    return after - at >= size and memcmp(s.text + after - size, suffix, size) == 0


cdef void look_at_fault(scan_t* s, size_t at, size_t after, uint32_t classes) noexcept nogil:
    """A word before a colon, or one of the class FAULT: does it make a log line?"""
    cdef unsigned char follows = byte_at(s, after)
    cdef size_t i
    if classes & CLASS_FAULT:
        if follows == c':' or follows == c']':
            s.line.log = 1
        elif at == s.line.start:
            for i in range(at, after):
                if not 65 <= s.text[i] <= 90:
                    return
            s.line.log = 1
    elif ends_in(s, at, after, "Error", 5) or ends_in(s, at, after, "Exception", 9) or ends_in(s, at, after, "Warning", 7):
        s.line.log = 1


cdef inline void count_word(scan_t* s, size_t at, size_t after, int32_t chars, uint32_t classes) noexcept nogil:
    cdef unsigned char follows = byte_at(s, after)
    if classes:
        if classes & (CLASS_QUESTION | CLASS_AUXILIARY) and s.counts[WORDS] == 0:
            s.counts[OPENS_WITH_QUESTION] = 1
        count_classes(s, classes)
    if classes & CLASS_FAULT or follows == c':':
        look_at_fault(s, at, after, classes)
    count_words(s, 1, chars, chars)


cdef inline bint is_call(const scan_t* s, size_t at, size_t after, int32_t chars) noexcept nogil:
    """A name before `(`; `(s)` is a plural."""
    return (byte_at(s, after) == c'(' and chars >= 2 and not is_digit(s.text[at])
            and not (byte_at(s, after + 1) == c's' and byte_at(s, after + 2) == c')'))


cdef inline bint is_word_char(const scan_t* s, size_t at) noexcept nogil:
    """An ordinary letter, a digit or an underscore begins at `at`."""
    cdef unsigned properties
    if at >= s.end:
        return 0
    if s.text[at] < 128:
        return KIND[s.text[at]] == BYTE_WORD
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


cdef size_t read_any_word(scan_t* s, size_t start) noexcept nogil:
    """An ordinary word of any length and script, character by character; returns where it ends."""
    cdef unsigned char[KEY_BYTES + 8] key
    cdef uint64_t[4] parts
    cdef size_t size = 0, at = start, after, digits_end = start
    cdef int32_t chars = 0, letters = 0, digits = 0, underscores = 0, leading_digits = 0, identifier = 0
    cdef uint32_t code, classes = 0
    cdef unsigned properties
    cdef unsigned char b, before = 0
    memset(key, 0, sizeof(key))
    while at < s.end:
        b = s.text[at]
        after = at + 1
        if KIND[b] == BYTE_WORD:
            code = b
            if is_digit(b):
                digits += 1
                s.counts[DIGITS] += 1
            elif b == c'_':
                underscores += 1
            else:
                letters += 1
                s.ascii_letters += 1
                if b < 97:
                    s.counts[UPPERS] += 1
                    identifier |= 97 <= before <= 122
                    code = b | 32
        elif b == 39:
            if not is_word_char(s, after):
                break
            code = 39
        elif b < 128:
            break
        else:
            after = at
            code = next_code(s, &after)
            if code == 0x2019:
                if not is_word_char(s, after):
                    break
                code = 39
                s.counts[NON_ASCII] += 1
                s.non_ascii_bytes += after - at
            else:
                properties = char_properties(code)
                if not properties & (CHAR_LETTER | CHAR_DIGIT | CHAR_MARK) or run_chars(properties):
                    break
                count_char(s, after - at, properties)
                if properties & CHAR_DIGIT:
                    digits += 1
                elif properties & CHAR_LETTER:
                    letters += 1
        chars += 1
        if leading_digits == chars - 1 and digits == chars:
            leading_digits = chars
            digits_end = after
        if size <= KEY_BYTES:
            size += fold_into(key + size, code)
        before = b
        at = after
    s.counts[PUNCTUATION] += underscores
    if letters or digits:
        if leading_digits:
            count_number(s, start, digits_end, leading_digits)
        if identifier or (underscores and letters) or is_call(s, start, at, chars):
            s.counts[IDENTIFIERS] += 1
        if size <= KEY_BYTES:
            memcpy(parts, key, KEY_BYTES)
            classes = word_classes(parts[0], parts[1], parts[2], parts[3])
        count_word(s, start, at, chars, classes)
    return at


cdef inline int32_t count_bits(uint32_t bits) noexcept nogil:
    cdef int32_t n = 0
    while bits:
        bits &= bits - 1
        n += 1
    return n


cdef inline size_t read_word(scan_t* s, size_t at) noexcept nogil:
    """A word that begins with an ASCII letter, digit or underscore; returns where it ends."""
    cdef unsigned char[16] rest
    cdef const unsigned char* p = s.text + at
    cdef ascii_word_t word
    cdef size_t after
    cdef unsigned char follows
    cdef int32_t others, leading_digits
    cdef uint32_t lowers
    if s.end - at < 16:
        memset(rest, 0, 16)
        memcpy(rest, p, s.end - at)
        p = rest
    word = read_ascii_word(p)
    after = at + word.length
    follows = byte_at(s, after)
    if word.length == 16 or follows >= 128 or follows == 39:
        return read_any_word(s, at)
    s.ascii_letters += word.length
    if word.uppers | word.digits | word.underscores:
        s.counts[UPPERS] += count_bits(word.uppers)
        if word.digits | word.underscores:
            others = count_bits(word.underscores)
            s.counts[PUNCTUATION] += others
            s.ascii_letters -= others
            if others == <int32_t> word.length:
                return after
            others = count_bits(word.digits)
            s.counts[DIGITS] += others
            s.ascii_letters -= others
            if word.digits & 1:
                leading_digits = count_bits(word.digits & ~(word.digits + 1))
                count_number(s, at, at + leading_digits, leading_digits)
        lowers = ~(word.uppers | word.digits | word.underscores)
        if ((lowers << 1) & word.uppers) or (
                word.underscores and count_bits(word.digits | word.underscores) < <int32_t> word.length):
            s.counts[IDENTIFIERS] += 1
        elif follows == c'(':
            s.counts[IDENTIFIERS] += is_call(s, at, after, word.length)
    elif follows == c'(':
        s.counts[IDENTIFIERS] += is_call(s, at, after, word.length)
    count_word(s, at, after, word.length, word_classes(word.key[0], word.key[1], 0, 0))
    return after


cdef size_t read_run(scan_t* s, size_t start, int word_chars) noexcept nogil:
    """A run of Han and kana, of Thai, or of Hangul, whose words have `word_chars` characters; returns where it ends."""
    cdef size_t at = start, after
    cdef uint64_t history = 0, key
    cdef uint32_t code, classes
    cdef unsigned properties, lengths
    cdef int32_t chars = 0
    cdef int k
    while at < s.end and s.text[at] >= 128:
        after = at
        code = next_code(s, &after)
        properties = char_properties(code)
        if not properties & CHAR_MARK and run_chars(properties) != word_chars:
            break
        count_char(s, after - at, properties)
        at = after
        chars += 1
        history = history << 16 | (code if code < 0x10000 else 0)
        lengths = sequence_lengths_at(code)
        k = 16
        while lengths:
            if lengths & 1:
                key = history & ~(<uint64_t> 0) >> (64 - k)
                classes = sequence_classes(key)
                if classes & CLASS_QUESTION and s.counts[WORDS] == 0 and chars <= OPENING_CHARS:
                    s.counts[OPENS_WITH_QUESTION] = 1
                if classes:
                    count_classes(s, classes)
            lengths >>= 1
            k += 16
    count_words(s, (chars + word_chars - 1) // word_chars, chars, chars if chars < word_chars else word_chars)
    return at


cdef inline void end_sentence(scan_t* s) noexcept nogil:
    s.counts[SENTENCES] += s.sentence_open
    s.sentence_open = 0


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
    cdef size_t i
    cdef int32_t words = s.counts[WORDS] - s.line.words
    if colon - s.line.start > FIELD_NAME_BYTES or not 1 <= words <= FIELD_NAME_WORDS:
        return
    for i in range(s.line.start, colon):
        if not FLAGS[s.text[i]] & IS_IN_FIELD_NAME:
            return
    s.counts[FIELD_LINES] += 1


cdef size_t read_other(scan_t* s, size_t at) noexcept nogil:
    """A character beyond ASCII that is no letter or digit, or the word that it begins; returns where it ends."""
    cdef size_t after = at
    cdef uint32_t code = next_code(s, &after)
    cdef unsigned properties = char_properties(code)
    cdef int word_chars = run_chars(properties)
    if word_chars:
        return read_run(s, at, word_chars)
    if properties & (CHAR_LETTER | CHAR_DIGIT):
        return read_any_word(s, at)
    count_char(s, after - at, properties)
    if properties & CHAR_SPACE:
        s.chunk = after
    if properties & CHAR_PUNCTUATION:
        s.counts[PUNCTUATION] += 1
    if properties >> 8 == SCRIPT_EMOJI:
        s.counts[EMOJI] += 1
    if code == 0x3002 or code == 0xFF01 or code == 0xFF61 or code == 0x2026 or code == 0x0964 or code == 0x06D4:
        end_sentence(s)  # 。！｡ … । ۔
    elif code == 0xFF1F or code == 0x061F:
        s.counts[QUESTION_MARKS] += 1  # ？ ؟
        end_sentence(s)
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


cdef inline void count_path(scan_t* s) noexcept nogil:
    if s.path_chunk != s.chunk:
        s.path_chunk = s.chunk
        s.counts[PATHS_AND_URLS] += 1


cdef void look_at_slash(scan_t* s, size_t i) noexcept nogil:
    cdef unsigned char before = byte_at(s, i - 1), follows = byte_at(s, i + 1)
    if before == c':' and follows == c'/':
        count_path(s)
    elif before != c'<' and (is_letter(follows) or follows == c'.' or follows == c'_'):
        if i == s.chunk or FLAGS[before] & IS_BEFORE_PATH:
            count_path(s)
            return
        if s.slash_chunk != s.chunk:
            s.slash_chunk = s.chunk
            s.slashes = 0
        s.slashes += 1
        if s.slashes == 2:
            count_path(s)


cdef size_t read_active_mark(scan_t* s, size_t i, unsigned char b) noexcept nogil:
    """A mark whose neighbours matter; returns where to go on."""
    cdef unsigned char before = byte_at(s, i - 1), follows = byte_at(s, i + 1), third
    cdef size_t after = i + 1
    if b == c'.' or b == c'!' or b == c'?':
        s.counts[QUESTION_MARKS] += b == c'?'
        if s.sentence_open and closes_sentence(s, after):
            end_sentence(s)
        elif b == c'.' and before == c'w' and i >= s.chunk + 3 and memcmp(s.text + i - 3, "www", 3) == 0:
            count_path(s)
    elif b == c'(':
        s.counts[ANSWER_OPTIONS] += (65 <= (follows & 0xDF) <= 74 and byte_at(s, i + 2) == c')' and is_blank(before)
                                     and is_blank(byte_at(s, i + 3)))
    elif b == c'=' or b == c'+' or b == c'^' or b == c'*' or b == c'-':
        s.counts[MATH_MARKS] += is_operation(s, i, b)
    elif b == c'/':
        s.counts[MATH_MARKS] += is_operation(s, i, b)
        look_at_slash(s, i)
    elif b == c'<':
        s.counts[MATH_MARKS] += is_operation(s, i, b)
        s.line.tag_open = is_letter(follows) or follows == c'!' or (follows == c'/' and is_letter(byte_at(s, i + 2)))
    elif b == c'>':
        s.counts[MATH_MARKS] += is_operation(s, i, b)
        s.counts[MARKUP_TAGS] += s.line.tag_open
        s.line.tag_open = 0
    elif b == c'"':
        s.quotes += 1
    elif b == c':':
        if not s.line.colon_seen:
            s.line.colon_seen = 1
            if is_blank(follows) or follows == c'"':
                look_at_field(s, i)
    elif b == c';':
        s.counts[CODE_MARKS] += follows == 10 or follows == 13
    elif b == c'{':
        s.counts[LATEX_MARKS] += before == c'^' or before == c'_'
    elif b == c'\\':
        third = byte_at(s, i + 2)
        if before == c':' and is_letter(follows):
            count_path(s)
        elif (is_letter(follows) and is_letter(third)) or follows == c'(' or follows == c'[':
            s.counts[LATEX_MARKS] += 1
    elif b == c'$':
        if follows == c'$':
            s.counts[LATEX_MARKS] += 1
            s.counts[PUNCTUATION] += 1
            s.line.dollar_open = 0
            after = i + 2
        elif s.line.dollar_open and not is_blank(before) and not is_digit(follows):
            s.counts[LATEX_MARKS] += 1
            s.line.dollar_open = 0
        else:
            s.line.dollar_open = 1
            s.counts[MONEY_AND_PERCENT] += is_digit(follows)
    elif b == c'%':
        s.counts[MONEY_AND_PERCENT] += is_digit(before) or (before == 32 and is_digit(byte_at(s, i - 2)))
    elif b == c'@':
        if KIND[before] == BYTE_WORD and KIND[follows] == BYTE_WORD:
            count_path(s)
    elif b == c'`':
        while byte_at(s, after) == c'`':
            after += 1
        s.counts[PUNCTUATION] += after - i - 1
        s.line.backticks += after - i <= 2
    elif b == c'|':
        s.line.pipes += before != c'|' and follows != c'|'
    return after


cdef inline size_t read_mark(scan_t* s, size_t i, unsigned char b) noexcept nogil:
    cdef unsigned char before = byte_at(s, i - 1)
    cdef uint64_t pairs = MARKS_AFTER[before] >> MARK_BIT[b]
    s.counts[PUNCTUATION] += 1
    s.counts[JSON_MARKS] += <int32_t> ((pairs >> 32) & 1)
    s.counts[CODE_MARKS] += <int32_t> (pairs & 1) + (b == c'{' or b == c'}')
    if before == b and byte_at(s, i - 2) == b:
        s.counts[CODE_MARKS] -= <int32_t> (pairs & 1)  # a run of one mark is one pair
    if FLAGS[b] & IS_ACTIVE:
        return read_active_mark(s, i, b)
    return i + 1


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


cdef bint opens_item(const scan_t* s, size_t i, unsigned char b) noexcept nogil:
    """The mark of a list item stands at `i`: - * + 1. 1) (1) 1、 and bullets."""
    cdef unsigned char follows = byte_at(s, i + 1), third = byte_at(s, i + 2), blank
    cdef size_t digits_end = i + (b == c'(')
    if b == c'-' or b == c'*' or b == c'+':
        return follows == 32 or follows == 9
    if b == 0xC2:
        return follows == 0xB7  # ·
    if b == 0xE2:
        blank = byte_at(s, i + 3)
        return ((follows == 0x80 and (third == 0xA2 or third == 0xA3))                  # • ‣
                or (follows == 0x80 and (third == 0x93 or third == 0x94) and blank == 32)  # – —
                or (follows == 0x97 and (third == 0x8F or third == 0xA6))               # ● ◦
                or (follows == 0x96 and third == 0xAA)                                  # ▪
                or (follows == 0x91 and 0xA0 <= third <= 0xB3))                         # ① to ⑳
    while digits_end < i + 4 and is_digit(byte_at(s, digits_end)):
        digits_end += 1
    follows = byte_at(s, digits_end)
    blank = byte_at(s, digits_end + 1)
    if digits_end == i + (b == c'('):
        return 0
    if b != c'(' and follows == 0xE3 and blank == 0x80 and byte_at(s, digits_end + 2) == 0x81:
        return 1  # 、
    return (follows == c')' or (follows == c'.' and b != c'(')) and (blank == 32 or blank == 9)


cdef bint starts_with(const scan_t* s, size_t i, const char* prefix, size_t size) noexcept nogil:
    return i + size <= s.end and memcmp(s.text + i, prefix, size) == 0


cdef void look_at_opening(scan_t* s, size_t i, int indented) noexcept nogil:
    """The first characters of a line's content."""
    cdef unsigned char b = s.text[i], follows = byte_at(s, i + 1), third = byte_at(s, i + 2)
    if b == c'>':
        s.counts[QUOTED_LINES] += 1
    elif b == c'`' or b == c'~':
        s.counts[CODE_FENCES] += follows == b and third == b
    elif is_letter(b):
        if (follows == c'.' or follows == c')' or follows == c':') and (third == 32 or third == 9):
            s.counts[ANSWER_OPTIONS] += (b | 32) <= 106
        elif ((indented and starts_with(s, i, "at ", 3)) or starts_with(s, i, "File \"", 6)
              or starts_with(s, i, "Traceback (", 11)):
            s.line.log = 1
    else:
        s.counts[LIST_ITEMS] += opens_item(s, i, b)
        if is_date(s, i + (b == c'[' or b == c'(')):
            s.line.log = 1


cdef inline size_t open_line(scan_t* s, size_t start) noexcept nogil:
    """Begins the line at `start`; returns where its content begins."""
    cdef size_t i = start
    memset(&s.line, 0, sizeof(line_t))
    while i < s.end and is_blank(s.text[i]) and s.text[i] != 10:
        i += 1
    s.line.start = i
    s.line.words = s.counts[WORDS]
    s.chunk = i
    if i == s.end or s.text[i] == 10:
        return i
    s.counts[LINES] += 1
    if i > start:
        s.counts[INDENTED_LINES] += s.text[start] == 9 or (s.text[start] == 32 and s.text[start + 1] == 32)
    if FLAGS[s.text[i]] & IS_LINE_OPENER:
        look_at_opening(s, i, i > start)
    return i


cdef inline void close_line(scan_t* s) noexcept nogil:
    s.counts[TABLE_LINES] += s.line.pipes >= 2 or s.line.tabs >= 2
    s.counts[INLINE_CODE_SPANS] += s.line.backticks >> 1
    s.counts[LOG_LINES] += s.line.log


cdef size_t scanned_bytes(const unsigned char* text, size_t n) noexcept nogil:
    """The bytes to scan: up to the limit, without a character that it cuts."""
    cdef size_t at = TEXT_SCAN_LIMIT, back, behind
    if n <= TEXT_SCAN_LIMIT:
        return n
    for back in range(1, 4):
        if text[TEXT_SCAN_LIMIT - back] >= 0xC0:
            # Cut if it reads as one whole character that ends beyond the limit.
            at = TEXT_SCAN_LIMIT - back
            behind = at
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
    cdef unsigned char b
    memset(&s, 0, sizeof(s))
    s.text = text
    s.end = scanned_bytes(text, n)
    s.number_end = s.slash_chunk = s.path_chunk = <size_t> -2
    i = open_line(&s, 0)
    while i < s.end:
        b = text[i]
        if b == 32:
            i += 1
            s.chunk = i
        elif KIND[b] == BYTE_WORD:
            i = read_word(&s, i)
        elif b >= 128:
            i = read_other(&s, i)
        elif KIND[b] == BYTE_MARK:
            i = read_mark(&s, i, b)
        elif b == 10:
            close_line(&s)
            i = open_line(&s, i + 1)
        else:
            i += 1
            if KIND[b] == BYTE_SPACE:
                s.chunk = i
                s.line.tabs += b == 9
    close_line(&s)
    end_sentence(&s)
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
