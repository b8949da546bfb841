from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint8_t, uint64_t

from turnout_fastpath.core cimport live_t, request_t


cdef extern from "blake2b.h" nogil:
    enum:
        BLAKE2B_DIGEST
        BLAKE2B_GROUP
        BLAKE2B_SALT
        BLAKE2B_STRANDS
    ctypedef struct blake2b_t:
        pass
    void blake2b_start(blake2b_t*, const uint8_t*, const uint8_t*)
    void blake2b_add(blake2b_t*, const void*, size_t)
    void blake2b_finish(blake2b_t*, uint8_t*)
    void blake2b_strands(const uint8_t*, size_t, uint8_t*)
    void blake2b_strands_each(const uint8_t*, size_t, uint8_t*)


# Digest of a request, the three revisions of 8 bytes and the live state read. `decision_id` is part of it only where
# `seeded` says that the decision depended on it.
cdef void digest_decision(const request_t* request, const live_t* live, const uint8_t* revisions, int seeded,
                          const uint8_t* decision_id, uint8_t* digest) noexcept nogil
