from libc.stddef cimport size_t

from turnout_fastpath.text_state cimport scan_t


# Begins the line at `start`, which is blank up to `i`; returns where its content begins, or its end.
cdef size_t open_line(scan_t* s, size_t start, size_t i) noexcept nogil

cdef void close_line(scan_t* s) noexcept nogil
