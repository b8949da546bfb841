# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Words: short ASCII ones by the bits of a block, all others, and what is beyond ASCII, character by character."""

from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint32_t, uint64_t
from libc.string cimport memset

from turnout_fastpath.text_marks cimport end_sentence, look_at_field
from turnout_fastpath.text_state cimport *
from turnout_fastpath.unicode_tables cimport (
    CHAR_DIGIT, CHAR_LETTER, CHAR_MARK, CHAR_PUNCTUATION, CHAR_UPPER, SCRIPT_EMOJI, SCRIPT_HAN, SCRIPT_HANGUL,
    SCRIPT_THAI, char_properties
)
from turnout_fastpath.utf8 cimport utf8_next


cdef extern from "ascii_block.h" nogil:
    void read_ascii_key(const unsigned char*, unsigned, uint64_t*, uint64_t*)
    unsigned lowest_bit(uint64_t)


cdef extern from "word_classes.h" nogil:
    enum:
        CLASS_QUESTION
        CLASS_AUXILIARY
        CLASS_CODE
        FOLD_FIRST
        FOLD_END
    const uint32_t* group_classes
    const uint64_t** group_steps
    const unsigned short* letter_fold
    uint32_t word_group(uint64_t, uint64_t, uint64_t, uint64_t)
    unsigned sequence_lengths_at(uint32_t)
    uint32_t sequence_group(uint64_t)


cdef enum:
    # The first classes are features, from SOCIAL_WORDS on.
    CLASS_FEATURES = 16
    # One byte a class counts 255 words; the lanes may be emptied within a block, which has BLOCK_WORDS at most.
    LANE_LIMIT = 255 - BLOCK_WORDS
    KEY_PARTS = 4
    # Han and kana, and Thai and Lao, write no spaces: their runs are cut into words of so many characters.
    HAN_WORD_CHARS = 2
    THAI_WORD_CHARS = 4
    HANGUL_WORD_CHARS = 1 << 30  # a run is a word
    # A question sequence opens the text when it ends this early.
    OPENING_CHARS = 8


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


cdef void empty_lanes(scan_t* s) noexcept nogil:
    cdef int k
    for k in range(CLASS_FEATURES):
        s.counts[SOCIAL_WORDS + k] += (s.class_lanes[k >> 3] >> (8 * (k & 7))) & 255
    s.counts[QUESTION_WORDS] += (s.class_lanes[CLASS_QUESTION >> 3] >> (8 * (CLASS_QUESTION & 7))) & 255
    s.counts[CODE_WORDS] += (s.class_lanes[CLASS_CODE >> 3] >> (8 * (CLASS_CODE & 7))) & 255
    memset(s.class_lanes, 0, sizeof(s.class_lanes))
    s.lane_words = 0


cdef void make_room(scan_t* s, int32_t words) noexcept nogil:
    """For counting so many more words in the lanes."""
    if s.lane_words + words > LANE_LIMIT:
        empty_lanes(s)
    s.lane_words += words


cdef inline void count_group(scan_t* s, uint32_t group) noexcept nogil:
    """A word or sequence of a group of classes; needs make_room()."""
    cdef int k
    for k in range(SCAN_LANES):
        s.class_lanes[k] += group_steps[group][k]


cdef inline bint opens_question(uint32_t group) noexcept nogil:
    return group_classes[group] & (1 << CLASS_QUESTION | 1 << CLASS_AUXILIARY) != 0


cdef inline void count_words(scan_t* s, int32_t words, int32_t chars, int32_t longest) noexcept nogil:
    s.counts[WORDS] += words
    s.word_chars += chars
    s.counts[LONGEST_WORD_CHARS] = max(s.counts[LONGEST_WORD_CHARS], longest)


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
        return is_word_byte(s.text[at])
    properties = char_properties(next_code(s, &at))
    return properties & (CHAR_LETTER | CHAR_DIGIT) and not run_chars(properties)


cdef inline uint64_t fold(uint32_t code) noexcept nogil:
    """The UTF-8 of a character without case and accents, first byte lowest; 0 if nothing is left."""
    if FOLD_FIRST <= code < FOLD_END:
        code = letter_fold[code - FOLD_FIRST]
        if code & 0x8000:
            return (code & 127) << 8 | (code >> 7 & 127)
    if code < 0x80:
        return code
    if code < 0x800:
        return (0x80 | (code & 63)) << 8 | (0xC0 | code >> 6)
    if code < 0x10000:
        return (0x80 | (code & 63)) << 16 | (0x80 | (code >> 6 & 63)) << 8 | (0xE0 | code >> 12)
    return (0x80 | (code & 63)) << 24 | (0x80 | (code >> 6 & 63)) << 16 | (0x80 | (code >> 12 & 63)) << 8 | (0xF0 | code >> 18)


cdef inline bint is_call(const scan_t* s, size_t at, size_t after, int32_t chars) noexcept nogil:
    """A name before `(`; `(s)` is a plural."""
    return (byte_at(s, after) == c'(' and chars >= 2 and not is_digit(s.text[at])
            and not (byte_at(s, after + 1) == c's' and byte_at(s, after + 2) == c')'))


cdef size_t read_any_word(scan_t* s, size_t start) noexcept nogil:
    """An ordinary word of any length and script, character by character; returns where it ends."""
    cdef uint64_t[KEY_PARTS + 1] key
    cdef uint64_t folded, part = 0
    cdef size_t at = start, after, digits_end = start
    cdef unsigned parts = 0, bits = 0, size
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
        if parts <= KEY_PARTS:
            folded = fold(code)
            size = 8 * ((folded > 0) + (folded > 0xFF) + (folded > 0xFFFF) + (folded > 0xFFFFFF))
            part |= folded << bits
            bits += size
            if bits >= 64:
                bits -= 64
                key[parts] = part
                parts += 1
                part = folded >> (size - bits)
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
    if parts < KEY_PARTS or (parts == KEY_PARTS and bits == 0):
        key[parts] = part
        group = word_group(key[0], key[1], key[2], key[3])
    if s.counts[WORDS] == 0:
        s.counts[OPENS_WITH_QUESTION] = opens_question(group)
    count_words(s, 1, chars, chars)
    make_room(s, 1)
    count_group(s, group)
    return at


cdef void read_short_words(scan_t* s, const unsigned char* p, uint64_t starts, uint64_t ends) noexcept nogil:
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
