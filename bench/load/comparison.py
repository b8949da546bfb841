"""All arms under load, the same bytes in the same run: closed loop, open loop past saturation, prompt lengths."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]

from bench.load.arms import ARMS, BARE, CPP, SIZE_TOLERANCE_BYTES, TURNOUT, resident_mb, serving
from bench.load.figures import summarise
from bench.load.generator import OK, RESOURCE_EXHAUSTED, Load, Shape, drive, write_requests
from bench.load.metrics import Coverage, difference, fetch_coverage
from bench.load.witnesses import run_ghz, run_h2load
from bench.machine import describe_machine
from bench.prompts import MIXED, TWENTY_WORDS, data_folder, load_prompts
from bench.rpc import WrongAnswerError
from bench.sampling import spread
from bench.servers import Server

NO_DOCUMENTS = "mixed, documents apart"
LENGTHS = ("32", "128", "512", "2048")
PROMPTS = 256
# Asked through a stock client before and after.
CHECKED_PROMPTS = 32
ONE, MANY = (1, 1), (8, 8)
OTHER_CONCURRENCIES = ((8, 1), (32, 8))
# More calls under way than a server admits, so that it is its limit that is seen, not the generator's.
OPEN_CONNECTIONS, OPEN_STREAMS = 8, 500
HALF, TWICE = 0.5, 2.0
FRACTIONS = (0.25, HALF, 0.75, 0.9, 1.2, TWICE)
OTHER_FRACTIONS = (HALF, 0.9, TWICE)


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Attributes:
        rounds: of what the bars are held against; the rest has one.
        seconds: of a run in closed loop.
        open_seconds: of one in open loop.
    """

    rounds: int
    seconds: float
    open_seconds: float


FULL = Plan(rounds=3, seconds=1.0, open_seconds=1.5)
QUICK = Plan(rounds=1, seconds=0.15, open_seconds=0.15)


class Bench:
    """The arms that are up, and the requests that they are given."""

    def __init__(self, servers: Mapping[str, Server], requests: Mapping[str, Path], plan: Plan) -> None:
        self._servers = servers
        self._requests = requests
        self._plan = plan
        self._runs = 0

    def closed(self, prompt_class: str, concurrency: tuple[int, int], rounds: int) -> dict[str, Any]:
        """Every arm in every round, each call's answer OK.

        Raises:
            WrongAnswerError: one was not.
        """
        connections, streams = concurrency
        shape = Shape(connections, streams, self._plan.seconds)
        loads: dict[str, list[Load]] = {name: [] for name in self._servers}
        coverage: list[Coverage] = []
        order = list(self._servers)
        for _ in range(rounds):
            for name in order:
                load, counted = self._drive(name, prompt_class, shape)
                if load.statuses != {OK: load.sent}:
                    raise WrongAnswerError(
                        f"{name}, {prompt_class!r}: {load.sent} calls, by status {load.statuses}"
                    )
                loads[name].append(load)
                if counted is not None:
                    coverage.append(counted)
            order.append(order.pop(0))
        self._check_sizes(prompt_class, loads)
        others = [name for name in loads if name != TURNOUT]
        return {
            "class": prompt_class,
            "connections": connections,
            "streams": streams,
            "arms": {name: summarise(each) for name, each in loads.items()},
            "coverage": add_coverage(coverage),
            "calls_ratio": _ratios(loads, others, lambda load: load.good_per_s),
            "cpu_ratio": _ratios(loads, others, lambda load: load.server_cpu_us),
            "p50_difference_us": {
                name: spread(
                    [
                        mine.latency.quantile_us(0.5) - other.latency.quantile_us(0.5)
                        for mine, other in zip(loads[TURNOUT], loads[name], strict=True)
                    ]
                )
                for name in others
            },
        }

    def open(
        self, prompt_class: str, name: str, saturation: float, fraction: float, rounds: int
    ) -> dict[str, Any]:
        """One arm at a fraction of what it does in closed loop."""
        rate = max(1.0, round(saturation * fraction))
        shape = Shape(OPEN_CONNECTIONS, OPEN_STREAMS, self._plan.open_seconds, rate)
        runs = [self._drive(name, prompt_class, shape) for _ in range(rounds)]
        loads = [load for load, _ in runs]
        refusals = [load for load in loads if load.statuses.get(RESOURCE_EXHAUSTED)]
        if name == TURNOUT:
            for load in refusals:
                _check_refusal(load)
        return {
            "class": prompt_class,
            "arm": name,
            "fraction": fraction,
            "rate": rate,
            **summarise(loads),
            "coverage": add_coverage([counted for _, counted in runs if counted is not None]),
            "other_statuses": sum(
                count
                for load in loads
                for status, count in load.statuses.items()
                if status not in (OK, RESOURCE_EXHAUSTED)
            ),
        }

    def _drive(self, name: str, prompt_class: str, shape: Shape) -> tuple[Load, Coverage | None]:
        """One run, and what the server counted of it where it counts."""
        server = self._servers[name]
        self._runs += 1
        url = None if server.metrics_port is None else f"http://127.0.0.1:{server.metrics_port}/metrics"
        before = None if url is None else fetch_coverage(url)
        load = drive(
            "127.0.0.1", server.port, self._requests[prompt_class], shape, pid=server.pid, seed=2 * self._runs
        )
        if url is None or before is None:
            return load, None
        counted = difference(fetch_coverage(url), before)
        check_coverage(name, load, counted)
        return load, counted

    def _check_sizes(self, prompt_class: str, loads: Mapping[str, Sequence[Load]]) -> None:
        """Answers of every arm are as large as those of the decision port, or a few bytes off."""
        expected = loads[TURNOUT][0].message_bytes
        for name, each in loads.items():
            for load in each:
                if abs(load.message_bytes - expected) > SIZE_TOLERANCE_BYTES:
                    raise WrongAnswerError(
                        f"{name}, {prompt_class!r}: answers of {load.message_bytes:.1f} bytes, "
                        f"the decision port's have {expected:.1f}"
                    )


def check_coverage(name: str, load: Load, counted: Coverage) -> None:
    """Every answer is in the server's counts, and nothing else is but calls whose answers were not waited for.

    Raises:
        WrongAnswerError: the counts do not add up.
    """
    decided = counted["decided"] + counted["abstained"] + counted["defaulted"]
    good, shed = load.statuses.get(OK, 0), load.statuses.get(RESOURCE_EXHAUSTED, 0)
    spare = load.unanswered + load.failed
    if not (good <= decided <= good + spare and shed <= counted["shed"] <= shed + spare):
        raise WrongAnswerError(
            f"{name} counted {counted}, but answered OK {good} times and RESOURCE_EXHAUSTED {shed} times "
            f"({spare} calls without an answer)"
        )


def add_coverage(counts: Sequence[Coverage]) -> Coverage | None:
    """The sum over runs; None where the server counts nothing."""
    if not counts:
        return None
    return {outcome: sum(each[outcome] for each in counts) for outcome in counts[0]}


def _check_refusal(load: Load) -> None:
    """Each refusal has details, and they say when to try again.

    Raises:
        WrongAnswerError: they do not.
    """
    refused = load.statuses[RESOURCE_EXHAUSTED]
    padded = load.first_details + "=" * (-len(load.first_details) % 4)
    status = Status.FromString(base64.b64decode(padded))
    if load.details < refused or not any(detail.Is(RetryInfo.DESCRIPTOR) for detail in status.details):
        raise WrongAnswerError(f"{refused} refusals, {load.details} with details, the first: {status}")


def _ratios(loads: Mapping[str, Sequence[Load]], others: Sequence[str], value: Any) -> dict[str, Any]:
    """The decision port's figure over each other arm's, round by round."""
    return {
        name: spread(
            [value(mine) / value(other) for mine, other in zip(loads[TURNOUT], loads[name], strict=True)]
        )
        for name in others
    }


def run(*, quick: bool) -> dict[str, Any]:
    """Measures everything; five minutes, about one if `quick`.

    Raises:
        WrongAnswerError: an answer is wrong, or counts do not add up; nothing is reported then.
        LoadError: the generator or an arm is not built, or a run failed.
        ServerError: a server did not start.
    """
    plan = QUICK if quick else FULL
    machine = describe_machine([("h2load", "--version"), ("ghz", "--version"), ("gcc", "--version")])
    prompts = load_prompts(PROMPTS, data_folder())
    classes = {name: prompts.classes[name] for name in (TWENTY_WORDS, MIXED, *LENGTHS)}
    classes[NO_DOCUMENTS] = [text for text in classes[MIXED] if text not in prompts.documents]
    with tempfile.TemporaryDirectory(prefix="turnout-load-") as name:
        folder = Path(name)
        requests = {each: folder / f"requests{number}.bin" for number, each in enumerate(classes)}
        sizes = {each: write_requests(requests[each], texts) for each, texts in classes.items()}
        with serving(folder, classes[MIXED][:CHECKED_PROMPTS]) as servers:
            memory = {each: {"start_mb": resident_mb(server)} for each, server in servers.items()}
            bench = Bench(servers, requests, plan)
            closed = _run_closed(bench, plan)
            witnesses = _run_witnesses(servers, classes, folder, closed, plan)
            opened = _run_open(bench, closed, plan)
            for each, server in servers.items():
                memory[each]["end_mb"] = resident_mb(server)
    return {
        "bench": "load",
        "quick": quick,
        "machine": machine,
        "prompts": prompts.describe(),
        "request_bytes": sizes,
        "plan": asdict(plan),
        "memory": memory,
        "closed": closed,
        "open": opened,
        "witnesses": witnesses,
    }


def _run_closed(bench: Bench, plan: Plan) -> list[dict[str, Any]]:
    cells = []
    for prompt_class in (TWENTY_WORDS, MIXED):
        cells += [bench.closed(prompt_class, each, plan.rounds) for each in (MANY, ONE)]
        cells += [bench.closed(prompt_class, each, 1) for each in OTHER_CONCURRENCIES]
    cells += [bench.closed(prompt_class, MANY, 1) for prompt_class in (NO_DOCUMENTS, *LENGTHS)]
    return cells


def find_closed(cells: Sequence[Mapping[str, Any]], prompt_class: str, concurrency: tuple[int, int]) -> Any:
    """The cell of a class and a concurrency.

    Raises:
        LookupError: there is none.
    """
    for cell in cells:
        if cell["class"] == prompt_class and (cell["connections"], cell["streams"]) == concurrency:
            return cell
    raise LookupError(f"no run of {prompt_class!r} at {concurrency}")


def _run_open(bench: Bench, closed: Sequence[Mapping[str, Any]], plan: Plan) -> list[dict[str, Any]]:
    cells = []
    for prompt_class in (TWENTY_WORDS, NO_DOCUMENTS):
        arms = find_closed(closed, prompt_class, MANY)["arms"]
        for name in ARMS:
            for fraction in FRACTIONS if name == TURNOUT else OTHER_FRACTIONS:
                barred = name == TURNOUT and fraction in (HALF, TWICE)
                rounds = plan.rounds if barred else 1
                cells.append(bench.open(prompt_class, name, arms[name]["good_per_s"], fraction, rounds))
    return cells


def _run_witnesses(
    servers: Mapping[str, Server],
    classes: Mapping[str, Sequence[str]],
    folder: Path,
    closed: Sequence[Mapping[str, Any]],
    plan: Plan,
) -> dict[str, Any]:
    """h2load over all arms with one body, ghz over the decision port and two echoes with all prompts."""
    arms = find_closed(closed, TWENTY_WORDS, MANY)["arms"]
    connections, streams = MANY
    one_body = {
        name: run_h2load(
            server,
            classes[TWENTY_WORDS][0],
            folder,
            clients=connections,
            streams=streams,
            calls=max(64, round(arms[name]["good_per_s"] * plan.seconds)),
        )
        for name, server in servers.items()
    }
    # At half of saturation, where h2load holds its schedule.
    rated = {
        name: run_h2load(
            servers[name],
            classes[TWENTY_WORDS][0],
            folder,
            clients=connections,
            streams=OPEN_STREAMS,
            calls=max(64, round(HALF * arms[name]["good_per_s"] * plan.open_seconds)),
            rate=max(64.0, round(HALF * arms[name]["good_per_s"])),
        )
        for name in (TURNOUT, BARE, CPP)
    }
    ghz = {
        name: run_ghz(servers[name], classes[MIXED], folder, seconds=plan.open_seconds)
        for name in (TURNOUT, BARE, CPP)
    }
    return {
        "h2load": one_body,
        "h2load --rps": rated,
        "ghz": {name: row for name, row in ghz.items() if row is not None},
    }


def print_summary(result: Mapping[str, Any]) -> None:
    """The figures in short, for the terminal."""
    print("class, calls under way       arm              good/s  CPU us    p50 us    p99 us  p99.9 us  gen.")
    for cell in result["closed"]:
        for name, arm in cell["arms"].items():
            _print_row(f"{cell['class']}, {cell['connections']} x {cell['streams']}", name, arm)
    for cell in result["open"]:
        _print_row(f"{cell['class']}, {cell['fraction']:g} of saturation", cell["arm"], cell)
    for tool, rows in result["witnesses"].items():
        for name, row in rows.items():
            print(
                f"{tool:8} {name:15} {row['calls_per_s']:9.0f}/s  p50 {row['p50_us']:.0f} p99 {row['p99_us']:.0f} us"
            )
    for name, row in result["memory"].items():
        print(f"memory   {name:15} {row['start_mb']} MB at the start, {row['end_mb']} at the end")


def _print_row(where: str, name: str, row: Mapping[str, Any]) -> None:
    times = "".join(
        f"{row[key]:10.0f}" if row[key] is not None else "         -"
        for key in ("p50_us", "p99_us", "p999_us")
    )
    print(
        f"{where:40} {name:13} {row['good_per_s']:9.0f} {row['server_cpu_us']:7.1f}{times}  {row['own_core_share']:4.2f}"
    )
