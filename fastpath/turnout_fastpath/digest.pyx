"""The digest of everything a decision depended on: BLAKE2b-128 over a canonical encoding.

What has its default is left out, so that a bare prompt is most often one block: which fields are there, and how many
messages, is part of the hash's personalisation, behind the revisions in it and in the salt. Then come the messages, and
the fields that are there, in the order of their bits. Numbers are 8 bytes little-endian (floats as IEEE 754 doubles);
strings and lists have their length in front; of a message, one number is its size and, in the top byte, its role. Of a
text of LONG_BYTES and more, all whole groups of four blocks are given by four digests, of every fourth block each.
"""

from libc.math cimport isnan
from libc.stddef cimport size_t
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.string cimport memcpy, memset
from cpython.bytes cimport PyBytes_FromStringAndSize

from turnout_fastpath.core cimport DEPLOYMENT_WORDS, NONE, live_t, request_t, slice_t


cdef inline void add_int(blake2b_t* hash, int64_t value) noexcept nogil:
    blake2b_add(hash, &value, sizeof(value))


cdef inline void add_float(blake2b_t* hash, double value) noexcept nogil:
    blake2b_add(hash, &value, sizeof(value))


cdef inline void add_slice(blake2b_t* hash, slice_t text) noexcept nogil:
    add_int(hash, <int64_t> text.size)
    blake2b_add(hash, text.data, text.size)


cdef void add_text(blake2b_t* hash, slice_t text) noexcept nogil:
    cdef uint8_t[BLAKE2B_STRANDS * BLAKE2B_DIGEST] digests
    cdef size_t groups = text.size // BLAKE2B_GROUP
    if text.size >= LONG_BYTES:
        blake2b_strands(<const uint8_t*> text.data, groups, digests)
        blake2b_add(hash, digests, sizeof(digests))
        text.data += groups * BLAKE2B_GROUP
        text.size -= groups * BLAKE2B_GROUP
    blake2b_add(hash, text.data, text.size)


cdef enum:
    LONG_BYTES = 2 * BLAKE2B_GROUP

# Bits of the fields that are not as they are by default.
cdef enum:
    HAS_TENANT = 1 << 0
    HAS_USER_TIER = 1 << 1
    HAS_FEATURE = 1 << 2
    HAS_SESSION_ID = 1 << 3
    HAS_LABELS = 1 << 4
    HAS_POLICY = 1 << 5
    HAS_MIN_TIER = 1 << 6
    HAS_MAX_TIER = 1 << 7
    HAS_DEPLOYMENTS = 1 << 8
    HAS_REGIONS = 1 << 9
    HAS_MAX_COST = 1 << 10
    HAS_QUALITY_BAR = 1 << 11
    HAS_NEEDS = 1 << 12
    HAS_TOOLS = 1 << 13
    HAS_TOOL_SCHEMA_BYTES = 1 << 14
    HAS_MEDIA_BYTES = 1 << 15
    HAS_OUTPUT_TOKENS = 1 << 16
    HAS_CONTEXT_TOKENS = 1 << 17
    HAS_ANSWER_USE = 1 << 18
    HAS_RULES_ONLY = 1 << 19
    HAS_CLOSED = 1 << 20
    HAS_SESSION_TIER = 1 << 21
    HAS_SESSION_DEPLOYMENT = 1 << 22
    HAS_WARM_TOKENS = 1 << 23
    HAS_BUDGET_SPENT = 1 << 24
    HAS_DECISION_ID = 1 << 25


cdef uint64_t fields_of(const request_t* request, const live_t* live, bint seeded) noexcept nogil:
    cdef uint64_t fields = 0, closed = 0
    cdef int i
    for i in range(DEPLOYMENT_WORDS):
        closed |= live.closed[i]
    fields |= HAS_TENANT if request.tenant.size else 0
    fields |= HAS_USER_TIER if request.user_tier.size else 0
    fields |= HAS_FEATURE if request.feature.size else 0
    fields |= HAS_SESSION_ID if request.session_id.size else 0
    fields |= HAS_LABELS if request.n_labels else 0
    fields |= HAS_POLICY if request.policy.size else 0
    fields |= HAS_MIN_TIER if request.min_tier.size else 0
    fields |= HAS_MAX_TIER if request.max_tier.size else 0
    fields |= HAS_DEPLOYMENTS if request.n_allowed_deployments else 0
    fields |= HAS_REGIONS if request.n_allowed_regions else 0
    fields |= HAS_MAX_COST if not isnan(request.max_cost_usd) else 0
    fields |= HAS_QUALITY_BAR if not isnan(request.quality_bar) else 0
    fields |= HAS_NEEDS if request.needs else 0
    fields |= HAS_TOOLS if request.n_tools else 0
    fields |= HAS_TOOL_SCHEMA_BYTES if request.tool_schema_bytes else 0
    fields |= HAS_MEDIA_BYTES if request.media_bytes else 0
    fields |= HAS_OUTPUT_TOKENS if request.expected_output_tokens else 0
    fields |= HAS_CONTEXT_TOKENS if request.context_tokens else 0
    fields |= HAS_ANSWER_USE if request.answer_use else 0
    fields |= HAS_RULES_ONLY if request.rules_only else 0
    fields |= HAS_CLOSED if closed else 0
    fields |= HAS_SESSION_TIER if live.session_tier != NONE else 0
    fields |= HAS_SESSION_DEPLOYMENT if live.session_deployment != NONE else 0
    fields |= HAS_WARM_TOKENS if live.warm_tokens else 0
    fields |= HAS_BUDGET_SPENT if live.budget_spent else 0
    fields |= HAS_DECISION_ID if seeded else 0
    return fields


cdef void add_fields(blake2b_t* hash, uint64_t fields, const request_t* request, const live_t* live,
                     const uint8_t* decision_id) noexcept nogil:
    cdef const slice_t** callers = [&request.tenant, &request.user_tier, &request.feature, &request.session_id]
    cdef const slice_t** names = [&request.policy, &request.min_tier, &request.max_tier]
    cdef int64_t[8] numbers = [request.needs, request.n_tools, request.tool_schema_bytes, request.media_bytes,
                               request.expected_output_tokens, request.context_tokens, request.answer_use,
                               request.rules_only]
    cdef int64_t[4] states = [live.session_tier, live.session_deployment, live.warm_tokens, live.budget_spent]
    cdef int i
    for i in range(4):
        if fields & HAS_TENANT << i:
            add_slice(hash, callers[i][0])
    if fields & HAS_LABELS:
        add_int(hash, request.n_labels)
        for i in range(request.n_labels):
            add_slice(hash, request.labels[i].key)
            add_slice(hash, request.labels[i].value)
    for i in range(3):
        if fields & HAS_POLICY << i:
            add_slice(hash, names[i][0])
    if fields & HAS_DEPLOYMENTS:
        add_int(hash, request.n_allowed_deployments)
        for i in range(request.n_allowed_deployments):
            add_slice(hash, request.allowed_deployments[i])
    if fields & HAS_REGIONS:
        add_int(hash, request.n_allowed_regions)
        for i in range(request.n_allowed_regions):
            add_slice(hash, request.allowed_regions[i])
    if fields & HAS_MAX_COST:
        add_float(hash, request.max_cost_usd)
    if fields & HAS_QUALITY_BAR:
        add_float(hash, request.quality_bar)
    for i in range(8):
        if fields & HAS_NEEDS << i:
            add_int(hash, numbers[i])
    if fields & HAS_CLOSED:
        blake2b_add(hash, live.closed, sizeof(live.closed))
    for i in range(4):
        if fields & HAS_SESSION_TIER << i:
            add_int(hash, states[i])
    if fields & HAS_DECISION_ID:
        blake2b_add(hash, decision_id, 16)


cdef void digest_decision(const request_t* request, const live_t* live, const uint8_t* revisions, int seeded,
                          const uint8_t* decision_id, uint8_t* digest) noexcept nogil:
    cdef blake2b_t hash
    cdef uint8_t[BLAKE2B_SALT] person
    cdef uint64_t fields = fields_of(request, live, seeded)
    cdef uint64_t head = fields | <uint64_t> request.n_messages << 32
    cdef int i
    memcpy(person, revisions + BLAKE2B_SALT, sizeof(person) - sizeof(head))
    memcpy(person + sizeof(person) - sizeof(head), &head, sizeof(head))
    blake2b_start(&hash, revisions, person)
    for i in range(request.n_messages):
        add_int(&hash, <int64_t> (request.messages[i].text.size | <uint64_t> request.messages[i].role << 56))
        add_text(&hash, request.messages[i].text)
    if fields:
        add_fields(&hash, fields, request, live, decision_id)
    blake2b_finish(&hash, digest)


def strands_128(const uint8_t[::1] data not None, *, bint vectors=True):
    """The four digests of `data`, of whole groups of 512 bytes, end to end; one hash after another without `vectors`."""
    cdef uint8_t[BLAKE2B_STRANDS * BLAKE2B_DIGEST] digests
    cdef Py_ssize_t n = data.shape[0]
    if n == 0 or n % BLAKE2B_GROUP:
        raise ValueError(f"{n} bytes, needed: a multiple of {BLAKE2B_GROUP}")
    if vectors:
        blake2b_strands(&data[0], n // BLAKE2B_GROUP, digests)
    else:
        blake2b_strands_each(&data[0], n // BLAKE2B_GROUP, digests)
    return PyBytes_FromStringAndSize(<const char*> digests, sizeof(digests))


def blake2b_128(const uint8_t[::1] data, Py_ssize_t chunk=0):
    """16-byte BLAKE2b of `data`, added in pieces of `chunk` bytes (0: at once)."""
    cdef blake2b_t hash
    cdef uint8_t[16] digest
    cdef uint8_t[BLAKE2B_SALT] nothing
    cdef Py_ssize_t at = 0
    cdef Py_ssize_t n = data.shape[0]
    cdef Py_ssize_t step = chunk if chunk > 0 else n
    memset(nothing, 0, sizeof(nothing))
    blake2b_start(&hash, nothing, nothing)
    while at < n:
        blake2b_add(&hash, &data[at], min(step, n - at))
        at += step
    blake2b_finish(&hash, digest)
    return PyBytes_FromStringAndSize(<const char*> digest, 16)
