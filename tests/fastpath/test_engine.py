"""The engine gives equal answers to equal requests, whoever asks, and keeps its snapshots apart."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from turnout_fastpath import (
    Bundle,
    BundleError,
    Decision,
    Engine,
    PolicyDocumentError,
    PolicyError,
    Reason,
    Request,
    RouteError,
    Status,
    compile_snapshot,
)
from turnout_fastpath.wordpiece import WordPiece

from tests.fastpath.conftest import EngineMaker
from tests.fastpath.documents import deployment, document, tier

PROMPTS = [
    "hello",
    "What is the capital of France?",
    "Write a poem about the sea in the style of Emily Dickinson, then explain each line. " * 12,
    "Beweise, dass die Summe zweier gerader Zahlen gerade ist.",
    "日本の首都はどこですか",
    "def f(x):\n    return x + 1\n" * 200,
    "",
    "\ud800\0",
]
EXPLORING = document(explore=0.3, control_share=0.1)


def fingerprint(decision: Decision) -> tuple[Any, ...]:
    """Everything that equal requests must agree on, scores to the bit."""
    scores = [
        (c.tier, c.eligible, *(None if score is None else score.hex() for score in (c.p_sufficient, c.gain)))
        for c in decision.candidates
    ]
    reasons = [(reason.kind.name, reason.id, reason.score.hex()) for reason in decision.reasons]
    return (
        decision.digest,
        decision.tier,
        decision.deployment,
        decision.task,
        decision.task_probability.hex(),
        decision.tokens_read,
        decision.tokens_total,
        *scores,
        *reasons,
    )


def fingerprints(engine: Engine) -> list[tuple[Any, ...]]:
    return [fingerprint(engine.route(prompt)) for prompt in PROMPTS]


def test_equal_requests_get_equal_decisions(engine: Engine) -> None:
    assert fingerprints(engine) == fingerprints(engine)


def test_route_many_decides_as_route_does(engine: Engine) -> None:
    many = engine.route_many([*PROMPTS, *(Request(prompt) for prompt in PROMPTS)])
    decisions = [result for result in many if isinstance(result, Decision)]
    assert [fingerprint(decision) for decision in decisions] == fingerprints(engine) * 2


def test_one_request_may_be_decided_again(engine: Engine) -> None:
    request = Request(
        messages=[("system", "Be brief."), ("user", "Hi!"), ("user", "Which city is the capital of Peru?")]
    )
    assert len({fingerprint(engine.decide(request)) for _ in range(3)}) == 1


def test_an_engine_of_its_own_decides_equally(engine: Engine, real_bundle: Bundle) -> None:
    assert fingerprints(Engine.load(real_bundle.path, document())) == fingerprints(engine)


def test_other_threads_decide_equally(engine: Engine) -> None:
    expected = fingerprints(engine)
    found: list[bool] = []

    def run() -> None:
        found.extend(fingerprints(engine) == expected for _ in range(20))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 80


def run_script(script: str, *arguments: str) -> str:
    """Standard output of a fresh process."""
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_another_process_decides_equally(engine: Engine) -> None:
    script = """
import json, sys
from tests.fastpath.documents import document
from tests.fastpath.test_engine import fingerprints
from turnout_fastpath import Engine
print(json.dumps(fingerprints(Engine.load(sys.argv[1], document()))))
"""
    found = json.loads(run_script(script, str(engine.snapshot.bundle.path)))
    assert found == json.loads(json.dumps(fingerprints(engine)))


def test_a_process_that_forks_decides_on_both_sides(engine: Engine) -> None:
    script = """
import json, os, sys
from tests.fastpath.documents import document
from turnout_fastpath import Engine
engine = Engine.load(sys.argv[1], document())
engine.route("hello")
reading, writing = os.pipe()
child = os.fork()
decisions = [engine.route(f"hello {i % 5}") for i in range(500)]
said = [[decision.digest for decision in decisions], [decision.decision_id for decision in decisions]]
if not child:
    with os.fdopen(writing, "w") as file:
        json.dump(said, file)
    os._exit(0)
os.close(writing)
with os.fdopen(reading) as file:
    print(json.dumps([said, json.load(file)]))
os.waitpid(child, 0)
"""
    (digests, ids), (child_digests, child_ids) = json.loads(
        run_script(script, str(engine.snapshot.bundle.path))
    )
    assert child_digests == digests == [engine.route(f"hello {i % 5}").digest for i in range(500)]
    # The random parts too: two processes may decide in the same millisecond.
    assert len({decision_id[12:] for decision_id in [*ids, *child_ids]}) == 1000


def test_decision_ids_are_unique_and_ordered_by_time(engine_of: EngineMaker) -> None:
    engines = [engine_of(), engine_of()]
    ids = [engines[i % 2].route("hello").decision_id for i in range(20_000)]
    assert len(set(ids)) == len(ids)
    # The first 48 bits are a time.
    assert [i[:12] for i in ids] == sorted(i[:12] for i in ids)
    assert all(len(i) == 32 and i == i.lower() for i in ids)


def test_decision_ids_of_threads_are_unique(engine_of: EngineMaker) -> None:
    engine = engine_of()
    ids: list[str] = []
    threads = [
        threading.Thread(target=lambda: ids.extend(engine.route("hello").decision_id for _ in range(3000)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(ids)) == 12_000


def test_a_decision_is_replayed_under_its_id(real_bundle: Bundle) -> None:
    engine = Engine.load(real_bundle, EXPLORING)
    for i in range(200):
        first = engine.route(PROMPTS[i % len(PROMPTS)])
        again = engine.route(PROMPTS[i % len(PROMPTS)], decision_id=first.decision_id)
        assert again.decision_id == first.decision_id
        assert (fingerprint(again), again.propensity) == (fingerprint(first), first.propensity)


@pytest.mark.parametrize(
    ("prompt", "fields", "status"),
    [
        ("hello", {}, Status.DECIDED),
        ("hello", {"rules_only": True}, Status.DEFAULTED),
        ("", {}, Status.ABSTAINED),
        (" \n\t", {}, Status.ABSTAINED),
        ("", {"rules_only": True}, Status.DEFAULTED),
    ],
)
def test_status(engine_of: EngineMaker, prompt: str, fields: Any, status: Status) -> None:
    decision = engine_of().route(prompt, **fields)
    assert decision.status is status
    assert decision.tier == ("small" if status is Status.DECIDED else "mid")


def test_messages_without_a_user_turn_are_nothing_to_judge(engine_of: EngineMaker) -> None:
    decision = engine_of().route(messages=[("system", "Be brief."), ("assistant", "Yes.")])
    assert (decision.status, decision.tokens_read) == (Status.ABSTAINED, 0)


@pytest.mark.parametrize(
    "unit",
    [
        "The quick brown fox jumps over the lazy dog. ",
        "def f(x): return x[1]\n",
        "日本語の文章です。",
        "naïve façade, ",
    ],
    ids=["prose", "code", "Japanese", "accents"],
)
def test_a_text_of_a_mebibyte_is_estimated(real_bundle: Bundle, unit: str) -> None:
    roomy = [tier("top", None, deployment("top", context_window=10_000_000))]
    engine = Engine.load(real_bundle, document(tiers=roomy, safe_tier="top"))
    text = unit * ((1 << 20) // len(unit.encode()))
    decision = engine.route(text)
    assert decision.truncated
    assert decision.tokens_read == 384
    assert decision.tokens_total == pytest.approx(
        len(WordPiece(real_bundle.vocabulary).encode(text)), rel=0.02
    )
    short = engine.route(unit)
    assert (short.truncated, short.tokens_total) == (False, short.tokens_read)


@pytest.mark.parametrize(
    "text", ["x" * (1 << 20), " " * (1 << 20), "\n" * (1 << 20) + "hi", "😀" * (1 << 18), "\0" * (1 << 20)]
)
def test_a_text_of_a_mebibyte_without_words_is_decided(engine: Engine, text: str) -> None:
    decision = engine.route(text)
    assert decision.tokens_read <= 384
    assert decision.tier


def test_a_long_system_prompt_changes_nothing_that_is_learned(engine: Engine) -> None:
    question = "What is the boiling point of water at an altitude of 3,000 metres?"
    decisions = [
        engine.route(messages=[("system", system), ("user", question)], explain=True)
        for system in (".", "You are a careful assistant of a bank. Answer with sources. " * 320)
    ]
    brief, long = decisions
    assert brief.explanation is not None
    assert long.explanation is not None
    values = [
        {f.name: f.value for f in explanation.features}
        for explanation in (brief.explanation, long.explanation)
    ]
    assert values[1]["request_tokens"] > 4000
    changed = {name for name in values[0] if values[0][name] != values[1][name]}
    assert changed == {"request_tokens", "system_bytes"}
    for name in (
        "candidates",
        "task",
        "task_probability",
        "tokens_read",
        "tokens_total",
        "truncated",
        "tier",
    ):
        assert getattr(brief, name) == getattr(long, name)


def test_a_batch_holds_errors_in_their_requests_places(engine_of: EngineMaker) -> None:
    engine = engine_of()
    batch: Any = ["hello", Request("hello", min_tier="none"), 5, "x" * (5 << 20), Request("hello")]
    results = engine.route_many(batch)
    first, unknown, no_text, too_long, last = results
    assert isinstance(first, Decision)
    assert isinstance(last, Decision)
    assert first.digest == last.digest
    reasons = [error.reason for error in (unknown, no_text, too_long) if isinstance(error, RouteError)]
    assert reasons == [Reason.UNKNOWN_TIER, Reason.INVALID_FIELD, Reason.INVALID_FIELD]


def test_a_batch_may_be_empty_or_an_iterator(engine_of: EngineMaker) -> None:
    engine = engine_of()
    assert engine.route_many([]) == []
    assert len(engine.route_many(prompt for prompt in ("a", "b"))) == 2


def test_a_decision_says_what_it_was_made_with(engine_of: EngineMaker) -> None:
    engine = engine_of()
    decision = engine.route("hello")
    assert decision.policy_revision == engine.snapshot.policies.revision.hex()
    assert decision.bundle_revision == engine.snapshot.bundle.revision.hex()
    assert len(decision.features_revision) == 16
    assert len(decision.digest) == 32
    assert 0 < decision.decision_ns < 10**9
    assert repr(decision).startswith(
        "Decision(tier='small', deployment='small-us', status=DECIDED, task='chat'"
    )


def test_a_decision_outlives_its_engine(real_bundle: Bundle) -> None:
    engine = Engine.load(real_bundle, document())
    decision = engine.route("hello", explain=True)
    expected = fingerprint(decision), decision.explanation, decision.live_state
    del engine
    gc.collect()
    assert (fingerprint(decision), decision.explanation, decision.live_state) == expected


def test_install_swaps_the_snapshot(engine_of: EngineMaker) -> None:
    engine = engine_of()
    kept = engine.route("hello")
    other = engine_of(document(min_tier="frontier")).snapshot
    engine.install(other)
    assert engine.snapshot is other
    assert (kept.tier, engine.route("hello").tier) == ("small", "frontier")


def test_threads_decide_while_snapshots_are_swapped(engine_of: EngineMaker) -> None:
    snapshots = [engine_of().snapshot, engine_of(document(min_tier="frontier")).snapshot]
    engine = Engine(snapshots[0])
    expected = set()
    for snapshot in snapshots:
        engine.install(snapshot)
        decision = engine.route("hello")
        expected.add((decision.policy_revision, decision.tier, decision.digest))
    assert len(expected) == 2
    seen: set[tuple[str, str, str]] = set()
    failures: list[BaseException] = []
    over = threading.Event()

    def run() -> None:
        try:
            while not over.is_set():
                decision = engine.route("hello")
                seen.add((decision.policy_revision, decision.tier, decision.digest))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for i in range(600):
        engine.install(snapshots[i % 2])
    over.set()
    for thread in threads:
        thread.join()
    assert not failures
    assert seen <= expected


def test_a_reload_keeps_the_live_state(engine_of: EngineMaker) -> None:
    engine = engine_of()
    engine.snapshot.state.close_deployment("small-us", 60)
    engine.reload(engine.snapshot.bundle, document(strategy="cascade"))
    decision = engine.route("hello")
    assert (decision.deployment, decision.strategy.name) == ("small-eu", "CASCADE")


@pytest.mark.parametrize(
    ("bundle", "policy", "error"),
    [
        ("nowhere", None, BundleError),
        (None, document(safe_tier="none"), PolicyError),
        (None, "nowhere.json", PolicyDocumentError),
        (None, "policy.yaml", PolicyDocumentError),
        (None, {"version": 1}, PolicyError),
    ],
)
def test_a_broken_reload_keeps_the_old_snapshot(
    engine_of: EngineMaker, bundle: str | None, policy: Any, error: type[Exception]
) -> None:
    engine = engine_of()
    before, snapshot = engine.route("hello").digest, engine.snapshot
    with pytest.raises(error):
        engine.reload(bundle or snapshot.bundle, policy or document())
    assert engine.snapshot is snapshot
    assert engine.route("hello").digest == before


def test_a_policy_may_be_a_file(engine_of: EngineMaker, tmp_path: Path) -> None:
    file = tmp_path / "policy.json"
    file.write_text(json.dumps(document(min_tier="mid")))
    bundle = engine_of().snapshot.bundle
    assert (
        Engine.load(bundle, file).route("hello").tier
        == Engine.load(bundle, str(file)).route("hello").tier
        == "mid"
    )


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"", "no JSON"), (b"[]", "version 1"), (b'{"version": 2}', "version 1"), (b"\xff", "no JSON")],
)
def test_a_file_that_is_no_policy(engine_of: EngineMaker, tmp_path: Path, data: bytes, message: str) -> None:
    file = tmp_path / "policy.json"
    file.write_bytes(data)
    with pytest.raises(PolicyDocumentError, match=message) as caught:
        Engine.load(engine_of().snapshot.bundle, file)
    assert str(file) in str(caught.value)


def test_one_state_may_serve_several_snapshots(engine_of: EngineMaker) -> None:
    one = engine_of()
    other = Engine(compile_snapshot(one.snapshot.bundle, document(strategy="cascade"), one.snapshot.state))
    one.snapshot.state.close_deployment("small-us", 60)
    assert other.route("hello").deployment == "small-eu"
