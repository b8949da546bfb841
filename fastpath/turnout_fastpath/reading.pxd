from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint32_t, uint64_t

from turnout_fastpath.core cimport request_t, slice_t
from turnout_fastpath.wordpiece cimport word_cache_t, wordpiece_t

cdef enum:
    HEAD_PIECES = 256
    TAIL_PIECES = 128
    TAIL_BYTES = 1024
    # A last turn below this many bytes is read together with the end of the turns before it.
    SHORT_TURN_BYTES = 48
    BORROWED_TURNS = 2
    BORROWED_BYTES = 256
    JUDGED_BUFFER = BORROWED_TURNS * (BORROWED_BYTES + 1) + SHORT_TURN_BYTES


# What of a request is judged.
cdef struct judged_t:
    slice_t text
    uint32_t borrowed_bytes      # of `text`, from earlier turns
    uint32_t user_turns
    uint64_t system_bytes
    uint64_t history_bytes       # user and assistant turns that are not in `text`
    uint64_t tool_result_bytes
    uint32_t tool_results


# Word pieces and words of the windows: the first HEAD_PIECES pieces and the last TAIL_PIECES.
cdef struct windows_t:
    int32_t[HEAD_PIECES + TAIL_PIECES] ids
    int32_t n_ids
    int32_t n_unknown            # of `ids`
    uint64_t[HEAD_PIECES] head_words
    int32_t n_head_words
    uint64_t[TAIL_PIECES] tail_words
    int32_t n_tail_words
    uint32_t total               # pieces of the whole text; estimated if `estimated`
    int32_t truncated            # pieces lie between the windows that were not read
    int32_t estimated


# Chooses what is judged; a composed text lies in `buffer` (JUDGED_BUFFER bytes).
cdef void choose_text(const request_t* request, char* buffer, judged_t* judged) noexcept nogil

cdef void read_windows(const wordpiece_t* wordpiece, word_cache_t* cache, slice_t text, windows_t* windows) noexcept nogil

# Writes the CONTEXT_FEATURES values that follow the text features.
cdef void context_features(const request_t* request, const judged_t* judged, const windows_t* windows,
                           float* context) noexcept nogil
