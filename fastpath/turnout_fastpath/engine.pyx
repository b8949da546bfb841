"""The pipeline of a decision: read, judge, decide, digest."""

import os

import numpy

from libc.math cimport NAN, exp, log1p, sqrt
from libc.stddef cimport size_t
from libc.stdint cimport int8_t, int16_t, int32_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from turnout_fastpath.classifier cimport classifier_run
from turnout_fastpath.core cimport *
from turnout_fastpath.digest cimport digest_decision
from turnout_fastpath.embedding cimport EMBEDDING_MAX_DIM, embedding_normalise, embedding_pool, vectors_cosine, vectors_t
from turnout_fastpath.keywords cimport keywords_scan
from turnout_fastpath.ngrams cimport NGRAM_MAX_COLUMNS, ngram_buckets, ngram_values
from turnout_fastpath.policy cimport policy_decide, policy_resolve, resolved_t
from turnout_fastpath.reading cimport HEAD_PIECES, TAIL_PIECES, choose_text, context_features, read_windows, windows_t
from turnout_fastpath.snapshot cimport (
    FAMILIARITY_INPUTS, TRANSFORM_LOG1P, TRANSFORM_SQRT, Snapshot, calibration_t, scale_t, snapshot_t,
)
from turnout_fastpath.state cimport state_read
from turnout_fastpath.text cimport text_scan
from turnout_fastpath.request cimport Request
from turnout_fastpath.decision cimport Decision
from turnout_fastpath.state cimport StateBlock
from turnout_fastpath.wordpiece cimport CACHE_SLOTS, word_cache_free, word_cache_new

from turnout_fastpath.bundle import Bundle, BundleError, load_bundle
from turnout_fastpath.decision import Explanation, FeatureContribution
from turnout_fastpath.errors import Reason, RouteError
from turnout_fastpath.policy_document import load_policy
from turnout_fastpath.snapshot import ALL_FEATURE_NAMES


cdef extern from "atomics.h" nogil:
    uint64_t monotonic_ns()
    uint64_t monotonic_ms()
    uint64_t unix_ms()

cdef extern from "pooling.h" nogil:
    float greatest_of(const float*, int)
    void sum_rows(const int8_t*, int, const uint32_t*, int, int32_t*)

cdef extern from * nogil:
    void __builtin_prefetch(const void*)

cdef enum:
    SMALL_COUNTS = 256
    MAX_NGRAMS = 2 * (HEAD_PIECES + TAIL_PIECES)
    FETCHED_ROWS = 128           # of a table: half of the first-level cache; later rows are fetched by those before them


cdef int engine_decide(const snapshot_t* snapshot, worker_t* worker, const request_t* request, decision_t* decision,
                       fault_t* fault) noexcept nogil:
    cdef uint64_t started = monotonic_ns()
    cdef resolved_t resolved
    cdef judgement_t* judgement = &decision.judgement
    cdef uint32_t[MAX_NGRAMS] buckets
    cdef int code, n_grams
    fault.code = FAULT_NONE
    code = policy_resolve(snapshot.policies, request, &resolved, fault)
    if code:
        return code
    name_decision(worker, request, started, decision)
    state_read(snapshot.state, snapshot.slots, snapshot.policies.n_deployments, request.session_id, request.tenant,
               monotonic_ms(), &decision.live)
    choose_text(request, worker.buffer, &worker.judged)
    read_windows(snapshot.wordpiece, worker.cache, worker.judged.text, &worker.windows)
    n_grams = fetch_rows(snapshot, &worker.windows, buckets)
    text_scan(<const unsigned char*> worker.judged.text.data, worker.judged.text.size, decision.features)
    keywords_scan(snapshot.keywords, <const unsigned char*> worker.judged.text.data, worker.judged.text.size,
                  worker.keywords)
    context_features(request, &worker.judged, &worker.windows, &decision.features[TEXT_FEATURES])
    decision.tokens_read = worker.windows.n_ids
    decision.tokens_total = worker.windows.total
    decision.truncated = worker.windows.truncated
    judge(snapshot, worker, request, snapshot.policies.policies[resolved.policy].buckets, decision.features, buckets,
          n_grams, judgement)
    code = policy_decide(snapshot.policies, request, &resolved, judgement, &decision.live, decision.features,
                         worker.keywords, decision, fault)
    if code:
        return code
    digest_decision(request, &decision.live, snapshot.revisions, decision.propensity != 1, decision.decision_id,
                    decision.digest)
    decision.decision_ns = monotonic_ns() - started
    return 0


cdef void name_decision(worker_t* worker, const request_t* request, uint64_t clock, decision_t* decision) noexcept nogil:
    """48 bits of Unix time in milliseconds, then 80 random bits (xorshift64*): unique, and ordered by time.

    The clock's nanoseconds are stirred in, so that processes that forked with one worker do not share its numbers.
    """
    cdef uint64_t now = unix_ms()
    cdef int i
    if request.has_decision_id:
        memcpy(decision.decision_id, request.decision_id, 16)
        return
    for i in range(6):
        decision.decision_id[i] = <uint8_t> (now >> (40 - 8 * i))
    worker.random ^= clock
    worker.random ^= worker.random >> 12
    worker.random ^= worker.random << 25
    worker.random ^= worker.random >> 27
    now = worker.random * <uint64_t> 0x2545F4914F6CDD1D
    memcpy(&decision.decision_id[8], &now, 8)
    now = (worker.random >> 32) ^ now
    decision.decision_id[6] = <uint8_t> (now >> 8)
    decision.decision_id[7] = <uint8_t> now


# log1p of what most features are, small counts.
cdef float[SMALL_COUNTS] log1p_of_count
for _i in range(SMALL_COUNTS):
    log1p_of_count[_i] = <float> log1p(_i)


cdef int fetch_rows(const snapshot_t* snapshot, const windows_t* windows, uint32_t* buckets) noexcept nogil:
    """Finds the n-grams' rows, and has these and the pieces' rows on their way while the text is scanned."""
    cdef int i, n
    for i in range(min(windows.n_ids, FETCHED_ROWS)):
        __builtin_prefetch(snapshot.embedding.rows + <size_t> windows.ids[i] * snapshot.embedding.dim)
        __builtin_prefetch(snapshot.embedding.weights + windows.ids[i])
    n = ngram_buckets(windows.head_words, windows.n_head_words, snapshot.ngrams.bits, buckets)
    n += ngram_buckets(windows.tail_words, windows.n_tail_words, snapshot.ngrams.bits, buckets + n)
    for i in range(min(n, 2 * FETCHED_ROWS)):
        __builtin_prefetch(snapshot.ngrams.rows + <size_t> buckets[i] * snapshot.ngrams.columns)
    return n


cdef inline float transformed(float value, int transform) noexcept nogil:
    if transform == TRANSFORM_LOG1P:
        if 0 <= value < SMALL_COUNTS and <float> <int> value == value:
            return log1p_of_count[<int> value]
        return <float> log1p(value)
    if transform == TRANSFORM_SQRT:
        return <float> sqrt(value)
    return value


cdef float greatest(int first, int n, const float* cosines) noexcept nogil:
    return greatest_of(cosines + first, n) if n else -1


cdef double calibrated_similarity(const scale_t* scale, double raw) noexcept nogil:
    """Piecewise linear between the knots, flat beyond them."""
    cdef int i = 1
    cdef double share
    if raw <= scale.raw[0]:
        return scale.calibrated[0]
    if raw >= scale.raw[scale.n - 1]:
        return scale.calibrated[scale.n - 1]
    while raw > scale.raw[i]:
        i += 1
    share = (raw - scale.raw[i - 1]) / (scale.raw[i] - scale.raw[i - 1])
    return scale.calibrated[i - 1] + share * (scale.calibrated[i] - scale.calibrated[i - 1])


cdef void fill_inputs(const snapshot_t* snapshot, worker_t* worker, const float* features, const uint32_t* buckets,
                      int n_grams, float* inputs, judgement_t* judgement) noexcept nogil:
    """The classifier's inputs: features, embedding, n-gram sums, familiarity. Similarities fall out on the way."""
    cdef int32_t[EMBEDDING_MAX_DIM] sums
    cdef int32_t[NGRAM_MAX_COLUMNS] columns
    cdef int16_t[EMBEDDING_MAX_DIM] query
    cdef const windows_t* windows = &worker.windows
    cdef int i, dim = snapshot.embedding.dim
    cdef int words = windows.n_head_words + windows.n_tail_words
    cdef float value
    cdef float* at = inputs
    for i in range(snapshot.n_inputs):
        # Each transform leaves 0 as it is, which most features are.
        value = features[snapshot.inputs[i].feature]
        at[i] = transformed(value, snapshot.inputs[i].transform) if value != 0 else value
    at += snapshot.n_inputs

    memset(sums, 0, dim * sizeof(int32_t))
    embedding_pool(snapshot.embedding, windows.ids, windows.n_ids, sums)
    embedding_normalise(sums, dim, at, query)
    at += dim

    memset(columns, 0, snapshot.ngrams.columns * sizeof(int32_t))
    sum_rows(snapshot.ngrams.rows, snapshot.ngrams.columns, buckets, n_grams, columns)
    ngram_values(snapshot.ngrams, columns, n_grams, at)
    at += snapshot.ngrams.columns

    vectors_cosine(snapshot.clusters, query, worker.dots, worker.cosines)
    at[0] = <float> windows.n_unknown / windows.n_ids if windows.n_ids else 0
    at[1] = <float> windows.n_ids / words if words else 0
    at[2] = greatest(0, snapshot.clusters.n, worker.cosines)

    vectors_cosine(snapshot.exemplars, query, worker.dots, worker.cosines)
    for i in range(snapshot.exemplars.n):
        worker.cosines[i] = (worker.cosines[i] - snapshot.match_cosines[i]) * snapshot.match_slopes[i]
    for i in range(snapshot.policies.n_buckets):
        judgement.similarity[i] = <float> calibrated_similarity(&snapshot.scales[i], greatest(
            snapshot.policies.buckets[i].first_vector, snapshot.policies.buckets[i].n_vectors, worker.cosines))


cdef double calibrated_logit(const calibration_t* calibration, int task, double logit) noexcept nogil:
    cdef const double* raw = calibration.raw[task]
    cdef const double* calibrated = calibration.calibrated[task]
    cdef int n = calibration.n_knots[task]
    cdef int i = 1
    if n == 0:
        return calibration.slope[task] * logit + calibration.intercept[task]
    if logit <= raw[0]:
        return calibrated[0]
    if logit >= raw[n - 1]:
        return calibrated[n - 1]
    while logit > raw[i]:
        i += 1
    return calibrated[i - 1] + (logit - raw[i - 1]) / (raw[i] - raw[i - 1]) * (calibrated[i] - calibrated[i - 1])


cdef void read_scores(const snapshot_t* snapshot, const float* scores, judgement_t* judgement) noexcept nogil:
    """Probabilities from the classifier's outputs: task logits, head logits, head gains."""
    cdef int i
    cdef double peak = scores[0], total = 0
    judgement.task = 0
    for i in range(1, snapshot.n_tasks):
        if scores[i] > peak:
            peak = scores[i]
            judgement.task = i
    for i in range(snapshot.n_tasks):
        judgement.tasks[i] = exp(scores[i] - peak)
        total += judgement.tasks[i]
    for i in range(snapshot.n_tasks):
        judgement.tasks[i] /= total
    scores += snapshot.n_tasks
    for i in range(snapshot.n_heads):
        judgement.p_sufficient[i] = 1 / (1 + exp(-calibrated_logit(
            &snapshot.calibrations[i], judgement.task, scores[i])))
        judgement.gain[i] = min(1.0, max(-1.0, <double> scores[snapshot.n_heads + i]))


cdef void judge(const snapshot_t* snapshot, worker_t* worker, const request_t* request, uint64_t buckets,
                const float* features, const uint32_t* ngrams, int n_grams, judgement_t* judgement) noexcept nogil:
    cdef float* inputs = worker.io.inputs
    cdef const float* familiarity
    cdef double unfamiliar
    cdef int b
    memset(judgement, 0, sizeof(judgement_t))
    judgement.task = NONE
    judgement.abstain = NONE
    judgement.default_reason = NONE
    if request.rules_only:
        judgement.default_reason = DEFAULT_RULES_ONLY
        return
    fill_inputs(snapshot, worker, features, ngrams, n_grams, inputs, judgement)
    if classifier_run(snapshot.classifier, &worker.io):
        judgement.default_reason = DEFAULT_CLASSIFIER_FAILED
        return
    judgement.judged = 1
    read_scores(snapshot, worker.io.outputs, judgement)
    # A bucket may name the task; the probability stays the classifier's.
    for b in range(snapshot.policies.n_buckets):
        if ((buckets >> b) & 1 and snapshot.policies.buckets[b].task != NONE
                and judgement.similarity[b] >= snapshot.policies.buckets[b].threshold):
            judgement.task = snapshot.policies.buckets[b].task
            break
    familiarity = inputs + snapshot.n_inputs + snapshot.embedding.dim + snapshot.ngrams.columns
    unfamiliar = worker.io.outputs[snapshot.n_tasks + 2 * snapshot.n_heads]
    if worker.windows.n_ids == 0:
        judgement.abstain = ABSTAIN_EMPTY
    elif unfamiliar > snapshot.abstain_unfamiliar:
        judgement.abstain = ABSTAIN_UNFAMILIAR
        judgement.abstain_score = unfamiliar
    elif familiarity[0] > snapshot.abstain_unknown:
        judgement.abstain = ABSTAIN_UNKNOWN_PIECES
        judgement.abstain_score = familiarity[0]
    elif familiarity[2] < snapshot.abstain_distance:
        judgement.abstain = ABSTAIN_DISTANCE
        judgement.abstain_score = familiarity[2]


cdef class Worker:
    def __cinit__(self, Snapshot snapshot not None):
        cdef int n = max(1, max(snapshot.exemplars.c.n, snapshot.clusters.c.n))
        self.snapshot = snapshot
        self.c.dots = <int32_t*> malloc(n * sizeof(int32_t))
        self.c.cosines = <float*> malloc(n * sizeof(float))
        self.c.cache = word_cache_new(CACHE_SLOTS)
        if self.c.dots == NULL or self.c.cosines == NULL or self.c.cache == NULL:
            raise MemoryError()
        self.c.random = int.from_bytes(os.urandom(8), "little") | 1
        snapshot.classifier.open_io(&self.c.io, 1)

    def __dealloc__(self):
        if self.snapshot is not None and self.snapshot.classifier is not None:
            self.snapshot.classifier.close_io(&self.c.io)
        word_cache_free(self.c.cache)
        free(self.c.dots)
        free(self.c.cosines)


# Where a fault's number points, in the words of the contract.
FIELD_NAMES = {
    FIELD_PROMPT: "prompt",
    FIELD_MESSAGES: "messages",
    FIELD_TEXT_BYTES: "messages",
    FIELD_POLICY: "policy",
    FIELD_MIN_TIER: "constraints.min_tier",
    FIELD_MAX_TIER: "constraints.max_tier",
    FIELD_ALLOWED_DEPLOYMENTS: "constraints.allowed_deployments",
    FIELD_ALLOWED_REGIONS: "constraints.allowed_regions",
}
NO_CANDIDATE_NAMES = ("tier", "tier", "deployment", "region", "context_window", "modality", "tools", "cost")


cdef str slice_text(slice_t text):
    return text.data[:text.size].decode("utf-8", "replace")


cdef object error_of(const fault_t* fault, const request_t* request, Snapshot snapshot):
    reason = Reason(fault.code)
    if fault.code == FAULT_NO_CANDIDATE:
        return RouteError(reason, NO_CANDIDATE_NAMES[fault.field])
    field = FIELD_NAMES[fault.field]
    if fault.index != NONE:
        field = f"{field}[{fault.index}]"
    policies = snapshot.policies
    if fault.code == FAULT_UNKNOWN_POLICY:
        return RouteError(reason, field, value=slice_text(request.policy), known=policies.policy_names)
    if fault.code == FAULT_UNKNOWN_TIER:
        given = request.min_tier if fault.field == FIELD_MIN_TIER else request.max_tier
        return RouteError(reason, field, value=slice_text(given), known=policies.tier_names)
    if fault.code == FAULT_UNKNOWN_DEPLOYMENT:
        return RouteError(reason, field, value=slice_text(request.allowed_deployments[fault.index]))
    if fault.code == FAULT_UNKNOWN_REGION:
        return RouteError(reason, field, value=slice_text(request.allowed_regions[fault.index]),
                          known=policies.region_names)
    if fault.field == FIELD_MIN_TIER:
        return RouteError(reason, field, value=slice_text(request.min_tier),
                          limit=f"at most max_tier {slice_text(request.max_tier)!r}")
    return RouteError(reason, field, value=f"{fault.value:.0f} tokens", limit=f"{fault.limit:.0f} tokens")


cdef double sufficiency_logit(const snapshot_t* snapshot, worker_t* worker) noexcept nogil:
    """Calibrated log-odds that the cheapest head suffices, for the inputs in `worker`."""
    cdef judgement_t judgement
    if classifier_run(snapshot.classifier, &worker.io):
        return NAN
    read_scores(snapshot, worker.io.outputs, &judgement)
    # Not from p_sufficient, which rounds to 0 or 1 far from the bar.
    return calibrated_logit(&snapshot.calibrations[0], judgement.task, worker.io.outputs[snapshot.n_tasks])


cdef explain(Snapshot snapshot, Worker worker, Decision decision):
    """Contributions by occlusion: each input, or learned group of inputs, is set to its mean over the training rows."""
    cdef float* inputs = worker.c.io.inputs
    cdef const float[::1] means = snapshot.feature_means
    cdef int width = snapshot.c.classifier.n_inputs
    cdef int n = snapshot.c.n_inputs
    cdef int start, stop, i, d
    cdef double base, value
    cdef float[::1] kept = numpy.empty(width, numpy.float32)
    contributions = {}
    policies = snapshot.policies
    if decision.c.judgement.judged:
        for i in range(width):
            kept[i] = inputs[i]
        base = sufficiency_logit(&snapshot.c, &worker.c)
        dim = snapshot.c.embedding.dim
        groups = [(ALL_FEATURE_NAMES[snapshot.c.inputs[i].feature], i, i + 1) for i in range(n)]
        groups.append(("embedding", n, n + dim))
        groups.append(("ngrams", n + dim, n + dim + snapshot.c.ngrams.columns))
        groups.append(("familiarity", n + dim + snapshot.c.ngrams.columns, width))
        for name, start, stop in groups:
            for i in range(start, stop):
                inputs[i] = means[i]
            contributions[name] = base - sufficiency_logit(&snapshot.c, &worker.c)
            for i in range(start, stop):
                inputs[i] = kept[i]
    features = [FeatureContribution(name, decision.c.features[i], contributions.get(name, 0.0))
                for i, name in enumerate(ALL_FEATURE_NAMES)]
    features += [FeatureContribution(name, 0.0, contributions.get(name, 0.0))
                 for name in ("embedding", "ngrams", "familiarity")]
    tasks = {task: decision.c.judgement.tasks[i] for i, task in enumerate(snapshot.bundle.manifest["tasks"])}
    buckets = {name: decision.c.judgement.similarity[i] for i, name in enumerate(policies.bucket_names)}
    return Explanation(features, tasks, buckets, decision.live_state)


cdef class Engine:
    cdef readonly Snapshot snapshot
    cdef list workers            # idle workers of `snapshot`; taken and returned under the GIL

    def __cinit__(self, Snapshot snapshot not None):
        self.install(snapshot)

    @staticmethod
    def load(bundle=None, policy=None, *, state=None):
        """Loads and compiles; see engine.pyi."""
        return Engine(compile_snapshot(bundle, policy, StateBlock(state)))

    cpdef install(self, Snapshot snapshot):
        """Swaps the snapshot; decisions under way finish with the one that they began with."""
        first = Worker(snapshot)
        self.snapshot, self.workers = snapshot, [first]

    def reload(self, bundle=None, policy=None):
        """Loads a bundle and a policy and swaps them in; on an error the old ones stay."""
        self.install(compile_snapshot(bundle, policy, self.snapshot.state))

    def route(self, prompt=None, **fields):
        return self.decide(Request(prompt, **fields))

    cpdef decide(self, Request request):
        """Decides one request; raises RouteError."""
        if request is None:
            raise TypeError("request is None, needed: a Request")
        result = self.run(request)
        if isinstance(result, RouteError):
            raise result
        return result

    def route_many(self, requests):
        """Decides requests (Request, or a prompt) in order; a result is a Decision or the RouteError of its request."""
        results = []
        for request in requests:
            try:
                results.append(self.run(request if isinstance(request, Request) else Request(request)))
            except RouteError as error:
                results.append(error)
        return results

    def classifier_inputs(self, Request request not None):
        """What the classifier reads of a request; see engine.pyi."""
        cdef list workers = self.workers
        cdef Worker worker = workers.pop() if workers else Worker(self.snapshot)
        cdef Snapshot snapshot = worker.snapshot
        cdef Decision decision = Decision.__new__(Decision)
        cdef fault_t fault
        cdef int code, i, width = snapshot.c.classifier.n_inputs
        with nogil:
            code = engine_decide(&snapshot.c, &worker.c, &request.c, &decision.c, &fault)
        cdef float[::1] row = numpy.empty(width, numpy.float32)
        for i in range(width):
            row[i] = worker.c.io.inputs[i]
        workers.append(worker)
        # A request that no deployment can serve has been judged all the same.
        if code and code != FAULT_NO_CANDIDATE:
            raise error_of(&fault, &request.c, snapshot)
        if decision.c.judgement.default_reason == DEFAULT_RULES_ONLY:
            raise ValueError("rules_only: true, needed: a request that is classified")
        return numpy.asarray(row)

    cdef object run(self, Request request):
        cdef list workers = self.workers
        cdef Worker worker = workers.pop() if workers else Worker(self.snapshot)
        # The worker's snapshot, not the engine's: a swap may come between.
        cdef Snapshot snapshot = worker.snapshot
        cdef Decision decision = Decision.__new__(Decision)
        cdef fault_t fault
        cdef int code
        decision.snapshot = snapshot
        with nogil:
            code = engine_decide(&snapshot.c, &worker.c, &request.c, &decision.c, &fault)
        if code == 0 and request.explain:
            decision.explanation = explain(snapshot, worker, decision)
        workers.append(worker)
        return error_of(&fault, &request.c, snapshot) if code else decision


def compile_snapshot(bundle, policy, StateBlock state not None):
    """A Snapshot of a bundle and a policy, each given as a path, as a loaded object, or as None for the default."""
    if not isinstance(bundle, Bundle):
        bundle = load_bundle(bundle)
    if policy is None or isinstance(policy, (str, os.PathLike)):
        policy = load_policy(policy)
    try:
        return Snapshot(bundle, policy, state)
    except KeyError as error:
        raise BundleError(f"{bundle.path / 'manifest.json'}: no {error}") from error
