# The structs that pass between the kernels and the doors. A slice never owns its bytes.
from libc.stddef cimport size_t
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from turnout_fastpath.text cimport TEXT_FEATURES

cdef enum:
    MAX_TIERS = 8
    MAX_DEPLOYMENTS = 256
    MAX_REGIONS = 64
    MAX_TASKS = 16
    MAX_BUCKETS = 64
    MAX_REASONS = 48
    MAX_CHAIN = 16
    MAX_LABELS = 32
    MAX_MESSAGES = 16384
    MAX_TEXT_BYTES = 4 << 20
    MAX_NAME_BYTES = 256
    CONTEXT_FEATURES = 12
    ALL_FEATURES = TEXT_FEATURES + CONTEXT_FEATURES
    DEPLOYMENT_WORDS = MAX_DEPLOYMENTS >> 6
    NONE = -1


# Wire numbers of turnout.v1.Role.
cdef enum:
    ROLE_UNSPECIFIED = 0
    ROLE_USER = 1
    ROLE_ASSISTANT = 2
    ROLE_SYSTEM = 3
    ROLE_DEVELOPER = 4
    ROLE_TOOL = 5


# What a deployment must be able to do.
cdef enum:
    NEED_JSON = 1
    NEED_JSON_SCHEMA = 2
    NEED_TOOLS = 4
    NEED_IMAGE = 8
    NEED_AUDIO = 16
    NEED_FILE = 32


# Wire numbers of turnout.v1.DecisionStatus.
cdef enum:
    STATUS_DECIDED = 1
    STATUS_ABSTAINED = 2
    STATUS_DEFAULTED = 3


# Wire numbers of turnout.v1.ReasonKind.
cdef enum:
    REASON_RULE = 1
    REASON_BUCKET = 2
    REASON_BAR = 3
    REASON_BELOW_BAR = 4
    REASON_CONSTRAINT = 5
    REASON_SESSION = 6
    REASON_ABSTAIN = 7
    REASON_DEFAULT = 8
    REASON_EXPLORE = 9
    REASON_CONTROL = 10
    REASON_HEALTH = 11
    REASON_FIT = 12
    REASON_BUDGET = 13


# Indices of a constraint's reason, and of the constraint that left no candidate.
cdef enum:
    CONSTRAINT_MIN_TIER = 0
    CONSTRAINT_MAX_TIER = 1
    CONSTRAINT_DEPLOYMENT = 2
    CONSTRAINT_REGION = 3
    CONSTRAINT_CONTEXT_WINDOW = 4
    CONSTRAINT_MODALITY = 5
    CONSTRAINT_TOOLS = 6
    CONSTRAINT_COST = 7
    CONSTRAINT_QUALITY_BAR = 8


cdef enum:
    ABSTAIN_UNFAMILIAR = 0
    ABSTAIN_UNKNOWN_PIECES = 1
    ABSTAIN_DISTANCE = 2
    ABSTAIN_EMPTY = 3


cdef enum:
    DEFAULT_RULES_ONLY = 0
    DEFAULT_NO_CLASSIFIER = 1
    DEFAULT_CLASSIFIER_FAILED = 2


# Offsets after the text features; the names stand in engine.pyx.
cdef enum:
    CONTEXT_TOKENS = 0
    CONTEXT_REQUEST_TOKENS = 1
    CONTEXT_MESSAGES = 2
    CONTEXT_USER_TURNS = 3
    CONTEXT_SYSTEM_BYTES = 4
    CONTEXT_HISTORY_BYTES = 5
    CONTEXT_TOOL_RESULTS = 6
    CONTEXT_TOOL_RESULT_BYTES = 7
    CONTEXT_TOOLS = 8
    CONTEXT_TOOL_SCHEMA_BYTES = 9
    CONTEXT_BORROWED_BYTES = 10
    CONTEXT_MEDIA = 11


# Codes of fault_t; 0 is none. Each but the last two is INVALID_ARGUMENT on the wire.
cdef enum:
    FAULT_NONE = 0
    FAULT_INVALID_FIELD = 1
    FAULT_PROMPT_REQUIRED = 3
    FAULT_UNKNOWN_POLICY = 4
    FAULT_UNKNOWN_TIER = 5
    FAULT_UNKNOWN_DEPLOYMENT = 6
    FAULT_UNKNOWN_REGION = 7
    FAULT_NO_CANDIDATE = 8
    FAULT_INTERNAL = 12


cdef enum:
    FIELD_PROMPT = 0
    FIELD_MESSAGES = 1
    FIELD_MESSAGE_ROLE = 2
    FIELD_TEXT_BYTES = 3
    FIELD_POLICY = 4
    FIELD_MIN_TIER = 5
    FIELD_MAX_TIER = 6
    FIELD_ALLOWED_DEPLOYMENTS = 7
    FIELD_ALLOWED_REGIONS = 8
    FIELD_MAX_COST = 9
    FIELD_QUALITY_BAR = 10
    FIELD_TENANT = 11
    FIELD_USER_TIER = 12
    FIELD_FEATURE = 13
    FIELD_SESSION_ID = 14
    FIELD_LABELS = 15
    FIELD_OUTPUT_TOKENS = 16
    FIELD_CONTEXT_TOKENS = 17
    FIELD_ANSWER_USE = 18
    FIELD_TOOLS = 19


cdef struct slice_t:
    const char* data
    size_t size


cdef struct message_t:
    int32_t role
    slice_t text


cdef struct label_t:
    slice_t key
    slice_t value


cdef struct request_t:
    const message_t* messages
    int32_t n_messages
    int32_t n_labels
    label_t[MAX_LABELS] labels
    slice_t tenant
    slice_t user_tier
    slice_t feature
    slice_t session_id
    slice_t policy
    slice_t min_tier
    slice_t max_tier
    const slice_t* allowed_deployments
    int32_t n_allowed_deployments
    int32_t n_allowed_regions
    const slice_t* allowed_regions
    double max_cost_usd          # NaN: none
    double quality_bar           # NaN: the policy's
    uint32_t needs               # NEED_ bits
    uint32_t n_tools
    uint64_t tool_schema_bytes
    uint64_t media_bytes
    uint32_t expected_output_tokens
    uint32_t context_tokens
    int32_t answer_use           # wire number of turnout.v1.AnswerUse
    int32_t rules_only           # true: do not classify (no time left)
    int32_t has_decision_id
    uint8_t[16] decision_id


cdef struct fault_t:
    int32_t code                 # FAULT_
    int32_t field                # FIELD_, or CONSTRAINT_ for FAULT_NO_CANDIDATE
    int32_t index                # element of a repeated field, or NONE
    double value                 # what was given, where it is a number
    double limit                 # what is allowed, where it is a number


cdef struct reason_t:
    int32_t kind
    int32_t index
    double score


cdef struct candidate_t:
    double p_sufficient          # NaN: not judged
    double gain                  # NaN: not judged
    double estimated_cost_usd    # NaN: no price
    int32_t deployment           # first that could serve, or NONE
    int32_t eligible


# The live state that a decision read.
cdef struct live_t:
    uint64_t[DEPLOYMENT_WORDS] closed
    int32_t session_tier         # NONE: no session
    int32_t session_deployment
    uint32_t warm_tokens
    int32_t budget_spent


# What the classifier and the exemplars say of one request.
cdef struct judgement_t:
    int32_t judged               # the classifier ran
    int32_t abstain              # ABSTAIN_, or NONE
    double abstain_score
    int32_t default_reason       # DEFAULT_, or NONE
    int32_t task                 # 0-based, or NONE
    double[MAX_TASKS] tasks
    double[MAX_TIERS] p_sufficient   # by head
    double[MAX_TIERS] gain           # by head
    float[MAX_BUCKETS] similarity    # by bucket, calibrated


cdef struct decision_t:
    uint8_t[16] decision_id
    uint8_t[16] digest
    int32_t status
    int32_t policy
    int32_t tier
    int32_t deployment
    int32_t[MAX_CHAIN] fallbacks
    int32_t n_fallbacks
    int32_t strategy
    int32_t task
    double task_probability
    candidate_t[MAX_TIERS] candidates
    reason_t[MAX_REASONS] reasons
    int32_t n_reasons
    int32_t truncated
    uint32_t tokens_read
    uint32_t tokens_total
    double propensity
    uint64_t decision_ns
    live_t live
    judgement_t judgement
    float[ALL_FEATURES] features
