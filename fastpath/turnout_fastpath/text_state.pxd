# What the scan knows while it reads a text, shared by its parts: words, marks, lines, blocks.
from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint64_t

cdef extern from "ascii_block.h" nogil:
    int32_t count_bits(uint64_t)
    uint64_t bits_below(unsigned)


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
    SCAN_FEATURES = 64      # TEXT_FEATURES
    SCAN_SCRIPTS = 16       # those of unicode_tables.pxd, and room
    SCAN_LANES = 3          # LANE_PARTS of word_classes.h


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
    int32_t[SCAN_FEATURES] counts  # numerators where the feature is a share
    int32_t[SCAN_SCRIPTS] scripts  # letters beyond ASCII
    int32_t ascii_letters
    int32_t word_chars
    int32_t quotes          # straight double quotes
    int32_t sentence_words  # words up to the last end of a sentence
    uint64_t[SCAN_LANES] class_lanes  # words of each class, one byte a class, not yet in `counts`
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


cdef inline unsigned char byte_at(const scan_t* s, size_t i) noexcept nogil:
    """The byte at `i`; beyond the end, and before the start, a line feed."""
    return s.text[i] if i < s.end else 10


cdef inline bint is_blank(unsigned char b) noexcept nogil:
    """ASCII white space."""
    return b == 32 or 9 <= b <= 13


cdef inline bint is_digit(unsigned char b) noexcept nogil:
    return 48 <= b <= 57


cdef inline bint is_letter(unsigned char b) noexcept nogil:
    return 97 <= (b | 32) <= 122


cdef inline bint is_word_byte(unsigned char b) noexcept nogil:
    return is_letter(b) or is_digit(b) or b == 95


cdef inline int32_t words_before(const scan_t* s, size_t i) noexcept nogil:
    return s.counts[WORDS] - count_bits(s.pending_words & ~bits_below(<unsigned> (i - s.block)))
