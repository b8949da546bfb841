from libc.stdint cimport int32_t, uint8_t, uint64_t

from turnout_fastpath.classifier cimport Classifier, classifier_t
from turnout_fastpath.core cimport ALL_FEATURES, MAX_BUCKETS, MAX_DEPLOYMENTS, MAX_TASKS, MAX_TIERS
from turnout_fastpath.embedding cimport EmbeddingTable, VectorSet, embedding_t, vectors_t
from turnout_fastpath.keywords cimport keywords_t
from turnout_fastpath.ngrams cimport NgramTable, ngrams_t
from turnout_fastpath.policy cimport PolicySet, policy_set_t
from turnout_fastpath.state cimport StateBlock, state_t
from turnout_fastpath.wordpiece cimport WordPiece, wordpiece_t

cdef enum:
    MAX_KNOTS = 32
    MAX_CALIBRATION_KNOTS = 16
    FAMILIARITY_INPUTS = 3
    REVISION_BYTES = 8


cdef enum:
    TRANSFORM_IDENTITY = 0
    TRANSFORM_LOG1P = 1
    TRANSFORM_SQRT = 2


cdef struct feature_input_t:
    int32_t feature
    int32_t transform


# Calibration of a head, by task: p = 1 / (1 + exp(-y)), y = slope * logit + intercept; with knots, y is piecewise linear
# between them and flat beyond.
cdef struct calibration_t:
    double[MAX_TASKS] slope
    double[MAX_TASKS] intercept
    int32_t[MAX_TASKS] n_knots
    double[MAX_TASKS][MAX_CALIBRATION_KNOTS] raw
    double[MAX_TASKS][MAX_CALIBRATION_KNOTS] calibrated


# Piecewise linear map to the calibrated scale, flat beyond its ends.
cdef struct scale_t:
    double[MAX_KNOTS] raw
    double[MAX_KNOTS] calibrated
    int32_t n


# Everything that a decision reads but the request and the live state. Immutable.
cdef struct snapshot_t:
    const wordpiece_t* wordpiece
    const embedding_t* embedding
    const ngrams_t* ngrams
    const vectors_t* clusters
    const vectors_t* exemplars
    const classifier_t* classifier
    const policy_set_t* policies
    const keywords_t* keywords
    state_t* state
    int32_t[MAX_DEPLOYMENTS] slots
    feature_input_t[ALL_FEATURES] inputs
    int32_t n_inputs
    int32_t n_tasks
    int32_t n_heads
    calibration_t[MAX_TIERS] calibrations
    double abstain_unfamiliar    # logit above which the classifier abstains
    double abstain_unknown       # share of unknown pieces above which it abstains
    double abstain_distance      # cosine to the nearest cluster below which it abstains
    const float* match_cosines   # of each exemplar: what its scale has as 0 ...
    const float* match_slopes    # ... and how much it rises a unit of cosine
    const scale_t* scales        # of each bucket
    uint8_t[3 * REVISION_BYTES] revisions   # policy, bundle, features


cdef class Snapshot:
    cdef snapshot_t c
    cdef readonly object bundle
    cdef readonly PolicySet policies
    cdef readonly StateBlock state
    cdef readonly object feature_means
    cdef WordPiece wordpiece
    cdef EmbeddingTable embedding
    cdef NgramTable ngrams
    cdef VectorSet clusters
    cdef VectorSet exemplars
    cdef object match_cosines
    cdef object match_slopes
    cdef scale_t[MAX_BUCKETS] scales
    cdef Classifier classifier
