# The generated table of code points; `training/unicode_tables.py` says what the names mean.
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t

cdef extern from "unicode_tables.h" nogil:
    enum:
        ACTION_WORD, ACTION_SKIP, ACTION_FENCE, ACTION_SPACE, ACTION_ALONE, ACTION_HANGUL, ACTION_SEQUENCE
        ACTION_LEAD
        CHAR_LETTER, CHAR_DIGIT, CHAR_UPPER, CHAR_MARK, CHAR_PUNCTUATION, CHAR_SPACE, CHAR_CJK, CHAR_REMOVED
        SCRIPT_COMMON, SCRIPT_LATIN, SCRIPT_CYRILLIC, SCRIPT_GREEK, SCRIPT_ARABIC, SCRIPT_HEBREW, SCRIPT_INDIC
        SCRIPT_THAI, SCRIPT_HANGUL, SCRIPT_KANA, SCRIPT_HAN, SCRIPT_GEORGIAN_ARMENIAN, SCRIPT_EMOJI, SCRIPT_OTHER

    ctypedef struct unicode_char_t:
        uint16_t properties
        uint8_t action
        uint8_t combining
        int32_t value

    const uint8_t* turnout_byte_action              # of the 256 bytes; ACTION_LEAD from 0x80
    const uint32_t* turnout_sequences
    const unicode_char_t* turnout_char(uint32_t code)
    unsigned char_properties(uint32_t code)         # SCRIPT_... << 8 | CHAR_...
