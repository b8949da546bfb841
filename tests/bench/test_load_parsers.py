"""What the load tests read: the generator's report, ghz's, metrics, targets and prompt files."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from turnout.v1.routing_pb2 import RouteRequest

from bench.h2load import LoadError
from bench.load.comparison import check_coverage
from bench.load.deployment import read_prompts, split_target
from bench.load.figures import describe, summarise
from bench.load.generator import read_load, write_requests
from bench.load.metrics import difference, read_coverage
from bench.load.witnesses import read_ghz, write_data
from bench.rpc import WrongAnswerError

EMPTY = {"count": 0, "sum_ns": 0, "max_ns": 0, "buckets": []}


def report(**changes: Any) -> str:
    said = {
        "connections_lost": 0,
        "seconds": 2.0,
        "server_cpu_ns": 600_000,
        "own_cpu_ns": 1_000_000_000,
        "requests": 3,
        "sent": 70,
        "answered": 66,
        "failed": 1,
        "unanswered": 3,
        "unsent": 5,
        "details": 6,
        "request_bytes": 7000,
        "message_bytes": 60 * 105,
        "first_details": "",
        "statuses": {"0": 60, "8": 6},
        "window_statuses": {"0": 55, "8": 5},
        "latency": {"count": 2, "sum_ns": 30, "max_ns": 20, "buckets": [[10, 1], [20, 1]]},
        "refused": EMPTY,
        "late": EMPTY,
    }
    return json.dumps(said | changes)


def test_figures_are_of_the_counted_stretch() -> None:
    load = read_load(report())
    assert (load.good_per_s, load.shed_per_s) == (27.5, 2.5)
    assert load.server_cpu_us == 10.0
    assert load.own_core_share == 0.5
    assert load.message_bytes == 100.0
    assert describe(load)["request_bytes"] == 100.0


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"sent": 71}, "71 calls sent, 70 accounted for"),
        ({"statuses": {"0": 60}}, "by status"),
        ({"connections_lost": 2}, "closed 2 connections"),
    ],
)
def test_counts_that_do_not_add_up_are_no_result(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(LoadError, match=complaint):
        read_load(report(**changes))


def test_rounds_are_summed_and_pooled() -> None:
    summary = summarise([read_load(report()), read_load(report(unsent=7))])
    assert (summary["sent"], summary["unsent"]) == (140, 12)
    assert summary["p50_us"] == 0.01
    assert summary["max_us"] == 0.02
    assert len(summary["rounds"]) == 2


COUNTED = {"decided": 50, "abstained": 8, "defaulted": 2, "shed": 6}


@pytest.mark.parametrize("extra", [0, 4])
def test_coverage_may_hold_calls_without_an_answer(extra: int) -> None:
    check_coverage("port", read_load(report()), COUNTED | {"decided": 50 + extra})


@pytest.mark.parametrize("wrong", [{"decided": 49}, {"decided": 55}, {"shed": 5}, {"shed": 11}])
def test_coverage_must_add_up(wrong: dict[str, int]) -> None:
    with pytest.raises(WrongAnswerError, match="port counted"):
        check_coverage("port", read_load(report()), COUNTED | wrong)


def test_coverage_is_read_from_metrics() -> None:
    text = (
        "# TYPE turnout_coverage counter\n"
        'turnout_coverage_total{outcome="decided"} 12.0\n'
        'turnout_coverage_created{outcome="decided"} 1.7e9\n'
        'turnout_coverage_total{outcome="shed"} 3.0\n'
    )
    counts = read_coverage(text)
    assert counts == {"decided": 12, "abstained": 0, "defaulted": 0, "shed": 3}
    assert difference(counts, counts | {"decided": 10})["decided"] == 2
    with pytest.raises(ValueError, match="no turnout_coverage"):
        read_coverage("up 1\n")


def test_requests_are_framed_one_after_the_other(tmp_path: Path) -> None:
    prompts = ["short", "a longer prompt – ü"]
    path = tmp_path / "requests.bin"
    write_requests(path, prompts)
    data, found = path.read_bytes(), []
    while data:
        (size,) = struct.unpack_from("<I", data)
        flag, length = struct.unpack_from(">BI", data, 4)
        assert (flag, length) == (0, size - 5)
        found.append(RouteRequest.FromString(data[9 : 4 + size]).prompt)
        data = data[4 + size :]
    assert found == prompts


def test_ghz_counts_from_when_calls_were_due() -> None:
    # 1,000 a second are due; the second call is sent 9 ms after the first, 8 ms late.
    details = [
        {"latency": 2_000_000, "timestamp": "2026-01-02T03:04:05.002000000Z"},
        {"latency": 1_000_000, "timestamp": "2026-01-02T03:04:05.010Z"},
    ]
    said = {"rps": 99.0, "statusCodeDistribution": {"OK": 2}, "details": details}
    row = read_ghz(json.dumps(said), 2)
    assert row["p50_us"] == pytest.approx(2000)
    assert row["p99_us"] == pytest.approx(9000)
    assert row["p99_from_sending_us"] == 2000


def test_ghz_calls_must_be_ok() -> None:
    said = {"rps": 1.0, "statusCodeDistribution": {"OK": 9, "Unavailable": 1}, "details": []}
    with pytest.raises(LoadError, match="Unavailable"):
        read_ghz(json.dumps(said), 10)


def test_ghz_takes_prompts_as_text_not_as_templates(tmp_path: Path) -> None:
    write_data(tmp_path / "data.json", ["{{a}}"])
    assert json.loads((tmp_path / "data.json").read_text()) == [{"prompt": "{{`{{`}}a}}"}]


@pytest.mark.parametrize(
    ("target", "expected"), [("localhost:50052", ("localhost", 50052)), ("[::1]:80", ("::1", 80))]
)
def test_target_is_host_and_port(target: str, expected: tuple[str, int]) -> None:
    assert split_target(target) == expected


@pytest.mark.parametrize("target", ["localhost", ":50052", "localhost:", "localhost:0", "localhost:65536"])
def test_other_targets_are_refused(target: str) -> None:
    with pytest.raises(LoadError, match="must be HOST:PORT"):
        split_target(target)


@pytest.mark.parametrize("text", ["", '{"prompt": "a"}\nnot JSON\n', '{"text": "a"}\n', "[1]\n"])
def test_prompt_files_name_the_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text(text)
    with pytest.raises(LoadError, match=r"prompts\.jsonl"):
        read_prompts(path)
