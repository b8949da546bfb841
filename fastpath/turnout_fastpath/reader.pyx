"""What the engine reads of a request, for the trainer: the same kernels, up to the learned tables."""

import numpy

from libc.stdint cimport int32_t, uint64_t
from libc.string cimport memcpy

from turnout_fastpath.core cimport ALL_FEATURES, TEXT_FEATURES
from turnout_fastpath.reading cimport JUDGED_BUFFER, choose_text, context_features, judged_t, read_windows, windows_t
from turnout_fastpath.request cimport Request
from turnout_fastpath.text cimport text_scan
from turnout_fastpath.wordpiece cimport WordPiece

from typing import NamedTuple


class Reading(NamedTuple):
    features: object
    ids: object
    head_words: object
    tail_words: object
    n_unknown: int


cdef class Reader:
    cdef readonly WordPiece wordpiece

    def __cinit__(self, vocabulary):
        self.wordpiece = WordPiece(vocabulary)

    def read(self, Request request not None):
        cdef char[JUDGED_BUFFER] buffer
        cdef judged_t judged
        cdef windows_t windows
        features = numpy.empty(ALL_FEATURES, numpy.float32)
        cdef float[::1] values = features
        with nogil:
            choose_text(&request.c, buffer, &judged)
            text_scan(<const unsigned char*> judged.text.data, judged.text.size, &values[0])
            read_windows(&self.wordpiece.c, self.wordpiece.cache, judged.text, &windows)
            context_features(&request.c, &judged, &windows, &values[TEXT_FEATURES])
        ids = numpy.empty(windows.n_ids, numpy.int32)
        head = numpy.empty(windows.n_head_words, numpy.uint64)
        tail = numpy.empty(windows.n_tail_words, numpy.uint64)
        cdef int32_t[::1] id_view = ids
        cdef uint64_t[::1] head_view = head
        cdef uint64_t[::1] tail_view = tail
        if windows.n_ids:
            memcpy(&id_view[0], windows.ids, windows.n_ids * sizeof(int32_t))
        if windows.n_head_words:
            memcpy(&head_view[0], windows.head_words, windows.n_head_words * sizeof(uint64_t))
        if windows.n_tail_words:
            memcpy(&tail_view[0], windows.tail_words, windows.n_tail_words * sizeof(uint64_t))
        return Reading(features, ids, head, tail, windows.n_unknown)
