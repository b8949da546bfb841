"""Timing of calls in this process: interleaved arms, raw samples, quantiles."""

from __future__ import annotations

import contextlib
import gc
import itertools
import math
import resource
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from time import perf_counter, perf_counter_ns, process_time_ns
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

# A sample lasts at least this long, of which reading the clock is a few percent; faster calls are timed in groups.
MIN_SAMPLE_NS = 2000
# How long an arm is warmed up and its calls are counted before the rounds begin.
PROBE_S = 0.02
MIN_SAMPLES = 5


@dataclass(frozen=True)
class Effort:
    """How much is measured.

    Attributes:
        rounds: times that every arm has its turn.
        seconds: of one turn.
    """

    rounds: int
    seconds: float


@dataclass(frozen=True)
class Arm:
    """One thing to time.

    Attributes:
        name: unique among the arms that are timed together.
        call: is given one of `inputs` at a time, in turn.
        inputs: what `call` is given.
        items: what one call works on; figures are per item.
        read: takes the time in ns from a call's result; None means the clock around the call.
        prepare: runs before each sample, untimed.
    """

    name: str
    call: Callable[[Any], object]
    inputs: Sequence[Any]
    items: int = 1
    read: Callable[[Any], int] | None = None
    prepare: Callable[[], object] | None = None


@dataclass(frozen=True)
class Round:
    """What one turn gave.

    Attributes:
        ns: (n,) ns an item, ascending.
        cpu_ns: CPU time of the whole process an item, mean; more than the wall time where threads help.
        preemptions: times that the scheduler took the core away.
    """

    ns: Floats
    cpu_ns: float
    preemptions: int


@dataclass
class Timing:
    """All rounds of one arm; `group` is the number of calls that one sample is the mean of."""

    group: int
    rounds: list[Round] = field(default_factory=list)

    def median(self, probability: float) -> float:
        """Median over the rounds of each round's quantile, ns an item."""
        return statistics.median(quantile(each.ns, probability) for each in self.rounds)

    def summary(self, points: int) -> dict[str, Any]:
        """Everything that is saved of an arm, with `points` quantiles of the pooled samples."""
        pooled = np.sort(np.concatenate([each.ns for each in self.rounds]))
        return {
            "samples": len(pooled),
            "calls_per_sample": self.group,
            "p50_ns": figure(self.median(0.50)),
            "p90_ns": figure(self.median(0.90)),
            "p99_ns": figure(self.median(0.99)),
            "cpu_ns": figure(statistics.median(each.cpu_ns for each in self.rounds)),
            "rounds": [
                {
                    "p50_ns": figure(quantile(each.ns, 0.50)),
                    "p90_ns": figure(quantile(each.ns, 0.90)),
                    "p99_ns": figure(quantile(each.ns, 0.99)),
                    "preemptions": each.preemptions,
                }
                for each in self.rounds
            ],
            "quantiles_ns": condense(pooled, points),
        }


def figure(value: float) -> float:
    """Four significant digits: more than any of these measurements has."""
    return float(f"{value:.4g}")


def quantile(ascending: Floats, probability: float) -> float:
    """The least sample that at least this share of the samples does not exceed (nearest rank).

    Args:
        ascending: (n,) samples in order, n at least 1.
        probability: 0 to 1.
    """
    if not len(ascending):
        raise ValueError("no samples")
    rank = math.ceil(probability * len(ascending))
    return float(ascending[max(rank, 1) - 1])


def condense(ascending: Floats, points: int) -> list[float]:
    """Quantiles at `points` evenly spaced probabilities from 0 to 1, both included."""
    return [figure(quantile(ascending, i / (points - 1))) for i in range(points)]


def paired_ratio(above: Timing, below: Timing, probability: float = 0.5) -> dict[str, float]:
    """Ratio of two arms' quantiles, round by round: its median, least and greatest."""
    ratios = [
        quantile(one.ns, probability) / quantile(other.ns, probability)
        for one, other in zip(above.rounds, below.rounds, strict=True)
    ]
    return spread(ratios)


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, least and greatest."""
    return {
        "median": figure(statistics.median(values)),
        "min": figure(min(values)),
        "max": figure(max(values)),
    }


def time_arms(arms: Sequence[Arm], effort: Effort) -> dict[str, Timing]:
    """Times every arm once a round; the arms change places from round to round.

    Slow stretches of the machine so fall on all arms alike, and a ratio of one round's figures is fair.
    """
    with collector_off():
        plans = [_plan(arm, effort.seconds) for arm in arms]
        timings = {arm.name: Timing(group) for arm, (_, group) in zip(arms, plans, strict=True)}
        order = list(zip(arms, plans, strict=True))
        for _ in range(effort.rounds):
            for arm, (samples, group) in order:
                timings[arm.name].rounds.append(_run(arm, samples, group))
            order.append(order.pop(0))
    return timings


@contextlib.contextmanager
def collector_off() -> Iterator[None]:
    """Keeps garbage collection out of the samples."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def clock_cost_ns() -> float:
    """What reading the clock adds to a sample: median of reading it twice in a row."""
    taken = []
    for _ in range(2000):
        began = perf_counter_ns()
        taken.append(perf_counter_ns() - began)
    return statistics.median(taken)


def _plan(arm: Arm, seconds: float) -> tuple[int, int]:
    """Samples a round, and calls a sample."""
    calls = 0
    timed = whole = 0.0
    began = perf_counter()
    for given in itertools.cycle(arm.inputs):
        if arm.prepare is not None:
            arm.prepare()
        called = perf_counter()
        arm.call(given)
        ended = perf_counter()
        calls += 1
        # The first calls are first-time work.
        if calls > 3:
            timed += ended - called
            whole = (ended - began) / calls
        if calls > 4 and ended - began > PROBE_S:
            break
    a_call_ns = timed / (calls - 3) * 1e9
    groups = arm.read is None and arm.prepare is None
    group = max(1, math.ceil(MIN_SAMPLE_NS / a_call_ns)) if groups else 1
    return max(MIN_SAMPLES, int(seconds / (whole * group))), group


def _run(arm: Arm, samples: int, group: int) -> Round:
    source = itertools.cycle(arm.inputs)
    taken = [0] * samples
    before = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
    cpu = process_time_ns()
    if arm.read is not None:
        _read_results(arm, source, taken)
    elif group == 1:
        _time_single(arm, source, taken)
    else:
        _time_groups(arm, source, taken, group)
    cpu = process_time_ns() - cpu
    preemptions = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw - before
    items = group * arm.items
    ns = np.sort(np.asarray(taken, dtype=np.float64)) / items
    return Round(ns, cpu / (samples * items), preemptions)


def _time_single(arm: Arm, source: Iterator[Any], taken: list[int]) -> None:
    clock, call, prepare = perf_counter_ns, arm.call, arm.prepare
    for i in range(len(taken)):
        given = next(source)
        if prepare is not None:
            prepare()
        began = clock()
        call(given)
        taken[i] = clock() - began


def _time_groups(arm: Arm, source: Iterator[Any], taken: list[int], group: int) -> None:
    clock, call = perf_counter_ns, arm.call
    for i in range(len(taken)):
        batch = list(itertools.islice(source, group))
        began = clock()
        for given in batch:
            call(given)
        taken[i] = clock() - began


def _read_results(arm: Arm, source: Iterator[Any], taken: list[int]) -> None:
    call, read = arm.call, arm.read
    assert read is not None
    for i in range(len(taken)):
        taken[i] = read(call(next(source)))
