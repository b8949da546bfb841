from libc.stddef cimport size_t

from turnout_fastpath.text_state cimport scan_t


# The ASCII mark `b` at `i`; returns where to go on.
cdef size_t read_mark(scan_t* s, size_t i, unsigned char b) noexcept nogil

# A sentence ends at `i`, if there is a word in it.
cdef void end_sentence(scan_t* s, size_t i) noexcept nogil

# The line's first colon.
cdef void look_at_field(scan_t* s, size_t colon) noexcept nogil
