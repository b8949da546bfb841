"""A bundle that says too much is set right, and solved bars do in the engine what the solver said."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from turnout_fastpath import Bundle, load_bundle
from turnout_fastpath.training.bar_check import check_bars, tier_names, with_estimated_costs
from turnout_fastpath.training.bars import Traffic, Wish, solve
from turnout_fastpath.training.bundle_scores import probe_policy
from turnout_fastpath.training.data_errors import DataError
from turnout_fastpath.training.labelled_data import LabelledData, read_labelled_data
from turnout_fastpath.training.recalibrating import (
    Recalibrated,
    rebound,
    recalibrate,
    tiers_for,
    write_recalibrated,
)
from turnout_fastpath.training.reliability_plot import draw_reliability
from turnout_fastpath.training.tiers import parse_tiers
from turnout_fastpath.training.user_bundle import train_bundle

from tests.fastpath.documents import price, rule, span
from tests.fastpath.training.conftest import TIERS
from tests.fastpath.training.labels import write_labels


@pytest.fixture(scope="module")
def boastful(tmp_path_factory: pytest.TempPathFactory, base: Bundle, labelled: LabelledData) -> Bundle:
    """A trained bundle whose calibration was made three times too sure of itself."""
    folder = tmp_path_factory.mktemp("boastful")
    tiers = parse_tiers([",".join(TIERS)])
    train_bundle(labelled, tiers, folder / "bundle", table=base.path, report=lambda _: None)
    bundle = load_bundle(folder / "bundle")
    steep = {"default": {"slope": 3.0, "intercept": 0.8}, "tasks": {}}
    heads = [head | {"calibration": steep} for head in bundle.manifest["heads"]]
    return dataclasses.replace(bundle, manifest=dict(bundle.manifest) | {"heads": heads})


@pytest.fixture(scope="module")
def traffic_data(tmp_path_factory: pytest.TempPathFactory) -> LabelledData:
    """Rows that the bundle has not seen."""
    return read_labelled_data(
        write_labels(tmp_path_factory.mktemp("traffic") / "rows.jsonl", 900, TIERS, seed=77)
    )


@pytest.fixture(scope="module")
def found(boastful: Bundle, traffic_data: LabelledData) -> Recalibrated:
    return recalibrate(boastful, traffic_data, tiers_for(boastful, traffic_data))


def test_probabilities_are_set_right(found: Recalibrated, traffic_data: LabelledData, tmp_path: Path) -> None:
    for head in found.heads:
        assert head.before.ece > head.before.bound
        assert head.after.ece < 1.5 * head.after.bound
        assert head.after.ece < head.before.ece / 2
    written = write_recalibrated(found, tmp_path / "calibrated")
    assert written.classifier == found.bundle.classifier
    again = recalibrate(written, traffic_data, tiers_for(written, traffic_data))
    assert all(
        head.calibration is not None and head.calibration.method.value == "kept" for head in again.heads
    )
    assert written.manifest["calibrated_on"]["rows"] == 900


@pytest.mark.parametrize(
    ("wish", "target"), [(Wish.FRONTIER_SHARE, 0.3), (Wish.MAX_COST_PER_1K, 5.0), (Wish.QUALITY, 0.9)]
)
def test_the_engine_does_what_the_solver_says(
    found: Recalibrated, traffic_data: LabelledData, wish: Wish, target: float
) -> None:
    solution = solve(found.traffic, wish, target)
    checked = check_bars(rebound(found), traffic_data, found.traffic, solution.bars)
    assert checked.disagreements == 0
    assert checked.rows == 900
    # The random model's sense of the unfamiliar is as good as none; what it abstains on goes to the top.
    for tier in TIERS:
        assert checked.outcome.shares[tier] == pytest.approx(solution.within.shares[tier], abs=0.05)
        assert solution.beyond.shares[tier] == pytest.approx(solution.within.shares[tier], abs=0.05)


def test_bars_in_a_policy_with_rules_and_names_of_its_own(
    found: Recalibrated, traffic_data: LabelledData
) -> None:
    document = probe_policy(["small", "mid"], "best")
    for tier, name in zip(document["tiers"], ("cheap", "middling", "best"), strict=True):
        tier["name"] = tier["chain"][0]["name"] = name
        tier["chain"][0]["price"] = name
    document["prices"] = {
        name: price(cost, 4 * cost) for name, cost in (("cheap", 1.0), ("middling", 5.0), ("best", 20.0))
    }
    document["policies"]["probe"]["safe_tier"] = "best"
    document["policies"]["probe"]["rules"] = [rule("short", {"tokens": span(most=15)}, {"tier": "cheap"})]
    bundle = rebound(found)
    assert tier_names(document, "frontier") == {"small": "cheap", "mid": "middling", "frontier": "best"}
    traffic = with_estimated_costs(found.traffic, bundle, traffic_data, document)
    costs = traffic.mean_costs
    assert costs[0] < costs[1] / 4 < costs[2] / 15
    solution = solve(traffic, Wish.FRONTIER_SHARE, 0.5)
    alone = check_bars(bundle, traffic_data, traffic, solution.bars)
    ruled = check_bars(bundle, traffic_data, traffic, solution.bars, document)
    assert ruled.disagreements is None
    assert ruled.outcome.shares["small"] >= alone.outcome.shares["small"]


def test_traffic_without_scores_has_bars_but_no_calibration(
    tmp_path: Path, boastful: Bundle, traffic_data: LabelledData
) -> None:
    lines = [json.dumps({"prompt": text}) for text in traffic_data.texts[:200]]
    (tmp_path / "traffic.jsonl").write_text("\n".join(lines))
    data = read_labelled_data(tmp_path / "traffic.jsonl", scored=False)
    found = recalibrate(boastful, data, ())
    assert all(head.calibration is None and head.labels == 0 for head in found.heads)
    solution = solve(found.traffic, Wish.FRONTIER_SHARE, 0.25)
    assert solution.within.shares["frontier"] <= 0.25
    assert solution.within.quality is None and solution.within.cost_per_1k is None
    assert isinstance(found.traffic, Traffic) and np.isnan(found.traffic.scores).all()


def test_tiers_that_the_bundle_has_not(boastful: Bundle, tmp_path: Path) -> None:
    data = read_labelled_data(write_labels(tmp_path / "rows.jsonl", 30, ("tiny", "frontier")))
    with pytest.raises(DataError, match=r"tier 'tiny' is no head of .*, which has: small, mid"):
        tiers_for(boastful, data, parse_tiers(["tiny,frontier"]))


@pytest.mark.parametrize("suffix", [".svg", ".png"])
def test_equal_figures_give_equal_diagrams(found: Recalibrated, tmp_path: Path, suffix: str) -> None:
    heads = {head.name: (head.before, head.after) for head in found.heads}
    for name in ("one", "two"):
        draw_reliability((tmp_path / name).with_suffix(suffix), heads)
    one, two = ((tmp_path / name).with_suffix(suffix).read_bytes() for name in ("one", "two"))
    assert one == two
    assert one.startswith(b"<?xml" if suffix == ".svg" else b"\x89PNG")
