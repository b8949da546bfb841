"""The decision and its kernels, in process, by prompt length."""

from __future__ import annotations

import operator
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import turnout_fastpath.text
from turnout_fastpath import Engine, Request
from turnout_fastpath.classifier import Classifier
from turnout_fastpath.embedding import EmbeddingTable, VectorSet
from turnout_fastpath.ngrams import NgramTable
from turnout_fastpath.reader import Reader
from turnout_fastpath.wordpiece import WordPiece

from bench.machine import describe_machine
from bench.prompts import MIXED, OTHER_SCRIPTS, PromptSet, data_folder, load_prompts
from bench.sampling import Arm, Effort, clock_cost_ns, figure, quantile, spread, time_arms

DECISION_POINTS = 1001
KERNEL_POINTS = 101
LONG_BYTES = (64 << 10, 256 << 10)
LONG_TEXTS = 8
# What is read before a decision "with cold caches": twice a core's second-level cache of 2 to 4 MiB.
COLD_BYTES = 8 << 20
COLD_CLASSES = ("32", "256", "2048")
# Between these classes a kernel's marginal cost is taken: both fit the windows that the learned part reads.
MARGINAL = ("32", "256")


@dataclass(frozen=True)
class Plan:
    """How much is measured of what."""

    prompts: int
    decision: Effort
    kernels: Effort
    long: Effort


# Few prompts would be learnt by heart, by the word cache and by the processor's branch predictor.
FULL = Plan(prompts=256, decision=Effort(7, 0.25), kernels=Effort(5, 0.08), long=Effort(5, 0.15))
QUICK = Plan(prompts=64, decision=Effort(2, 0.02), kernels=Effort(2, 0.01), long=Effort(2, 0.02))


@dataclass(frozen=True)
class Kernel:
    """A kernel behind its Python wrapper.

    Attributes:
        unit: what its cost grows with; empty if with nothing.
        call: the wrapper.
        read: from a prompt, what the wrapper is given and how many units that is.
    """

    unit: str
    call: Callable[[Any], object]
    read: Callable[[str], tuple[Any, int]]


def run(*, quick: bool) -> dict[str, Any]:
    """Measures everything; about two minutes, some seconds if `quick`."""
    plan = QUICK if quick else FULL
    machine = describe_machine()
    prompts = load_prompts(plan.prompts, data_folder())
    engine = Engine.load()
    return {
        "bench": "kernels",
        "quick": quick,
        "machine": machine,
        "bundle_revision": engine.snapshot.bundle.revision.hex(),
        "policy_revision": engine.snapshot.policies.revision.hex(),
        "prompts": prompts.describe(),
        "clock_ns": clock_cost_ns(),
        "decision": _measure_decision(engine, prompts, plan.decision),
        "cold_decision": _measure_cold(engine, prompts, plan.decision),
        "beyond_windows": _measure_slope(engine, prompts, plan.long),
        "route_many": _measure_many(engine, prompts, plan.kernels),
        "kernels": _measure_kernels(engine, prompts, plan.kernels),
    }


def _measure_decision(engine: Engine, prompts: PromptSet, effort: Effort) -> dict[str, Any]:
    """`Engine.route` as a caller sees it, and the time that the core itself says."""
    measured = {}
    for name, texts in prompts.classes.items():
        timings = time_arms(
            [
                Arm("route", engine.route, texts),
                Arm("core", engine.route, texts, read=operator.attrgetter("decision_ns")),
            ],
            effort,
        )
        measured[name] = {
            "route": timings["route"].summary(DECISION_POINTS),
            "core": timings["core"].summary(KERNEL_POINTS),
            "p99_over_p50": spread(
                [quantile(each.ns, 0.99) / quantile(each.ns, 0.5) for each in timings["route"].rounds]
            ),
        }
    return measured


def _measure_cold(engine: Engine, prompts: PromptSet, effort: Effort) -> dict[str, Any]:
    """`Engine.route` when other work has emptied the core's own caches before each call."""
    other_work = np.ones(COLD_BYTES // 8)
    arms = [
        Arm(name, engine.route, prompts.classes[name], prepare=lambda: float(other_work.sum()))
        for name in COLD_CLASSES
    ]
    return {name: timing.summary(KERNEL_POINTS) for name, timing in time_arms(arms, effort).items()}


def _measure_slope(engine: Engine, prompts: PromptSet, effort: Effort) -> dict[str, Any]:
    """Ns a byte far beyond the windows: the difference of two long texts' times over that of their sizes."""
    short, long = LONG_BYTES
    measured = {}
    for script, name in (("mostly ASCII", "512"), ("other scripts", OTHER_SCRIPTS)):
        arms = [Arm(str(size), engine.route, prompts.joined(name, size, LONG_TEXTS)) for size in LONG_BYTES]
        timings = time_arms(arms, effort)
        slopes = [
            (quantile(above.ns, 0.5) - quantile(below.ns, 0.5)) / (long - short)
            for below, above in zip(timings[str(short)].rounds, timings[str(long)].rounds, strict=True)
        ]
        measured[script] = {
            "ns_per_byte": spread(slopes),
            "p50_ns": {size: figure(timing.median(0.5)) for size, timing in timings.items()},
        }
    return measured


def _measure_many(engine: Engine, prompts: PromptSet, effort: Effort) -> dict[str, Any]:
    """`Engine.route_many` beside a loop of `route`, ns a prompt, on the mixed prompts."""
    texts = prompts.classes[MIXED]

    def route_each(batch: list[str]) -> None:
        for text in batch:
            engine.route(text)

    timings = time_arms(
        [
            Arm("route_many", engine.route_many, [texts], items=len(texts)),
            Arm("route in a loop", route_each, [texts], items=len(texts)),
        ],
        effort,
    )
    return {name: timing.summary(KERNEL_POINTS) for name, timing in timings.items()}


def _measure_kernels(engine: Engine, prompts: PromptSet, effort: Effort) -> dict[str, Any]:
    kernels = make_kernels(engine, prompts.of_pieces(32)[0])
    measured: dict[str, Any] = {
        name: {"unit": kernel.unit, "classes": {}} for name, kernel in kernels.items()
    }
    for prompt_class, texts in prompts.classes.items():
        arms, units = [], {}
        for name, kernel in kernels.items():
            read = [kernel.read(text) for text in texts]
            arms.append(Arm(name, kernel.call, [given for given, _ in read]))
            units[name] = statistics.fmean(count for _, count in read)
        for name, timing in time_arms(arms, effort).items():
            entry = {"mean_units": round(units[name], 1), **timing.summary(KERNEL_POINTS)}
            measured[name]["classes"][prompt_class] = entry
    for entry in measured.values():
        low, high = (entry["classes"][name] for name in MARGINAL)
        if entry["unit"]:
            slope = (high["p50_ns"] - low["p50_ns"]) / (high["mean_units"] - low["mean_units"])
            entry["marginal_ns_per_unit"] = figure(slope)
    return measured


def make_kernels(engine: Engine, prompt: str) -> dict[str, Kernel]:
    """Every kernel that has a wrapper, and the decision's parts that can be timed from outside.

    Args:
        engine: whose bundle and policy are used.
        prompt: any; its inputs stand for all where the cost is always the same.
    """
    snapshot = engine.snapshot
    bundle = snapshot.bundle
    reader = Reader(bundle.vocabulary)
    wordpiece = WordPiece(bundle.vocabulary)
    forgetful = WordPiece(bundle.vocabulary, cache_slots=1)
    table = EmbeddingTable(bundle.arrays["embedding"], bundle.arrays["embedding_weights"])
    ngrams = NgramTable(bundle.arrays["ngrams"], bundle.arrays["ngram_scales"])
    exemplars = [text for texts in bundle.exemplars.values() for text in texts]
    vectors = VectorSet.quantise(np.stack([snapshot.embed(text) for text in exemplars]))
    width = len(snapshot.feature_means)
    classifier = Classifier(bundle.classifier, width, len(bundle.tasks) + 2 * len(bundle.heads) + 1)
    row = np.asarray(snapshot.feature_means)[None, :]
    vector = snapshot.embed(prompt)

    def as_bytes(text: str) -> tuple[bytes, int]:
        encoded = text.encode()
        return encoded, len(encoded)

    def pieces(text: str) -> tuple[bytes, int]:
        return text.encode(), len(wordpiece.encode(text))

    def window_ids(text: str) -> tuple[Any, int]:
        ids = reader.read(Request(text)).ids.copy()
        return ids, len(ids)

    def window_words(text: str) -> tuple[Any, int]:
        reading = reader.read(Request(text))
        words = np.concatenate([reading.head_words, reading.tail_words])
        return words, len(words)

    return {
        "text scan": Kernel("byte", turnout_fastpath.text.scan, as_bytes),
        "wordpiece": Kernel("piece", wordpiece.encode, pieces),
        "wordpiece, no cache": Kernel("piece", forgetful.encode, pieces),
        "pooling": Kernel("piece", table.pool, window_ids),
        "n-grams": Kernel("word", ngrams.values, window_words),
        "exemplar cosine": Kernel("", vectors.cosine, lambda _: (vector, len(exemplars))),
        "classifier": Kernel("", classifier.score, lambda _: (row, 1)),
        "make Request": Kernel("", Request, lambda text: (text, 1)),
        "decide": Kernel("", engine.decide, lambda text: (Request(text), 1)),
        "decide, rules only": Kernel("", engine.decide, lambda text: (Request(text, rules_only=True), 1)),
    }


def print_summary(result: dict[str, Any]) -> None:
    """The figures in short, for the terminal."""
    print("decision, us           p50      p90      p99   core p50")
    for name, entry in result["decision"].items():
        route, core = entry["route"], entry["core"]
        columns: Sequence[float] = (route["p50_ns"], route["p90_ns"], route["p99_ns"], core["p50_ns"])
        print(f"{name:20}" + "".join(f" {value / 1000:8.1f}" for value in columns))
    for name, entry in result["cold_decision"].items():
        print(f"{name:20} {entry['p50_ns'] / 1000:8.1f}  (cold caches)")
    for script, entry in result["beyond_windows"].items():
        print(f"beyond the windows, {script}: {entry['ns_per_byte']['median']:.2f} ns a byte")
    for name, entry in result["route_many"].items():
        print(f"{name}: {entry['p50_ns'] / 1000:.1f} us a mixed prompt")
    for name, entry in result["kernels"].items():
        costs = "  ".join(
            f"{each}: {entry['classes'][each]['p50_ns'] / 1000:.2f} us" for each in ("32", "256", "2048")
        )
        slope = entry.get("marginal_ns_per_unit")
        print(f"{name:20} {costs}" + (f"  {slope:.2f} ns a {entry['unit']}" if slope is not None else ""))
