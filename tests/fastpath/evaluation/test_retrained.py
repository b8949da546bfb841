"""Folds that are trained anew: each row is decided by a bundle that has not seen its family."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from turnout_fastpath import Engine
from turnout_fastpath.training.evaluation.decided_rows import decide_rows
from turnout_fastpath.training.evaluation.retrained import Split, decide_retrained, learns_all
from turnout_fastpath.training.everyday_sample import write_sample
from turnout_fastpath.training.labelled_data import LabelledData, read_labelled_data
from turnout_fastpath.training.tiers import parse_tiers

TIERS = parse_tiers(["small,mid,frontier"])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> LabelledData:
    path = tmp_path_factory.mktemp("data") / "rows.jsonl"
    write_sample(path, part=0, of=16)
    return read_labelled_data(path)


def test_every_row_is_decided_without_its_family(data: LabelledData, monkeypatch: pytest.MonkeyPatch) -> None:
    from turnout_fastpath.training import user_bundle

    trained: list[set[str]] = []
    train = user_bundle.train_bundle

    def watched(rows: LabelledData, *arguments: object, **options: object) -> object:
        trained.append(set(rows.sources))
        return train(rows, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(user_bundle, "train_bundle", watched)
    priced = decide_rows(Engine.load(), data, TIERS)
    said: list[str] = []
    found = decide_retrained(data, TIERS, Split.UNSEEN_FAMILY, priced, report=said.append)
    assert sorted(trained, key=sorted) == [{"English"}, {"other languages"}]
    assert len(found) == len(data) and (found.decided >= 0).all()
    assert (found.costs == priced.costs).all()
    assert not np.allclose(found.trust, priced.trust)
    assert sum("held out" in line for line in said) == 2


def test_heads_on_another_bundle_have_seen_what_it_has_seen(data: LabelledData, tmp_path: Path) -> None:
    """Few rows: the inputs beneath are the shipped bundle's, so its training rows are not unseen."""
    assert not learns_all(data, Split.IN_DOMAIN, None, None)
    assert not learns_all(data, Split.IN_DOMAIN, None, tmp_path)
