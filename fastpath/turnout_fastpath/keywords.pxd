from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef enum:
    MAX_KEYWORD_GROUPS = 1024
    KEYWORD_WORDS = MAX_KEYWORD_GROUPS >> 6


# A deterministic automaton over symbol classes; see keywords.pyx for the symbols.
cdef struct keywords_t:
    const uint32_t* next         # n_states x n_classes
    const uint32_t* first_output # n_states + 1 offsets into `outputs`
    const uint32_t* outputs      # groups that end in a state
    uint8_t[256] classes
    uint32_t n_classes
    uint32_t boundary            # class of the word boundary
    uint32_t n_states


# Sets the bit of every group that has a phrase in the text. `found` has KEYWORD_WORDS words and is cleared first.
cdef void keywords_scan(const keywords_t* keywords, const unsigned char* text, size_t n, uint64_t* found) noexcept nogil


cdef class KeywordAutomaton:
    cdef keywords_t c
    cdef readonly int n_groups
    cdef object tables
