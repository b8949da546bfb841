"""A policy and a bundle compiled together: what one decision reads, immutable."""

import hashlib

import numpy

from libc.stdint cimport int32_t, uint8_t
from libc.string cimport memcpy

from turnout_fastpath.classifier cimport Classifier
from turnout_fastpath.core cimport *
from turnout_fastpath.embedding cimport EmbeddingTable, VectorSet
from turnout_fastpath.ngrams cimport NgramTable
from turnout_fastpath.policy cimport PolicySet
from turnout_fastpath.state cimport StateBlock, state_key, state_slot
from turnout_fastpath.text cimport TEXT_REVISION
from turnout_fastpath.wordpiece cimport WordPiece

from turnout_fastpath.bundle import BundleError
from turnout_fastpath.exemplar_scale import MATCH, MEDIAN, fit_bucket
from turnout_fastpath.policy_compiler import compile_policy
from turnout_fastpath.text_features import FEATURE_NAMES

# In the order of CONTEXT_... Sizes are of what the request carries besides the judged text.
CONTEXT_NAMES = (
    "tokens",
    "request_tokens",
    "messages",
    "user_turns",
    "system_bytes",
    "history_bytes",
    "tool_results",
    "tool_result_bytes",
    "tools",
    "tool_schema_bytes",
    "borrowed_bytes",
    "media_bytes",
)
ALL_FEATURE_NAMES = FEATURE_NAMES + CONTEXT_NAMES
TRANSFORMS = {"identity": TRANSFORM_IDENTITY, "log1p": TRANSFORM_LOG1P, "sqrt": TRANSFORM_SQRT}
FAMILIARITY_NAMES = ("unknown_share", "pieces_per_word", "cluster_cosine")
FEATURES_REVISION = hashlib.blake2b(
    ("\n".join((str(TEXT_REVISION),) + ALL_FEATURE_NAMES + FAMILIARITY_NAMES)).encode(), digest_size=REVISION_BYTES
).digest()


def part_of(bundle, str file, kind, *arguments):
    """A kernel's table made from a file of the bundle; an error that names the file."""
    try:
        return kind(*arguments)
    except ValueError as error:
        raise BundleError(f"{bundle.path / file}: {error}") from error


def unit_rows(levels):
    """(n, dim) float32 unit vectors of int8 rows."""
    vectors = numpy.asarray(levels, dtype=numpy.float32)
    return vectors / numpy.maximum(numpy.linalg.norm(vectors, axis=1, keepdims=True), numpy.float32(1e-9))


cdef class Snapshot:
    """Policy and bundle, compiled together.

    `wordpiece` and the other parts keep alive what `c` points into.
    """

    def __cinit__(self, bundle not None, policy not None, StateBlock state not None):
        manifest = bundle.manifest
        self.bundle = bundle
        self.state = state
        if len(ALL_FEATURE_NAMES) != ALL_FEATURES:
            raise AssertionError(f"{len(ALL_FEATURE_NAMES)} feature names for {ALL_FEATURES} features")
        if manifest["features_revision"] != FEATURES_REVISION.hex():
            raise BundleError(f"{bundle.path}: features revision {manifest['features_revision']}, these kernels have "
                              f"{FEATURES_REVISION.hex()}; train the bundle anew")
        self.wordpiece = part_of(bundle, "vocab.txt", WordPiece, bundle.vocabulary)
        self.embedding = part_of(bundle, "embedding.npy", EmbeddingTable, bundle.arrays["embedding"],
                                 bundle.arrays["embedding_weights"])
        if self.embedding.c.vocab_size != len(bundle.vocabulary):
            raise BundleError(f"{bundle.path}: embedding.npy has {self.embedding.c.vocab_size} rows for "
                              f"{len(bundle.vocabulary)} pieces of vocab.txt")
        self.ngrams = part_of(bundle, "ngrams.npy", NgramTable, bundle.arrays["ngrams"], bundle.arrays["ngram_scales"])
        self.clusters = part_of(bundle, "clusters.npy", VectorSet, bundle.arrays["clusters"])
        if self.clusters.c.dim != self.embedding.c.dim:
            raise BundleError(f"{bundle.path}: clusters.npy is {self.clusters.c.dim} wide, embedding.npy "
                              f"{self.embedding.c.dim}")
        self.policies = compile_policy(
            policy,
            heads=bundle.heads,
            tasks=bundle.tasks,
            features=ALL_FEATURE_NAMES,
            output_tokens=manifest["output_tokens"],
            exemplar_sets=bundle.exemplars,
        )
        self.c.n_tasks = len(bundle.tasks)
        self.c.n_heads = len(bundle.heads)
        self.compile_inputs(manifest)
        self.compile_calibration(manifest)
        width = self.c.n_inputs + self.embedding.c.dim + self.ngrams.c.columns + FAMILIARITY_INPUTS
        self.classifier = Classifier(bundle.classifier, width, self.c.n_tasks + 2 * self.c.n_heads + 1)
        self.feature_means = numpy.ascontiguousarray(manifest["feature_means"], dtype=numpy.float32)
        if self.feature_means.shape != (width,):
            raise BundleError(f"{bundle.path}: feature_means has shape {self.feature_means.shape}, needed: ({width},)")
        self.embed_exemplars()
        self.compile_similarity(bundle)
        for i, name in enumerate(self.policies.deployment_names):
            encoded = name.encode()
            self.c.slots[i] = state_slot(state.c, state_key(encoded, len(encoded)))
        revisions = self.policies.revision + bundle.revision + FEATURES_REVISION
        memcpy(self.c.revisions, <const uint8_t*> <bytes> revisions, sizeof(self.c.revisions))
        self.c.wordpiece = &self.wordpiece.c
        self.c.embedding = &self.embedding.c
        self.c.ngrams = &self.ngrams.c
        self.c.clusters = &self.clusters.c
        self.c.exemplars = &self.exemplars.c
        self.c.classifier = &self.classifier.c
        self.c.policies = &self.policies.c
        self.c.keywords = &self.policies.keywords.c
        self.c.state = state.c

    def compile_inputs(self, manifest):
        inputs = manifest["inputs"]
        self.c.n_inputs = len(inputs)
        if len(inputs) > ALL_FEATURES:
            raise BundleError(f"manifest.json: inputs has {len(inputs)} entries, limit: {ALL_FEATURES}")
        for i, entry in enumerate(inputs):
            if entry["feature"] not in ALL_FEATURE_NAMES:
                raise BundleError(f"manifest.json: inputs[{i}]: no feature {entry['feature']!r}")
            self.c.inputs[i].feature = ALL_FEATURE_NAMES.index(entry["feature"])
            if entry["transform"] not in TRANSFORMS:
                raise BundleError(f"manifest.json: inputs[{i}]: no transform {entry['transform']!r}; known: "
                                  f"{', '.join(TRANSFORMS)}")
            self.c.inputs[i].transform = TRANSFORMS[entry["transform"]]

    def compile_calibration(self, manifest):
        cdef int h, t, i
        for h, head in enumerate(manifest["heads"]):
            for t, task in enumerate(manifest["tasks"]):
                entry = head["calibration"]["tasks"].get(task, head["calibration"]["default"])
                if "raw" not in entry:
                    self.c.calibrations[h].slope[t] = entry["slope"]
                    self.c.calibrations[h].intercept[t] = entry["intercept"]
                    continue
                raw, calibrated = entry["raw"], entry["calibrated"]
                where = f"manifest.json: heads[{h}].calibration of {task}"
                if not 2 <= len(raw) == len(calibrated) <= MAX_CALIBRATION_KNOTS:
                    raise BundleError(f"{where} has {len(raw)} and {len(calibrated)} knots, needed: 2 to "
                                      f"{MAX_CALIBRATION_KNOTS} pairs")
                if any(raw[i] >= raw[i + 1] or calibrated[i] > calibrated[i + 1] for i in range(len(raw) - 1)):
                    raise BundleError(f"{where}: knots {raw} to {calibrated} do not rise")
                self.c.calibrations[h].n_knots[t] = len(raw)
                for i in range(len(raw)):
                    self.c.calibrations[h].raw[t][i] = raw[i]
                    self.c.calibrations[h].calibrated[t][i] = calibrated[i]
        self.c.abstain_unfamiliar = manifest["abstain"]["unfamiliar_logit"]
        self.c.abstain_unknown = manifest["abstain"]["unknown_share"]
        self.c.abstain_distance = manifest["abstain"]["cluster_cosine"]

    def embed(self, text):
        """Unit vector of a text (str), by the bundle's table; zero if no piece of it is known."""
        ids = self.wordpiece.encode(text, 384)
        return self.embedding.pool(ids)

    def embed_exemplars(self):
        vectors = []
        for name, texts in zip(self.policies.bucket_names, self.policies.bucket_exemplars):
            for text in texts:
                vector = self.embed(text)
                if not vector.any():
                    raise BundleError(f"bucket {name!r}: the exemplar {text!r} has no known word piece")
                vectors.append(vector)
        if vectors:
            self.exemplars = VectorSet.quantise(numpy.stack(vectors))
        else:
            self.exemplars = VectorSet(numpy.zeros((0, self.embedding.c.dim), numpy.int8))

    def compile_similarity(self, bundle):
        """The buckets' scales: by exemplar if the bundle has a sample of unrelated prompts, else one for all."""
        cdef int b
        n = len(self.exemplars)
        self.match_cosines, self.match_slopes = numpy.zeros(n, numpy.float32), numpy.ones(n, numpy.float32)
        cdef const float[::1] cosines = self.match_cosines
        cdef const float[::1] slopes = self.match_slopes
        background = bundle.arrays.get("background")
        raw, calibrated = bundle.manifest["similarity"]["raw"], bundle.manifest["similarity"]["calibrated"]
        if not 2 <= len(raw) == len(calibrated) <= MAX_KNOTS:
            raise BundleError(f"manifest.json: similarity has {len(raw)} and {len(calibrated)} knots, "
                              f"needed: 2 to {MAX_KNOTS} pairs")
        if background is None:
            for b in range(self.policies.c.n_buckets):
                self.fill_scale(b, raw, calibrated)
        else:
            if background.shape[1] != self.embedding.c.dim:
                raise BundleError(f"{bundle.path}: background.npy is {background.shape[1]} wide, embedding.npy "
                                  f"{self.embedding.c.dim}")
            unrelated = unit_rows(background)
            own = unit_rows(self.exemplars.levels)
            at = 0
            for b, texts in enumerate(self.policies.bucket_exemplars):
                rows = slice(at, at + len(texts))
                scale = fit_bucket(own[rows], unrelated)
                self.match_cosines[rows], self.match_slopes[rows] = scale.match, 1 / (1 - scale.match)
                least = min(2 * scale.median, -2.0)
                self.fill_scale(b, [least, scale.median, 0.0, 1.0], [-1.0, MEDIAN, MATCH, 1.0])
                at += len(texts)
        if n:
            self.c.match_cosines = &cosines[0]
            self.c.match_slopes = &slopes[0]
        self.c.scales = self.scales

    def fill_scale(self, int bucket, raw, calibrated):
        cdef scale_t* scale = &self.scales[bucket]
        scale.n = <int32_t> len(raw)
        for i in range(len(raw)):
            scale.raw[i] = raw[i]
            scale.calibrated[i] = calibrated[i]
