"""The digest of everything a decision depended on: BLAKE2b-128 over a canonical encoding.

Every field is written, in the order of `request_t`; numbers as 8 bytes little-endian (floats as IEEE 754 doubles),
strings and lists with their length in front, so that no two requests share an encoding.
"""

from libc.stddef cimport size_t
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from cpython.bytes cimport PyBytes_FromStringAndSize

from turnout_fastpath.core cimport live_t, request_t, slice_t


cdef inline void add_int(blake2b_t* hash, int64_t value) noexcept nogil:
    blake2b_add(hash, &value, sizeof(value))


cdef inline void add_float(blake2b_t* hash, double value) noexcept nogil:
    blake2b_add(hash, &value, sizeof(value))


cdef inline void add_slice(blake2b_t* hash, slice_t text) noexcept nogil:
    add_int(hash, <int64_t> text.size)
    blake2b_add(hash, text.data, text.size)


cdef void digest_decision(const request_t* request, const live_t* live, const uint8_t* revisions, size_t revisions_size,
                          int seeded, const uint8_t* decision_id, uint8_t* digest) noexcept nogil:
    cdef blake2b_t hash
    cdef int i
    blake2b_start(&hash)
    blake2b_add(&hash, revisions, revisions_size)
    add_int(&hash, request.n_messages)
    for i in range(request.n_messages):
        add_int(&hash, request.messages[i].role)
        add_slice(&hash, request.messages[i].text)
    add_slice(&hash, request.tenant)
    add_slice(&hash, request.user_tier)
    add_slice(&hash, request.feature)
    add_slice(&hash, request.session_id)
    add_int(&hash, request.n_labels)
    for i in range(request.n_labels):
        add_slice(&hash, request.labels[i].key)
        add_slice(&hash, request.labels[i].value)
    add_slice(&hash, request.policy)
    add_slice(&hash, request.min_tier)
    add_slice(&hash, request.max_tier)
    add_int(&hash, request.n_allowed_deployments)
    for i in range(request.n_allowed_deployments):
        add_slice(&hash, request.allowed_deployments[i])
    add_int(&hash, request.n_allowed_regions)
    for i in range(request.n_allowed_regions):
        add_slice(&hash, request.allowed_regions[i])
    add_float(&hash, request.max_cost_usd)
    add_float(&hash, request.quality_bar)
    add_int(&hash, request.needs)
    add_int(&hash, request.n_tools)
    add_int(&hash, request.tool_schema_bytes)
    add_int(&hash, request.media_bytes)
    add_int(&hash, request.expected_output_tokens)
    add_int(&hash, request.context_tokens)
    add_int(&hash, request.answer_use)
    add_int(&hash, request.rules_only)
    blake2b_add(&hash, live.closed, sizeof(live.closed))
    add_int(&hash, live.session_tier)
    add_int(&hash, live.session_deployment)
    add_int(&hash, live.warm_tokens)
    add_int(&hash, live.budget_spent)
    add_int(&hash, seeded)
    if seeded:
        blake2b_add(&hash, decision_id, 16)
    blake2b_finish(&hash, digest)


def blake2b_128(const uint8_t[::1] data, Py_ssize_t chunk=0):
    """16-byte BLAKE2b of `data`, added in pieces of `chunk` bytes (0: at once)."""
    cdef blake2b_t hash
    cdef uint8_t[16] digest
    cdef Py_ssize_t at = 0
    cdef Py_ssize_t n = data.shape[0]
    cdef Py_ssize_t step = chunk if chunk > 0 else n
    blake2b_start(&hash)
    while at < n:
        blake2b_add(&hash, &data[at], min(step, n - at))
        at += step
    blake2b_finish(&hash, digest)
    return PyBytes_FromStringAndSize(<const char*> digest, 16)
