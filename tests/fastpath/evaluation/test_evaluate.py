"""The report as a whole, on a labelled file whose right answers are known, and what it says of rows that were seen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from turnout_fastpath import Engine, load_bundle
from turnout_fastpath.bundle import write_bundle
from turnout_fastpath.training.evaluation.decided_rows import DecidedRows, decide_rows
from turnout_fastpath.training.evaluation.evaluate import ALL, evaluate
from turnout_fastpath.training.evaluation.pair_measures import GAIN, LENGTH, ORACLE, RANDOM
from turnout_fastpath.training.evaluation.plots import write_plots
from turnout_fastpath.training.evaluation.retrained import Split, folds_of
from turnout_fastpath.training.evaluation.seen_rows import (
    SeenRows,
    find_seen,
    fingerprint,
    fingerprints,
    with_trained,
)
from turnout_fastpath.training.labelled_data import LabelledData, read_labelled_data
from turnout_fastpath.training.tiers import TierError, parse_tiers

from tests.fastpath.documents import document
from tests.fastpath.synthetic import write_synthetic

N = 240


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return Engine.load(write_synthetic(tmp_path_factory.mktemp("bundle") / "b"), document())


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def data(tmp_path: Path) -> LabelledData:
    """The small tier fails where the question number is a multiple of three; the top one never does."""
    rows = [
        {
            "id": str(i),
            "prompt": f"question {i} " + "word " * (i % 7),
            "source": "even" if i % 2 == 0 else "odd",
            "task": "math" if i % 5 else "chat",
            "group": str(i // 2),
            "scores": {"small": float(i % 3 != 0), "mid": float(i % 6 != 0), "frontier": 1.0},
        }
        for i in range(N)
    ]
    return read_labelled_data(write(tmp_path / "rows.jsonl", rows))


def decided(trust: npt.NDArray[np.float64], at: npt.NDArray[np.intp]) -> DecidedRows:
    n = len(trust)
    flags = np.zeros(n, np.bool_)
    return DecidedRows(
        ("small", "mid", "frontier"),
        at,
        trust,
        1 - trust,
        np.tile([1.0, 2.0, 10.0], (n, 1)),
        np.array(["math"] * n),
        flags,
        flags,
    )


TIERS = parse_tiers(["small,mid,frontier"])


def unseen(n: int) -> SeenRows:
    return SeenRows(np.zeros(n, np.bool_), True)


def test_one_who_knows_the_labels_is_the_oracle(engine: Engine, data: LabelledData) -> None:
    trust = np.stack([data.scores[:, 0], data.scores[:, 1]], axis=1)
    at = np.where(trust[:, 0] > 0, 0, np.where(trust[:, 1] > 0, 1, 2))
    found = evaluate(engine, data, TIERS, decided(trust, at), unseen(N), replicates=100)
    pair = found.pairs["small"][ALL]
    assert pair.rows == N and pair.groups == N // 2
    assert pair.ranks[GAIN].apgr.value == pytest.approx(pair.ranks[ORACLE].apgr.value)
    # A third needs the strong model: PGR rises to 1 within that third.
    assert pair.ranks[GAIN].apgr.value == pytest.approx(1 - 1 / 6)
    assert pair.ranks[GAIN].cpt50.value == pytest.approx(100 / 6)
    assert pair.ranks[RANDOM].apgr.value == pytest.approx(0.5)
    assert pair.ranks[GAIN].auc.value == 1
    assert pair.calibration.ece.value == pytest.approx(0)
    own = found.as_decided[ALL]
    assert own.score.value == 1 and own.unscored == 0
    # Two thirds at 1, a sixth at 2, a sixth at 10.
    assert own.cost.value == pytest.approx(2 / 3 + 2 / 6 + 10 / 6)
    assert own.shares == pytest.approx({"small": 2 / 3, "mid": 1 / 6, "frontier": 1 / 6})
    curve = found.curves[ALL].curves["bar on p_sufficient"]
    assert curve.saved.value >= 1 - own.cost.value / 10 - 1e-9
    assert found.hard_to_top is not None and found.hard_to_top.value == 1
    assert set(found.pairs["small"]) == {ALL, "source even", "source odd", "task chat", "task math"}
    assert found.warnings == ()
    assert pair.ranks[LENGTH].apgr.low < 0.55


def test_weights_and_propensities_count(engine: Engine, data: LabelledData) -> None:
    """A row that was labelled with half the chance stands for two."""
    import dataclasses

    once = np.where(np.arange(N) % 3 == 0, 0.5, 1.0)
    weighted = dataclasses.replace(data, propensities=once)
    trust = np.full((N, 2), 0.5)
    found = evaluate(engine, weighted, TIERS, decided(trust, np.zeros(N, np.intp)), unseen(N), replicates=100)
    # A third of the rows, with weight 2, fails: two in four.
    assert found.pairs["small"][ALL].always_weak.value == pytest.approx(0.5)
    assert found.as_decided[ALL].score.value == pytest.approx(0.5)


def test_rows_without_a_score_of_the_decided_tier_are_counted(engine: Engine, data: LabelledData) -> None:
    data.scores[:40, 1] = np.nan
    at = np.ones(N, np.intp)
    found = evaluate(engine, data, TIERS, decided(np.ones((N, 2)), at), unseen(N), replicates=100)
    assert (found.as_decided[ALL].rows, found.as_decided[ALL].unscored) == (N - 40, 40)
    assert found.pairs["mid"][ALL].rows == N - 40
    assert found.curves[ALL].rows == N - 40


def test_prices_stand_for_costs(engine: Engine, data: LabelledData) -> None:
    everything = decided(np.ones((N, 2)), np.zeros(N, np.intp))
    prices = {"small": 1.0, "mid": 2.0, "frontier": 12.0}
    found = evaluate(engine, data, TIERS, everything, unseen(N), prices=prices, replicates=100)
    assert found.as_decided[ALL].top_cost.value == 12
    with pytest.raises(TierError, match="no price of mid, frontier"):
        evaluate(engine, data, TIERS, everything, unseen(N), prices={"small": 1.0}, replicates=100)


def test_the_report_is_json_and_plots_are_the_same_each_time(
    engine: Engine, data: LabelledData, tmp_path: Path
) -> None:
    trust = np.random.default_rng(0).random((N, 2))
    found = evaluate(
        engine, data, TIERS, decided(trust, np.zeros(N, np.intp)), SeenRows(np.ones(N, np.bool_), True),
        replicates=100,
    )  # fmt: skip
    text = json.dumps(found.to_json(), allow_nan=False)
    assert json.loads(text)["facts"]["rows_trained_on"] == N
    assert "240 of these 240 rows" in found.warnings[0]
    first, second = write_plots(found, tmp_path / "a"), write_plots(found, tmp_path / "b")
    assert [path.name for path in first] == [
        "cost-quality.svg",
        "reliability-small.svg",
        "reliability-mid.svg",
    ]
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()
        assert one.read_text().startswith("<?xml")


def test_rows_are_decided_as_a_caller_s_request(engine: Engine, data: LabelledData) -> None:
    names = tuple(engine.snapshot.policies.tier_names)
    found = decide_rows(engine, data, parse_tiers([",".join(names)]))
    for row in (0, 7, 100):
        request = data.request(row)
        assert request is not None
        decision = engine.decide(request)
        assert names[found.decided[row]] == decision.tier
        judged = [one.p_sufficient for one in decision.candidates[:-1]]
        assert found.trust[row].tolist() == judged


def test_a_tier_that_the_policy_lacks_is_named(engine: Engine, data: LabelledData) -> None:
    with pytest.raises(TierError, match="tier 'huge' is not in the policy"):
        decide_rows(engine, data, parse_tiers(["small=small huge=frontier"]))
    with pytest.raises(TierError, match="the policy has them in the order"):
        decide_rows(engine, data, parse_tiers(["frontier=frontier small=small"]))


def test_what_was_trained_on_is_told_by_text_or_by_file(
    engine: Engine, data: LabelledData, tmp_path: Path
) -> None:
    bundle = load_bundle(write_synthetic(tmp_path / "plain"))
    assert not find_seen(bundle, data).known
    manifest = {k: v for k, v in bundle.manifest.items() if k not in ("format", "files")}
    arrays = with_trained(bundle.arrays, [f"  {text.upper()}\n" for text in data.texts[:10]])
    arrays = with_trained(arrays, ["another"])

    def rewrite(**changes: Any) -> None:
        write_bundle(
            tmp_path / "marked",
            manifest | changes,
            vocabulary=bundle.vocabulary,
            arrays=arrays,
            exemplars=bundle.exemplars,
            classifier=bundle.classifier,
        )

    rewrite()
    seen = find_seen(load_bundle(tmp_path / "marked"), data)
    assert seen.known and seen.seen.tolist() == [True] * 10 + [False] * (N - 10)
    rewrite(training={"data_sha256": data.sha256})
    assert find_seen(load_bundle(tmp_path / "marked"), data).seen.all()
    assert "does not say" in find_seen(bundle, data).describe()


def test_fingerprints_are_sorted_and_stable() -> None:
    assert fingerprint("What  is\nit?") == fingerprint("what is it?") == 4667655459373039576
    listed = fingerprints(["b", "a", "B"])
    assert len(listed) == 2 and (np.diff(listed.astype(object)) > 0).all()


@pytest.mark.parametrize("split", [Split.IN_DOMAIN, Split.UNSEEN_SUBJECT, Split.UNSEEN_FAMILY])
def test_folds_share_no_group_and_hold_every_row_out_once(data: LabelledData, split: Split) -> None:
    held_out = np.zeros(N, np.intp)
    units = {
        Split.IN_DOMAIN: data.groups,
        Split.UNSEEN_SUBJECT: data.tasks,
        Split.UNSEEN_FAMILY: data.sources,
    }
    for _, rest, held in folds_of(data, split):
        held_out += held
        assert not rest[held].any()
        assert not set(data.groups[rest]) & set(data.groups[held])
        assert not set(units[split][rest]) & set(units[split][held])
    assert (held_out == 1).all()


def test_sources_of_one_family_are_held_out_together(data: LabelledData) -> None:
    from turnout_fastpath.training.data_errors import DataError

    with pytest.raises(DataError, match="needed: 2 at least"):
        list(folds_of(data, Split.UNSEEN_FAMILY, {"even": "one", "odd": "one"}))
