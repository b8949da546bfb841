"""The Python clients run the whole table; and the table's judge can say no."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from turnout.v1 import routing_pb2

from tests.conformance.conforming import run_client
from tests.conformance.expectations import differences
from tests.conformance.seen import SeenCase
from tests.conformance.services import Services, running
from tests.conformance.table import Case, Row, load_rows, make_cases


@pytest.fixture(scope="module")
def services() -> Iterator[Services]:
    with running() as started:
        yield started


@pytest.mark.parametrize("client", ["python", "python-asyncio"])
def test_python_passes_every_row(client: str, services: Services, tmp_path: Path) -> None:
    rows = load_rows()
    assert len(rows) > 80
    verdicts = run_client(client, rows, services, tmp_path)
    assert len(verdicts) > len(rows)
    failed = {one.case.id: one.differences for one in verdicts if one.differences}
    assert not failed


def test_every_case_has_a_name_of_its_own() -> None:
    names = [case.id for case in make_cases(load_rows(), "some")]
    assert len(set(names)) == len(names)


def judge(expect: dict[str, Any], outcome: dict[str, Any], seen: SeenCase | None = None) -> list[str]:
    """What differs for a request of one prompt."""
    row = Row("one", "some", ("main",), "route", ({"prompt": "p"},), {}, expect)
    case = Case("one", row, "main", (routing_pb2.RouteRequest(prompt="p"),))
    return list(differences(case, outcome, seen or SeenCase(), []))


ANSWER = {"response": {"json": {"tier": "small", "status": 1, "digest": "ab"}}}


@pytest.mark.parametrize(
    ("expect", "outcome"),
    [
        ({"response": {"tier": "small"}}, ANSWER),
        ({"response": {"status": "DECISION_STATUS_DECIDED"}}, ANSWER),
        ({"response": {"digest": "~[a-f]+"}}, ANSWER),
        ({"error": {"kind": "internal"}}, {"error": {"kind": "internal", "code": "INTERNAL"}}),
        ({"tier": "mid", "fell_back": True}, {"tier": "mid", "fell_back": True, "response": None}),
    ],
)
def test_what_agrees(expect: dict[str, Any], outcome: dict[str, Any]) -> None:
    assert judge(expect, outcome) == []


@pytest.mark.parametrize(
    ("expect", "outcome", "told"),
    [
        ({"response": {"tier": "mid"}}, ANSWER, "response.tier"),
        ({"response": {"digest": "~[a-e]"}}, ANSWER, "response.digest"),
        ({"response": {"candidates": []}}, ANSWER, "response.candidates"),
        ({"response": {"tier": "small"}}, {}, "an object wanted"),
        ({}, {"error": {"kind": "internal"}}, "was not expected"),
        ({"error": {"kind": "internal"}}, ANSWER, "error"),
        ({"error": {"retry_after_s": None}}, {"error": {"retry_after_s": 1.5}}, "retry_after_s"),
        ({"fell_back": True}, {"fell_back": False}, "fell_back"),
        ({}, {"response": {"json": {"tier": 5}}}, "no answer"),
        ({"calls": 2}, ANSWER, "calls"),
        ({"deadline_s": {"min": 1, "max": 2}}, ANSWER, "deadline_s"),
        ({"cancelled": True}, ANSWER, "cancelled"),
    ],
)
def test_what_differs(expect: dict[str, Any], outcome: dict[str, Any], told: str) -> None:
    (difference,) = judge(expect, outcome)
    assert told in difference


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"services": ["moon"]}, "moon"),
        ({"operation": "guess"}, "guess"),
        ({"expect": {"luck": 1}}, "luck"),
        ({"request": None}, "request"),
        ({"retries": 3}, "retries"),
    ],
)
def test_a_wrong_row_is_named(change: dict[str, Any], told: str, tmp_path: Path) -> None:
    row = {"id": "a", "services": ["main"], "operation": "route", "request": {"prompt": "p"}, "expect": {}}
    (tmp_path / "topic.yaml").write_text(str([row | change]).replace("None", "null"), encoding="utf-8")
    with pytest.raises(ValueError, match=told):
        load_rows(tmp_path)
