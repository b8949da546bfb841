"""Over generated documents, requests and states, the kernel decides what its plain restatement decides."""

from __future__ import annotations

import copy
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from turnout_fastpath import (
    Bundle,
    Decision,
    Engine,
    Reason,
    ReasonKind,
    RouteError,
    StateBlock,
    Status,
    compile_snapshot,
)

from tests.fastpath import generated
from tests.fastpath.conftest import FULL, BundleMaker
from tests.fastpath.documents import Document, policy
from tests.fastpath.synthetic import OUTPUT_TOKENS
from tests.fastpath.twins import policy as twin
from tests.fastpath.twins.reading import choose_text
from tests.fastpath.twins.state import State

Fields = dict[str, Any]


@pytest.fixture(scope="module")
def bundle(make_bundle: BundleMaker) -> Bundle:
    """Scores that vary, and a classifier that abstains on some of the requests."""
    abstain = {"unfamiliar_logit": 2.5, "unknown_share": 0.6, "cluster_cosine": -0.5}
    return make_bundle(seed=5, abstain=abstain)


def without_limits(document: Document) -> Document:
    """The same tiers and buckets under a policy that refuses nothing, to learn what the classifier says."""
    probe = copy.deepcopy(document)
    for tier in probe["tiers"]:
        for deployment in tier["chain"]:
            deployment |= {"context_window": 10**8, "max_output_tokens": 10**8, "price": None}
            deployment |= {"modalities": ["text", "image", "audio", "file"], "tools": True}
            deployment |= {"json": True, "json_schema": True}
    probe["policies"] = {"probe": policy(safe_tier=probe["tiers"][0]["name"])}
    probe["default_policy"] = "probe"
    return probe


def judgement_of(document: Document, seen: Decision, rules_only: bool) -> twin.Judgement:
    """What the classifier said, from an explained decision without limits."""
    if rules_only:
        return twin.Judgement(default_reason="rules_only")
    assert seen.explanation is not None
    heads = {tier["head"]: seen.candidates[i] for i, tier in enumerate(document["tiers"]) if tier["head"]}
    abstained = [(reason.id, reason.score) for reason in seen.reasons if reason.kind is ReasonKind.ABSTAIN]
    return twin.Judgement(
        abstain=abstained[0] if abstained else None,
        tasks=seen.explanation.task_probabilities,
        p_sufficient={head: float(candidate.p_sufficient or 0) for head, candidate in heads.items()},
        gain={head: float(candidate.gain or 0) for head, candidate in heads.items()},
        similarity=seen.explanation.buckets,
    )


def observed(decision: Decision) -> twin.Outcome:
    """A decision in the twin's form."""
    return twin.Outcome(
        status=decision.status.name,
        policy=decision.policy,
        tier=decision.tier,
        deployment=decision.deployment,
        fallback_deployments=decision.fallback_deployments,
        strategy=decision.strategy.name.lower(),
        task=decision.task,
        task_probability=decision.task_probability,
        candidates=[twin.Candidate(*candidate) for candidate in decision.candidates],
        reasons=[(reason.kind.name, reason.id, reason.score) for reason in decision.reasons],
        propensity=decision.propensity,
    )


def block_of(state: State) -> StateBlock:
    """The same state in a block of its own."""
    block = StateBlock()
    for name, until in state.closed_until.items():
        block.close_deployment(name, until)
    for session, (until, tier, deployment, warm_tokens, _) in state.sessions.items():
        block.set_session(session, tier, until, deployment=deployment, warm_tokens=warm_tokens)
    for tenant, until in state.spent_until.items():
        block.set_budget_spent(tenant, until)
    return block


def compare(
    engines: tuple[Engine, Engine], document: Document, state: State, text: str, fields: Fields
) -> None:
    """Asserts that the first engine's answer is the twin's; the second one refuses nothing."""
    engine, probe = engines
    plain = {key: fields[key] for key in ("n_tools", "tool_schema_bytes", "media_bytes") if key in fields}
    seen = probe.route(text, explain=True, **plain)
    assert seen.explanation is not None
    asked = twin.Asked(
        fields=fields,
        text=choose_text([("user", text.encode())]).text.decode(),
        features={feature.name: feature.value for feature in seen.explanation.features},
        judgement=judgement_of(document, seen, fields.get("rules_only", False)),
        live=state.read(fields.get("session_id", ""), fields.get("tenant", "")),
        decision_id=bytes.fromhex(fields["decision_id"]),
        output_tokens=OUTPUT_TOKENS,
    )
    try:
        expected = twin.decide(document, asked)
    except twin.Refused as refused:
        with pytest.raises(RouteError) as caught:
            engine.route(text, **fields)
        assert (caught.value.reason.name, caught.value.field) == refused.args
    else:
        assert observed(engine.route(text, **fields)) == expected


def outcome_names(engine: Engine, text: str, fields: Fields) -> set[str]:
    """What came of a request, in words: its status and reasons, or its error."""
    try:
        decision = engine.route(text, **fields)
    except RouteError as error:
        return {
            f"{error.reason.name} {error.field}" if error.reason is Reason.NO_CANDIDATE else error.reason.name
        }
    return {decision.status.name, *(reason.kind.name for reason in decision.reasons)}


def test_kernel_decides_what_the_twin_decides(bundle: Bundle) -> None:
    seen: set[str] = set()

    @given(document=generated.documents(), seed=st.integers(0, 2**64))
    @settings(
        max_examples=5000 if FULL else 120,
        derandomize=not FULL,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        deadline=None,
    )
    def check(document: Document, seed: int) -> None:
        # Small seeds come again and again; with the document they are many.
        random = Random(f"{seed} {document}")
        state = generated.live_state(random, document)
        engine = Engine(compile_snapshot(bundle, document, block_of(state)))
        engines = engine, Engine.load(bundle, without_limits(document))
        for _ in range(20):
            text, fields = random.choice(generated.TEXTS), generated.request_fields(random, document)
            compare(engines, document, state, text, fields)
            seen.update(outcome_names(engine, text, fields))

    check()
    # The comparison is only worth as much as the variety of what was compared.
    filters = {f"NO_CANDIDATE {name}" for name in twin.FILTERS[1:]}
    kinds = {kind.name for kind in ReasonKind} | {status.name for status in Status}
    assert seen >= kinds | filters | {"INVALID_FIELD"}
