from turnout_fastpath.core cimport decision_t
from turnout_fastpath.snapshot cimport Snapshot


cdef class Decision:
    cdef decision_t c
    cdef Snapshot snapshot
    cdef readonly object explanation
