from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint32_t, uint64_t

from turnout_fastpath.core cimport (
    DEPLOYMENT_WORDS, MAX_DEPLOYMENTS, MAX_REGIONS, MAX_TASKS, MAX_TIERS, decision_t, fault_t, judgement_t, live_t,
    request_t, slice_t,
)
from turnout_fastpath.keywords cimport KeywordAutomaton

cdef enum:
    MAX_POLICIES = 256


cdef struct tier_t:
    slice_t name
    int32_t head                 # of the bundle, or NONE for the top tier
    int32_t first_deployment     # a tier's chain is a run of deployments
    int32_t n_deployments


cdef struct deployment_t:
    slice_t name
    int32_t tier
    int32_t region
    uint32_t abilities           # NEED_ bits
    double context_window        # provider tokens
    double max_output_tokens
    double tokens_per_piece      # provider tokens a word piece
    double input_usd             # a token; NaN: no price
    double output_usd
    double cache_read_usd


cdef enum:
    CONDITION_FEATURE = 0        # index: feature; low <= value <= high
    CONDITION_TENANT = 1         # strings: any of
    CONDITION_USER_TIER = 2
    CONDITION_CALLER_FEATURE = 3
    CONDITION_LABEL = 4          # first string: the key; the others: any of
    CONDITION_KEYWORDS = 5       # index: keyword group
    CONDITION_TASK = 6           # mask: any of; low: least probability
    CONDITION_NEEDS = 7          # mask: all of
    CONDITION_ANSWER_USE = 8     # mask: any of


cdef struct condition_t:
    int32_t kind
    int32_t index
    double low
    double high
    uint64_t mask
    int32_t first_string
    int32_t n_strings


cdef struct rule_t:
    slice_t name
    int32_t first_condition
    int32_t n_conditions
    int32_t tier                 # NONE: the rule does not set it; so for the next four
    int32_t floor
    int32_t ceiling
    int32_t strategy
    int32_t deployment
    double bar                   # NaN: not set
    double bar_shift
    uint64_t forbidden_regions
    uint64_t[DEPLOYMENT_WORDS] forbidden


cdef struct bucket_t:
    slice_t name
    int32_t first_vector         # a bucket's exemplars are a run of the snapshot's vectors
    int32_t n_vectors
    double threshold
    int32_t floor
    int32_t tier
    int32_t task


cdef struct tenant_bar_t:
    slice_t tenant
    double bar


# What a conversation does to the tier.
cdef enum:
    SESSION_FORGOTTEN = 0
    SESSION_KEPT = 1             # a session keeps its tier or moves up
    SESSION_KEPT_WARM = 2        # it keeps a dearer tier while the provider's cache makes that no dearer


cdef struct policy_t:
    slice_t name
    int32_t safe_tier
    int32_t strategy
    int32_t min_tier
    int32_t max_tier
    int32_t sessions             # SESSION_*
    int32_t budget_ceiling       # NONE: a spent budget changes nothing
    int32_t first_rule
    int32_t n_rules
    int32_t first_tenant_bar
    int32_t n_tenant_bars
    uint64_t buckets             # bit a bucket
    double explore
    double control_share
    double max_request_tokens    # infinity: no limit
    double[MAX_TIERS] max_gain   # infinity: gain does not decide
    double[MAX_TIERS][MAX_TASKS] bars


# A whole policy file against one bundle, immutable.
cdef struct policy_set_t:
    tier_t[MAX_TIERS] tiers
    int32_t n_tiers
    deployment_t[MAX_DEPLOYMENTS] deployments
    int32_t n_deployments
    slice_t[MAX_REGIONS] regions
    int32_t n_regions
    policy_t* policies
    int32_t n_policies
    int32_t default_policy
    rule_t* rules
    int32_t n_rules
    condition_t* conditions
    slice_t* strings
    tenant_bar_t* tenant_bars
    bucket_t* buckets
    int32_t n_buckets
    int32_t n_tasks
    double[MAX_TASKS] output_tokens   # expected, by task, in provider tokens
    double any_output_tokens          # where the task is not known


# A request's names as numbers.
cdef struct resolved_t:
    int32_t policy
    int32_t min_tier             # NONE: not constrained
    int32_t max_tier
    int32_t any_deployment       # no allow list
    uint64_t[DEPLOYMENT_WORDS] allowed
    uint64_t regions             # all ones: no allow list


# Turns names into numbers; returns 0, or a fault code with `fault` filled.
cdef int policy_resolve(const policy_set_t* policies, const request_t* request, resolved_t* resolved,
                        fault_t* fault) noexcept nogil

# Fills `decision` from what is known; returns 0, or a fault code. `features` has ALL_FEATURES values.
cdef int policy_decide(const policy_set_t* policies, const request_t* request, const resolved_t* resolved,
                       const judgement_t* judgement, const live_t* live, const float* features, const uint64_t* keywords,
                       decision_t* decision, fault_t* fault) noexcept nogil


cdef class PolicySet:
    cdef policy_set_t c
    cdef KeywordAutomaton keywords
    cdef list blocks             # memory that the C structs point into
    cdef readonly dict document
    cdef readonly bytes revision
    cdef readonly list tier_names
    cdef readonly list deployment_names
    cdef readonly list policy_names
    cdef readonly list rule_names
    cdef readonly list bucket_names
    cdef readonly list region_names
    cdef readonly list bucket_exemplars

    cdef void* block(self, size_t size) except NULL
    cdef slice_t text(self, str value)
