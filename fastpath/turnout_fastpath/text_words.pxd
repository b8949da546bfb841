from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint64_t

from turnout_fastpath.text_state cimport scan_t

cdef enum:
    # No more words than this stand in a block of 64 bytes.
    BLOCK_WORDS = 32


# Counts on; for the text's end.
cdef void empty_lanes(scan_t* s) noexcept nogil

# Makes room to count so many more words.
cdef void make_room(scan_t* s, int32_t words) noexcept nogil

# Counts and looks up the words of a block at `p`, of at most 16 bytes, given their starts and ends; needs make_room().
cdef void read_short_words(scan_t* s, const unsigned char* p, uint64_t starts, uint64_t ends) noexcept nogil

# A word of ordinary letters that begins at `start`; returns where it ends.
cdef size_t read_any_word(scan_t* s, size_t start) noexcept nogil

# The character beyond ASCII at `at`, and the word if it begins one; returns where to go on.
cdef size_t read_beyond_ascii(scan_t* s, size_t at) noexcept nogil

# A word at `at` begins with `digits` digits, the last of which ends at `digits_end`.
cdef void count_number(scan_t* s, size_t at, size_t digits_end, int32_t digits) noexcept nogil
