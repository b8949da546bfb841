"""A policy's own gates: thresholds by task, required words, gates that do not look; and what a caller sees of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from turnout.v1 import completion_pb2 as contract
from turnout.v1.completion_pb2 import CompleteRequest

from tests.faults import Fault
from tests.faults.openai_wire import LOGPROB
from tests.server.completion.graded import CHEAP, DEAR
from tests.server.completion.wall import walled
from tests.server.completion.wall_scenarios import is_whole


def gates(**section: Any) -> dict[str, Any]:
    return {"gates": section}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("default", "served"), [(1.0, DEAR), (0.01, CHEAP)])
async def test_a_threshold_asks_for_logprobs_and_shows_none(
    default: float, served: str, stream: bool, tmp_path: Path, bundle: Path, log: object
) -> None:
    assert LOGPROB < 0
    sections = gates(confidence={"default": default})
    async with walled(tmp_path, bundle, [CHEAP], strategy="cascade", policy=sections) as wall:
        outcome = await wall.ask(stream=stream)
        is_whole(outcome, served)
        assert wall.upstream.ledger.of(CHEAP)[0].body["logprobs"] is True
        assert not outcome.response.logprobs
        said = next(one for one in outcome.response.gates if one.gate == contract.GATE_CONFIDENCE)
        assert 0 < said.score < 1
        # Who asks for them, gets them.
        request = CompleteRequest(prompt="Where?", top_logprobs=0)
        assert (await wall.ask(request)).response.logprobs


async def test_a_task_has_its_own_threshold(tmp_path: Path, bundle: Path, log: object) -> None:
    from turnout_fastpath import Engine

    task = Engine.load(bundle).route("Where?").task
    assert task
    for named, served in (({task: 2.0}, DEAR), ({}, CHEAP)):
        sections = gates(confidence={"default": 0.001, "tasks": named})
        async with walled(tmp_path, bundle, [CHEAP], strategy="cascade", policy=sections) as wall:
            is_whole(await wall.ask(CompleteRequest(prompt="Where?")), served)


async def test_a_request_has_the_last_word_on_confidence(tmp_path: Path, bundle: Path, log: object) -> None:
    sections = gates(confidence={"default": 2.0})
    async with walled(tmp_path, bundle, [CHEAP], strategy="cascade", policy=sections) as wall:
        request = CompleteRequest(prompt="Where?")
        request.gates.min_confidence = 0.001
        is_whole(await wall.ask(request), CHEAP)
        request = CompleteRequest(prompt="Where?")
        request.gates.skip.append(contract.GATE_CONFIDENCE)
        is_whole(await wall.ask(request), CHEAP)
        assert "logprobs" not in wall.upstream.ledger.of(CHEAP)[-1].body


@pytest.mark.parametrize(
    ("required", "own", "reason"),
    [
        ({"keywords": ["line"]}, {}, contract.GATE_REASON_KEYWORD_MISSING),
        ({"forbidden": ["T17"]}, {}, contract.GATE_REASON_KEYWORD_FORBIDDEN),
        ({"forms": ["number"]}, {}, contract.GATE_REASON_FORM_MISSED),
        ({"pattern": "^x"}, {}, contract.GATE_REASON_PATTERN_MISSED),
        ({"pattern": "^x"}, {"pattern": "^t01"}, None),
        ({"min_chars": 1000}, {"min_chars": 2}, contract.GATE_REASON_TOO_SHORT),
        ({"keywords": ["t01"]}, {"keywords": ["t60"]}, None),
        ({"keywords": ["t01"]}, {"keywords": ["t61"]}, contract.GATE_REASON_KEYWORD_MISSING),
    ],
)
async def test_what_a_policy_requires(
    required: dict[str, Any],
    own: dict[str, Any],
    reason: int | None,
    tmp_path: Path,
    bundle: Path,
    log: object,
) -> None:
    sections = gates(required=required)
    async with walled(tmp_path, bundle, [CHEAP], strategy="cascade", policy=sections) as wall:
        request = CompleteRequest(prompt="Where?", gates=contract.GateOptions(**own))
        outcome = await wall.ask(request)
        is_whole(outcome, CHEAP if reason is None else DEAR)
        if reason is not None:
            assert reason in [one.reason for one in outcome.response.gates if one.attempt == 0]


async def test_a_gate_that_a_policy_skips_does_not_look(tmp_path: Path, bundle: Path, log: object) -> None:
    async with walled(
        tmp_path, bundle, [Fault.REFUSAL_IN_WORDS], strategy="cascade", policy=gates(skip=["refusal"])
    ) as wall:
        outcome = await wall.ask()
        assert outcome.response.deployment == Fault.REFUSAL_IN_WORDS
        assert contract.GATE_REFUSAL not in [one.gate for one in outcome.response.gates]


async def test_an_unknown_task_is_told_with_its_place(tmp_path: Path, bundle: Path) -> None:
    import json

    from turnout_fastpath import StateBlock
    from turnout_server.reloading import ConfigurationError, Source

    from tests.faults import Wire
    from tests.server.completion.wall import policy_of

    path = tmp_path / "policy.yaml"
    sections = {
        **gates(confidence={"tasks": {"maths": 0.5}}),
        "judge": {"tier": "frontier", "rubrics": {"cod": "Be strict."}},
    }
    document = policy_of(
        "http://127.0.0.1:9", {"small": ["a"], "frontier": ["b"]}, Wire.OPENAI, policy=sections
    )
    path.write_text(json.dumps(document))
    with pytest.raises(ConfigurationError) as caught:
        Source(path, bundle).compile(StateBlock())
    first, second = str(caught.value).splitlines()
    assert first.startswith(f"{path}: policies.default.gates.confidence.tasks: no task 'maths'; ")
    assert second.startswith(f"{path}: policies.default.judge.rubrics: no task 'cod'; ")
