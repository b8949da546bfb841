"""Tiers over columns, and their labels, against the definitions in a plain loop."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turnout_fastpath.training.data_errors import DataError
from turnout_fastpath.training.labelled_data import LabelledData, read_labelled_data
from turnout_fastpath.training.tiers import Tier, TierError, label_tiers, parse_tiers, tiers_of

THREE = (Tier("small", ("a", "b")), Tier("mid", ("c",)), Tier("top", ("d", "e")))
SCORES = st.lists(
    st.fixed_dictionaries(
        {
            name: st.one_of(st.none(), st.sampled_from([0.0, 1.0, 0.95, 0.5]), st.floats(0, 1))
            for name in "abcde"
        }
    ),
    min_size=1,
    max_size=8,
)


def data_of(folder: Path, rows: list[dict[str, float | None]]) -> LabelledData:
    """Labelled data with these scores."""
    path = folder / "rows.jsonl"
    lines = [json.dumps({"prompt": f"q{i}", "scores": row}) for i, row in enumerate(rows)]
    path.write_text("\n".join(lines))
    return read_labelled_data(path)


@given(SCORES)
def test_labels_are_means_over_pairs_with_the_top(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, float | None]]
) -> None:
    rows = [dict.fromkeys("abcde", 1.0), *rows]
    labels = label_tiers(data_of(tmp_path_factory.getbasetemp(), rows), THREE)
    for i, row in enumerate(rows):
        for head, tier in enumerate(THREE[:-1]):
            pairs = [
                (weak, strong)
                for weak in map(row.get, tier.models)
                for strong in map(row.get, THREE[-1].models)
                if weak is not None and strong is not None
            ]
            if not pairs:
                assert math.isnan(labels.suffices[i, head]) and math.isnan(labels.gains[i, head])
                continue
            enough = [w >= s if {w, s} <= {0.0, 1.0} else w >= s - 0.05 - 1e-9 for w, s in pairs]
            assert labels.suffices[i, head] == pytest.approx(sum(enough) / len(pairs))
            gain = sum(s - w for w, s in pairs) / len(pairs)
            assert labels.gains[i, head] == pytest.approx(gain)
    assert labels.heads == ("small", "mid")


def test_tiers_from_the_command_line() -> None:
    assert parse_tiers(["small,mid,frontier"]) == tuple(
        Tier(name, (name,)) for name in ("small", "mid", "frontier")
    )
    assert parse_tiers(["low=a,b", "high=c"]) == parse_tiers(["low=a,b high=c"])
    assert parse_tiers(["low=a,b high=c"]) == (Tier("low", ("a", "b")), Tier("high", ("c",)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("small", "1 tiers"),
        (",".join("abcdefghi"), "9 tiers"),
        ("a=x b=x", "model 'x' is in the tiers 'a' and 'b'"),
        ("a=x a=y", "a name stands twice"),
        ("a= b=y", "needed: a name and one model at least"),
        ("=x b=y", "needed: a name and one model at least"),
    ],
)
def test_tiers_that_cannot_be(text: str, message: str) -> None:
    with pytest.raises(TierError, match=message):
        parse_tiers([text])


def test_tiers_must_fit_the_data(tmp_path: Path) -> None:
    data = data_of(tmp_path, [{"small": 1, "top": 1}, {"small": 0, "top": 1, "huge": 0.5}])
    with pytest.raises(TierError, match="no tiers given, and the data's columns are small, top, huge"):
        tiers_of(data)
    with pytest.raises(
        TierError, match=r"tier 'mid' names 'mid', which .* has no scores of; it has: small, top, huge"
    ):
        tiers_of(data, parse_tiers(["small,mid"]))
    with pytest.raises(DataError, match=r"row 2: scores.huge: 0.5 is of no tier, known: small, top"):
        tiers_of(data, parse_tiers(["small,top"]))
    # Models that no tier names are left out where tiers name models.
    assert len(tiers_of(data, parse_tiers(["small=small", "best=top"]))) == 2


def test_tiers_are_inferred_from_known_names(tmp_path: Path) -> None:
    data = data_of(tmp_path, [{"frontier": 1, "small": 1}])
    assert [tier.name for tier in tiers_of(data)] == ["small", "frontier"]
    with pytest.raises(TierError, match="two tiers at least"):
        tiers_of(data_of(tmp_path, [{"small": 1}]))


def test_the_public_models_are_known(tmp_path: Path) -> None:
    row: dict[str, float | None] = {
        "gpt-4o-mini-2024-07-18": 1,
        "gpt-4o-2024-08-06": 1,
        "gpt-3.5-turbo-0125": 0,
    }
    assert [tier.name for tier in tiers_of(data_of(tmp_path, [row]))] == ["small", "mid", "frontier"]


def test_recorded_models_that_stand_for_no_tier_are_left_out(tmp_path: Path) -> None:
    """As the whole public table of pairs has them; alone they are no tiers."""
    pair: dict[str, float | None] = {"gpt-4o-mini-2024-07-18": 0.0, "gpt-4o-2024-08-06": 1.0}
    verifiers: dict[str, float | None] = {"gpt3-6b-verifier": 0.0, "gpt3-175b-verifier": 1.0}
    data = data_of(tmp_path, [pair, verifiers])
    tiers = tiers_of(data)
    assert [(tier.name, tier.models) for tier in tiers] == [
        ("mid", ("gpt-4o-mini-2024-07-18",)),
        ("frontier", ("gpt-4o-2024-08-06",)),
    ]
    assert [math.isnan(gain) for gain in label_tiers(data, tiers).gains[:, 0]] == [False, True]
    with pytest.raises(TierError, match="no tiers given"):
        tiers_of(data_of(tmp_path, [verifiers]))
