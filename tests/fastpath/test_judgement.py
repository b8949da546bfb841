"""Scores, similarities and explanations equal those that NumPy and onnxruntime give on the same bundle."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from turnout_fastpath import Bundle, Decision, Engine, ReasonKind, Request, RouteError, Status
from turnout_fastpath.reader import Reader
from turnout_fastpath.snapshot import ALL_FEATURE_NAMES

from tests.fastpath.conftest import BundleMaker, EngineMaker
from tests.fastpath.documents import bucket, document
from tests.fastpath.generated import TEXTS
from tests.fastpath.reasons import ids_of
from tests.fastpath.synthetic import HEADS, INPUTS, TASKS, scores_of, toy_vocabulary
from tests.fastpath.twins.judgement import Judge

READER = Reader(toy_vocabulary())
BUCKETS = {
    "poems": ["write a poem", "the sum of a poem"],
    "code": ["prove the code", "what is the code of the capital"],
}
POLICY = document(buckets=[bucket(name, texts, floor="mid") for name, texts in BUCKETS.items()])
PROMPTS = st.sampled_from(TEXTS) | st.text("abc hello code.é中", max_size=80) | st.text(max_size=40)


@pytest.fixture(scope="module")
def bundle(make_bundle: BundleMaker) -> Bundle:
    """A bundle with a calibration by task, a bent similarity scale and limits that some texts pass."""
    lines = [{"slope": 0.8, "intercept": 0.3}, {"slope": 1.5, "intercept": -0.4}]
    # Curved for one task, and within the range that logits of the random model have.
    curve = {"raw": [-1.5, -0.2, 0.1, 1.0], "calibrated": [-2.0, -0.1, -0.1, 3.0]}
    tasks = {"code": {"slope": 0.5, "intercept": 0.1}, "math": curve, "chat": curve}
    heads = [
        {"name": name, "calibration": {"default": line, "tasks": tasks}}
        for name, line in zip(HEADS, lines, strict=True)
    ]
    return make_bundle(
        seed=5,
        dim=32,
        columns=32,
        heads=heads,
        abstain={"unfamiliar_logit": 0.5, "unknown_share": 0.4, "cluster_cosine": 0.1},
        similarity={"raw": [-0.2, 0.3, 0.6, 0.95], "calibrated": [0.0, 0.2, 0.88, 1.0]},
    )


@pytest.fixture(scope="module")
def engine(bundle: Bundle) -> Engine:
    return Engine.load(bundle, POLICY)


@pytest.fixture(scope="module")
def judge(bundle: Bundle) -> Judge:
    return Judge(bundle)


@given(prompt=PROMPTS, media_bytes=st.integers(0, 10**9), tool_schema_bytes=st.integers(0, 10**5))
def test_judgement_equals_the_twin(
    engine: Engine, judge: Judge, prompt: str, media_bytes: int, tool_schema_bytes: int
) -> None:
    request = Request(prompt, media_bytes=media_bytes, tool_schema_bytes=tool_schema_bytes, explain=True)
    reading, decision = READER.read(request), engine.decide(request)
    expected = judge.scores(judge.inputs(reading))
    assert decision.explanation is not None
    assert decision.explanation.task_probabilities == pytest.approx(expected.tasks, abs=1e-5)
    found = {candidate.tier: (candidate.p_sufficient, candidate.gain) for candidate in decision.candidates}
    for head in HEADS:
        assert found[head] == pytest.approx((expected.p_sufficient[head], expected.gain[head]), abs=1e-5)
    assert found["frontier"] == (1, 0)
    assert ids_of(decision, ReasonKind.ABSTAIN) == [name for name in [expected.abstain] if name]
    exemplars = {
        name: [READER.read(Request(text)).ids.tolist() for text in texts] for name, texts in BUCKETS.items()
    }
    assert decision.explanation.buckets == pytest.approx(
        judge.similarity(reading.ids.tolist(), exemplars), abs=1e-6
    )
    values = {
        feature.name: feature.value for feature in decision.explanation.features[: len(ALL_FEATURE_NAMES)]
    }
    assert values == dict(zip(ALL_FEATURE_NAMES, reading.features.tolist(), strict=True))


@given(prompt=PROMPTS, media_bytes=st.integers(0, 10**9))
def test_the_classifiers_inputs_are_those_of_the_twin(
    engine: Engine, judge: Judge, prompt: str, media_bytes: int
) -> None:
    request = Request(prompt, media_bytes=media_bytes)
    found = engine.classifier_inputs(request)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, judge.inputs(READER.read(request)), rtol=1e-5, atol=1e-6)


def test_inputs_need_a_classified_request_but_no_deployment(engine: Engine) -> None:
    with pytest.raises(ValueError, match="rules_only"):
        engine.classifier_inputs(Request("write code", rules_only=True))
    with pytest.raises(RouteError):
        engine.classifier_inputs(Request("write code", policy="unknown"))
    nobody = Request("write code", allowed_deployments=["small-us"], min_tier="mid")
    with pytest.raises(RouteError):
        engine.decide(nobody)
    np.testing.assert_array_equal(
        engine.classifier_inputs(nobody), engine.classifier_inputs(Request("write code"))
    )


def test_prompts_reach_every_kind_of_abstaining(engine: Engine) -> None:
    prompts = [
        "",
        "中文 中文 x",
        *TEXTS,
        *(f"{word} {i}" for i in range(50) for word in ("poem", "sum", "capital")),
    ]
    decisions = [engine.route(prompt, media_bytes=media) for prompt in prompts for media in (0, 10**6)]
    seen = {name for decision in decisions for name in ids_of(decision, ReasonKind.ABSTAIN)}
    assert seen == {"empty", "unfamiliar", "unknown_pieces", "distance"}
    assert {decision.status for decision in decisions} == {Status.DECIDED, Status.ABSTAINED}


def contributions(decision: Decision) -> dict[str, float]:
    assert decision.explanation is not None
    return {feature.name: feature.contribution for feature in decision.explanation.features}


@given(prompt=st.sampled_from(TEXTS[:-1]), media_bytes=st.integers(0, 10**6))
def test_contribution_is_what_a_feature_adds_to_its_mean(
    engine: Engine, judge: Judge, prompt: str, media_bytes: int
) -> None:
    request = Request(prompt, media_bytes=media_bytes, explain=True)
    inputs = judge.inputs(READER.read(request))
    n = len(INPUTS)
    groups = {feature: slice(i, i + 1) for i, (feature, _) in enumerate(INPUTS)}
    groups |= {
        "embedding": slice(n, n + 32),
        "ngrams": slice(n + 32, n + 64),
        "familiarity": slice(n + 64, n + 67),
    }
    base, expected = judge.scores(inputs).logit, {}
    for name, group in groups.items():
        without = inputs.copy()
        without[group] = 0  # the bundle's means
        expected[name] = base - judge.scores(without).logit
    found = contributions(engine.decide(request))
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-4)
    assert all(value == 0 for name, value in found.items() if name not in expected)


def test_explanation_has_every_feature_and_learned_group(engine: Engine) -> None:
    decision = engine.route("write code", explain=True, tenant="t")
    assert decision.explanation is not None
    assert [feature.name for feature in decision.explanation.features] == [
        *ALL_FEATURE_NAMES,
        "embedding",
        "ngrams",
        "familiarity",
    ]
    assert list(decision.explanation.task_probabilities) == list(TASKS)
    assert sum(decision.explanation.task_probabilities.values()) == pytest.approx(1)
    assert decision.explanation.state == decision.live_state


def test_explanation_costs_nothing_unless_asked_for(engine: Engine) -> None:
    assert engine.route("write code").explanation is None
    assert engine.route("write code", explain=False).explanation is None


def test_explaining_changes_no_decision(engine: Engine) -> None:
    plain, explained = engine.route("write code"), engine.route("write code", explain=True)
    assert (plain.digest, plain.candidates) == (explained.digest, explained.candidates)
    assert engine.route("write code").candidates == plain.candidates


def test_nothing_contributes_where_the_classifier_did_not_run(engine: Engine) -> None:
    decision = engine.route("write code", explain=True, rules_only=True)
    assert set(contributions(decision).values()) == {0.0}
    assert decision.explanation is not None
    assert set(decision.explanation.task_probabilities.values()) == {0.0}


def test_contributions_are_finite_where_the_probability_is_one(make_bundle: BundleMaker) -> None:
    steep = {"default": {"slope": 1000.0, "intercept": 500.0}, "tasks": {}}
    heads = [{"name": name, "calibration": steep} for name in HEADS]
    engine = Engine.load(make_bundle(seed=5, heads=heads), document())
    decisions = [
        engine.route(text, explain=True, media_bytes=media) for text in TEXTS for media in (0, 10**6)
    ]
    assert {0.0, 1.0} <= {decision.candidates[0].p_sufficient for decision in decisions}
    for decision in decisions:
        assert all(abs(value) < 1e6 for value in contributions(decision).values())


def test_similarity_is_flat_beyond_the_knots(make_bundle: BundleMaker) -> None:
    scale = {"raw": [0.2, 0.21], "calibrated": [0.1, 0.9]}
    engine = Engine.load(
        make_bundle(similarity=scale), document(buckets=[bucket("b", ["poem"], floor="mid")])
    )

    def similarity(prompt: str) -> float:
        explanation = engine.route(prompt, explain=True).explanation
        assert explanation is not None
        return explanation.buckets["b"]

    assert similarity("poem") == pytest.approx(0.9)
    assert similarity("") == pytest.approx(0.1)


def test_scores_that_are_no_numbers_serve_the_dearest_tier(engine_of: EngineMaker) -> None:
    engine = engine_of(scores=[*scores_of()[: len(TASKS)], *[float("nan")] * 5])
    decision = engine.route("hello", explain=True)
    assert (decision.tier, decision.candidates[0].p_sufficient) == ("frontier", None)
