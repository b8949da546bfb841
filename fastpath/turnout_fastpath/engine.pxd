from libc.stdint cimport int16_t, int32_t, uint8_t, uint64_t

from turnout_fastpath.classifier cimport classifier_io_t
from turnout_fastpath.core cimport decision_t, fault_t, request_t
from turnout_fastpath.embedding cimport EMBEDDING_MAX_DIM
from turnout_fastpath.keywords cimport KEYWORD_WORDS
from turnout_fastpath.ngrams cimport NGRAM_MAX_COLUMNS
from turnout_fastpath.reading cimport JUDGED_BUFFER, judged_t, windows_t
from turnout_fastpath.snapshot cimport Snapshot, snapshot_t
from turnout_fastpath.wordpiece cimport word_cache_t


# One thread's memory for decisions against one snapshot.
cdef struct worker_t:
    classifier_io_t io
    word_cache_t* cache
    int32_t* dots                # one an exemplar, or cluster if there are more of them
    float* cosines
    uint64_t random
    windows_t windows
    judged_t judged
    uint64_t[KEYWORD_WORDS] keywords
    char[JUDGED_BUFFER] buffer


# Decides. Returns 0 with `decision` filled, or a fault code with `fault` filled. Needs no Python and no lock: any number
# of threads may call it at once, each with a worker of its own.
cdef int engine_decide(const snapshot_t* snapshot, worker_t* worker, const request_t* request, decision_t* decision,
                       fault_t* fault) noexcept nogil


cdef class Worker:
    cdef worker_t c
    cdef Snapshot snapshot
