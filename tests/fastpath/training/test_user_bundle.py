"""Bundles from labelled traffic: they learn what is there, agree with their trainer, and are whole or not there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from turnout_fastpath import Bundle, Engine, load_bundle
from turnout_fastpath.bundle import BundleError, inputs_revision
from turnout_fastpath.training import dataset, user_bundle
from turnout_fastpath.training.bundle_report import TrainResult
from turnout_fastpath.training.bundle_scores import probe_engine, probe_policy
from turnout_fastpath.training.data_errors import DataError
from turnout_fastpath.training.dataset import DatasetRow, corpus_rows
from turnout_fastpath.training.labelled_data import LabelledData, read_labelled_data
from turnout_fastpath.training.learning import AGREEMENT
from turnout_fastpath.training.tiers import label_tiers, parse_tiers
from turnout_fastpath.training.user_bundle import train_bundle

from tests.fastpath.conftest import BundleMaker
from tests.fastpath.training.labels import WORDS, truth, write_labels

NAMES = {2: "low,top", 3: "small,mid,frontier", 5: "a,b,c,d,top"}


def quiet(_: str) -> None:
    """Reports nothing."""


def train(
    data: LabelledData, out: Path, base: Bundle, *, tiers: str = NAMES[3], start: bool = False
) -> TrainResult:
    """Fresh on the tables of `base`, or starting from it."""
    given = parse_tiers([tiers])
    if start:
        return train_bundle(data, given, out, start=base.path, report=quiet)
    return train_bundle(data, given, out, table=base.path, report=quiet)


class Stages:
    """What a bar would show: names, steps that were announced, and steps that were done."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.steps: list[int] = []
        self.done: list[int] = []

    def begin(self, what: str, steps: int) -> Callable[[int], None]:
        """A stage begins."""
        at = len(self.names)
        self.names.append(what)
        self.steps.append(steps)
        self.done.append(0)

        def advance(n: int) -> None:
            self.done[at] += n

        return advance


@pytest.mark.parametrize("n_tiers", NAMES)
def test_the_truth_is_recovered_for_any_number_of_tiers(tmp_path: Path, base: Bundle, n_tiers: int) -> None:
    names = NAMES[n_tiers]
    data = read_labelled_data(write_labels(tmp_path / "labels.jsonl", 800, names.split(",")))
    result = train(data, tmp_path / "bundle", base, tiers=names)
    bundle = load_bundle(tmp_path / "bundle")
    assert bundle.heads == names.split(",")[:-1]
    assert result.agreement <= AGREEMENT
    engine = Engine.load(bundle, probe_policy(bundle.heads, names.split(",")[-1]))
    for words in (8, 20, 32, 44):
        decision = engine.route(" ".join(WORDS[i % len(WORDS)] for i in range(words)))
        for tier, candidate in enumerate(decision.candidates[:-1]):
            assert candidate.p_sufficient == pytest.approx(truth(words, tier), abs=0.2)
            assert candidate.gain == pytest.approx(1 - truth(words, tier), abs=0.25)
    for head in result.heads:
        assert head.reliability.ece < 2 * head.reliability.bound


def test_a_head_of_its_own_decides_with_a_policy_of_its_own(tmp_path: Path, base: Bundle) -> None:
    data = read_labelled_data(write_labels(tmp_path / "labels.jsonl", 400, ("low", "top")))
    train(data, tmp_path / "bundle", base, tiers="low,top")
    engine = probe_engine(load_bundle(tmp_path / "bundle"), {"default": 0.5})
    assert engine.route("turnout track").tier == "low"
    assert engine.route("turnout track " * 30).tier == "top"


def test_eight_tiers_on_top_of_a_bundle_of_three(tmp_path: Path, base: Bundle) -> None:
    names = [f"t{i}" for i in range(8)]
    data = read_labelled_data(write_labels(tmp_path / "labels.jsonl", 300, names, missing=0.3, step=4))
    result = train(data, tmp_path / "bundle", base, tiers=",".join(names), start=True)
    assert result.agreement <= AGREEMENT
    decision = probe_engine(load_bundle(tmp_path / "bundle")).route("turnout track train " * 10)
    p = [one.p_sufficient or 0.0 for one in decision.candidates[:-1]]
    assert len(p) == 7 and p[0] < 0.5 < p[-1]


def test_heads_on_top_tell_how_far_they_are(tmp_path: Path, base: Bundle, labelled: LabelledData) -> None:
    stages = Stages()
    train_bundle(
        labelled,
        parse_tiers([NAMES[3]]),
        tmp_path / "out",
        start=base.path,
        report=quiet,
        stages=stages.begin,
    )
    # A tenth of the rows have no score of a tier beside the top's.
    read = int((~np.isnan(label_tiers(labelled, parse_tiers([NAMES[3]])).suffices)).any(axis=1).sum())
    assert read < len(labelled)
    assert (stages.names, stages.steps, stages.done) == (["reading requests"], [read], [read])


def test_equal_data_gives_equal_bundles(tmp_path: Path, base: Bundle, labelled: LabelledData) -> None:
    for name in ("one", "two"):
        train(labelled, tmp_path / name / "bundle", base, start=True)
    one, two = (load_bundle(tmp_path / name / "bundle") for name in ("one", "two"))
    assert one.classifier == two.classifier
    assert one.manifest == two.manifest


def test_noise_changes_nothing(tmp_path: Path, base: Bundle, labelled: LabelledData) -> None:
    """A bundle that is right stays as it is when the labels teach nothing more."""
    train(labelled, tmp_path / "first", base)
    first = load_bundle(tmp_path / "first")
    result = train(labelled.take(np.arange(0, 300)), tmp_path / "second", first, start=True)
    gaps = [head.log_loss - head.log_loss_before for head in result.heads]
    assert max(gaps) < 0.02
    assert result.manifest["training"]["on_top_of"] == first.revision.hex()


def test_starting_from_a_bundle_is_never_worse_than_the_bundle(tmp_path: Path, base: Bundle) -> None:
    """On rows that neither saw; the bundle may know the truth, or nothing."""
    for seed, noise in enumerate((False, True)):
        fresh = read_labelled_data(
            write_labels(tmp_path / "f.jsonl", 500, NAMES[3].split(","), seed=7, noise=noise)
        )
        train(fresh, tmp_path / "start", base)
        start = load_bundle(tmp_path / "start")
        few = read_labelled_data(write_labels(tmp_path / "few.jsonl", 300, NAMES[3].split(","), seed=seed))
        train(few, tmp_path / "new", start, start=True)
        gap = loss(tmp_path / "new") - loss(tmp_path / "start")
        assert gap < 0.01
        if noise:
            assert gap < -0.05


def loss(path: Path) -> float:
    """Mean squared distance of p_sufficient from the truth, on prompts of all lengths."""
    engine = probe_engine(load_bundle(path))
    total = []
    for words in range(3, 51):
        candidates = engine.route(" ".join(WORDS[i % len(WORDS)] for i in range(words))).candidates
        total += [
            (one.p_sufficient - truth(words, t)) ** 2
            for t, one in enumerate(candidates[:-1])
            if one.p_sufficient is not None
        ]
    return float(np.mean(total))


def test_stored_vectors_teach_what_their_texts_teach(
    tmp_path: Path, base: Bundle, labelled: LabelledData
) -> None:
    engine, revision = probe_engine(base), inputs_revision(base)
    rows = []
    for i in range(len(labelled)):
        request = labelled.request(i)
        assert request is not None
        row: dict[str, Any] = {
            "id": str(labelled.ids[i]),
            "group": str(labelled.groups[i]),
            "features": engine.classifier_inputs(request).tolist(),
            "features_revision": revision,
            "scores": {
                m: s
                for m, s in zip(labelled.models, labelled.scores[i].tolist(), strict=True)
                if not np.isnan(s)
            },
        }
        rows.append(json.dumps(row))
    (tmp_path / "vectors.jsonl").write_text("\n".join(rows))
    vectors = read_labelled_data(tmp_path / "vectors.jsonl")
    train(labelled, tmp_path / "text", base, start=True)
    train(vectors, tmp_path / "vectors", base, start=True)
    by_text, by_vector = load_bundle(tmp_path / "text"), load_bundle(tmp_path / "vectors")
    assert by_text.classifier == by_vector.classifier
    assert inputs_revision(by_vector) == revision


def test_stored_vectors_of_another_bundle_are_refused(
    tmp_path: Path, base: Bundle, make_bundle: BundleMaker
) -> None:
    lines = [
        json.dumps(
            {"features": [0.0, float(i)], "features_revision": "00ff00ff", "scores": {"low": i % 2, "top": 1}}
        )
        for i in range(40)
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    data = read_labelled_data(tmp_path / "rows.jsonl")
    with pytest.raises(
        DataError, match=rf"row 1: features_revision: '00ff00ff', needed: '{inputs_revision(base)}'"
    ):
        train(data, tmp_path / "out", base, tiers="low,top", start=True)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("low", "message"),
    [
        ([1.0] * 40, "scores.low: one class only: tier 'low' fails in 0 of 40 rows beside a score of 'top'"),
        (
            [0.0] * 40,
            "scores.low: one class only: tier 'low' suffices in 0 of 40 rows beside a score of 'top'",
        ),
        ([0.0, 1.0] * 5, "scores.low: 10 rows beside a score of 'top' (top), needed: 20"),
    ],
)
def test_labels_that_teach_nothing_are_refused(
    tmp_path: Path, base: Bundle, low: list[float], message: str
) -> None:
    lines = [
        json.dumps({"prompt": f"question {i}", "scores": {"low": s, "top": 1}}) for i, s in enumerate(low)
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    with pytest.raises(DataError) as caught:
        train(read_labelled_data(tmp_path / "rows.jsonl"), tmp_path / "out", base, tiers="low,top")
    assert message in str(caught.value)


def test_a_bundle_that_fails_its_check_is_not_written(
    tmp_path: Path, base: Bundle, labelled: LabelledData, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(labelled, tmp_path / "out", base)
    revision = load_bundle(tmp_path / "out").revision

    def fail(*_: object) -> float:
        raise AssertionError("the compiled engine differs")

    monkeypatch.setattr(user_bundle, "check_engine", fail)
    with pytest.raises(AssertionError):
        train(labelled, tmp_path / "out", base, start=True)
    assert load_bundle(tmp_path / "out").revision == revision
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_bundle_that_is_not_there(tmp_path: Path, labelled: LabelledData) -> None:
    with pytest.raises(BundleError, match="No such file"):
        train_bundle(
            labelled, parse_tiers([NAMES[3]]), tmp_path / "out", start=tmp_path / "none", report=quiet
        )


def test_weights_and_propensities_count(tmp_path: Path, base: Bundle) -> None:
    """Rows of a weight of three count as three rows; rows labelled one time in four stand for four."""
    rows = [
        {"prompt": f"question {i} of many", "scores": {"low": float(i % 4 == 0), "top": 1}}
        for i in range(200)
    ]

    def mean_p(name: str, **fields: Any) -> float:
        lines = [json.dumps(row | (fields if i % 4 == 0 else {})) for i, row in enumerate(rows)]
        (tmp_path / name).write_text("\n".join(lines))
        train(read_labelled_data(tmp_path / name), tmp_path / "out", base, tiers="low,top")
        p = probe_engine(load_bundle(tmp_path / "out")).route("question 7 of many").candidates[0].p_sufficient
        assert p is not None
        return p

    plain, heavy, rare = mean_p("plain"), mean_p("heavy", weight=9), mean_p("rare", propensity=1 / 9)
    assert plain == pytest.approx(0.25, abs=0.12)
    assert heavy == pytest.approx(0.75, abs=0.12)
    assert rare == pytest.approx(heavy, abs=1e-3)


def test_the_full_recipe_on_a_small_corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is learned anew: tasks of the data's own, four heads, the engine agrees."""
    monkeypatch.setattr(user_bundle, "FULL_RECIPE_ROWS", 100)
    monkeypatch.setattr(user_bundle, "DECAYS", (1.0,))
    # Most of the time goes into the n-gram table.
    monkeypatch.setattr(dataset, "NGRAM_BITS", 10)

    def few(heads: Any, *, labelled: bool) -> list[DatasetRow]:
        return corpus_rows(heads, labelled=labelled)[::11]

    monkeypatch.setattr(user_bundle, "corpus_rows", few)
    write_labels(tmp_path / "labels.jsonl", 300, NAMES[5].split(","))
    lines = [json.loads(line) for line in (tmp_path / "labels.jsonl").read_text().splitlines()]
    (tmp_path / "labels.jsonl").write_text(
        "\n".join(json.dumps(line | {"task": "railways"}) for line in lines)
    )
    data = read_labelled_data(tmp_path / "labels.jsonl")
    stages = Stages()
    result = train_bundle(
        data, parse_tiers([NAMES[5]]), tmp_path / "bundle", report=quiet, stages=stages.begin
    )
    assert stages.names == ["reading requests", "choosing the weight decay", "fitting"]
    assert stages.done == stages.steps
    assert result.agreement <= AGREEMENT
    bundle = load_bundle(tmp_path / "bundle")
    assert bundle.heads == NAMES[5].split(",")[:-1]
    assert bundle.tasks[-1] == "railways"
    decision = probe_engine(bundle).route("turnout track train signal lever station freight siding")
    assert decision.task == "railways"
    p = [one.p_sufficient for one in decision.candidates[:-1]]
    assert min(value for value in p if value is not None) > 0.5
