"""Promotions, rollbacks and their journal."""

from __future__ import annotations

import datetime
import json
import threading
from pathlib import Path

import pytest
from turnout_fastpath.bundle import load_bundle
from turnout_server.bundle_store import BundleStore, Step, StoreError

from tests.server.small_bundle import make_small_bundle

AT = datetime.datetime(2026, 11, 28, 12, tzinfo=datetime.UTC)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("candidates")
    return [make_small_bundle(folder / name, seed=seed) for seed, name in enumerate("abc")]


@pytest.fixture
def store(tmp_path: Path) -> BundleStore:
    return BundleStore(tmp_path / "store", lambda: AT)


def promote(store: BundleStore, path: Path) -> str:
    return store.promote(load_bundle(path), who="ann").revision


def test_the_link_names_what_was_promoted(store: BundleStore, bundles: list[Path]) -> None:
    revision = promote(store, bundles[0])
    assert store.current_revision() == revision
    assert load_bundle(store.folder / "current").revision.hex() == revision
    (entry,) = store.history()
    assert (entry.step, entry.at, entry.who) == (Step.PROMOTED, "2026-11-28T12:00:00+00:00", "ann")
    assert (entry.revision, entry.replaced, entry.gate) == (revision, "", None)


def test_a_store_does_not_lean_on_where_the_bundle_came_from(store: BundleStore, tmp_path: Path) -> None:
    path = make_small_bundle(tmp_path / "short-lived", seed=9)
    revision = promote(store, path)
    (path / "vocab.txt").unlink()
    assert load_bundle(store.folder / "current").revision.hex() == revision


def test_rollback_goes_back_one_at_a_time(store: BundleStore, bundles: list[Path]) -> None:
    a, b, c = (promote(store, path) for path in bundles)
    assert store.rollback(who="bob").revision == b
    assert store.rollback(who="bob").revision == a
    with pytest.raises(StoreError, match="nothing to go back to; the current bundle is the first"):
        store.rollback(who="bob")
    # What was rolled back is not gone back to.
    assert promote(store, bundles[2]) == c
    assert store.rollback(who="bob").revision == a
    assert [entry.step for entry in store.history()].count(Step.ROLLED_BACK) == 3


def test_nothing_to_roll_back(store: BundleStore) -> None:
    with pytest.raises(StoreError, match="nothing was promoted yet"):
        store.rollback(who="bob")


def test_the_current_bundle_is_not_promoted_again(store: BundleStore, bundles: list[Path]) -> None:
    promote(store, bundles[0])
    with pytest.raises(StoreError, match="is current already"):
        promote(store, bundles[0])
    assert len(store.history()) == 1


def test_a_damaged_predecessor_is_not_gone_back_to(store: BundleStore, bundles: list[Path]) -> None:
    a, b = (promote(store, path) for path in bundles[:2])
    (store.folder / "bundles" / a / "vocab.txt").write_text("x")
    with pytest.raises(StoreError, match="cannot go back"):
        store.rollback(who="bob")
    assert store.current_revision() == b
    # Promoting it anew repairs it.
    promote(store, bundles[0])
    assert load_bundle(store.folder / "current").revision.hex() == a


def test_a_step_that_never_took_place_is_no_step(store: BundleStore, bundles: list[Path]) -> None:
    """The process ended between the journal's line and the link: the next rollback knows."""
    a, b = (promote(store, path) for path in bundles[:2])
    (store.folder / "current").unlink()
    (store.folder / "current").symlink_to(Path("bundles") / a)
    c = promote(store, bundles[2])
    assert store.rollback(who="bob").revision == a
    assert b not in {store.current_revision(), c}


def test_a_challenger_comes_and_goes(store: BundleStore, bundles: list[Path]) -> None:
    current = promote(store, bundles[0])
    challenger = store.challenge(load_bundle(bundles[1]), who="ann").revision
    assert (store.current_revision(), store.challenger_revision()) == (current, challenger)
    store.end_challenge(who="ann")
    assert store.challenger_revision() is None
    with pytest.raises(StoreError, match="there is no challenger"):
        store.end_challenge(who="ann")


def test_steps_at_once_follow_one_another(store: BundleStore, bundles: list[Path]) -> None:
    """Many at once: every step found the bundle current that the step before it left."""
    loaded = [load_bundle(path) for path in bundles]

    def work(seed: int) -> None:
        for i in range(6):
            try:
                store.promote(loaded[(seed + i) % 3], who=str(seed))
            except StoreError as error:
                assert "is current already" in str(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    entries = store.history()
    assert [entry.replaced for entry in entries[1:]] == [entry.revision for entry in entries[:-1]]
    assert entries[-1].revision == store.current_revision()


def test_a_line_that_is_no_entry_is_named(store: BundleStore, bundles: list[Path]) -> None:
    promote(store, bundles[0])
    journal = store.folder / "journal.jsonl"
    journal.write_text(journal.read_text() + json.dumps({"step": "danced"}) + "\n")
    with pytest.raises(StoreError, match=r"journal\.jsonl:2: no entry"):
        store.history()
