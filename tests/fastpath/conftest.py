"""Bundles and engines for the tests of the compiled core."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from typing import Any, Protocol

import pytest
from hypothesis import settings
from turnout_fastpath import Bundle, Engine, load_bundle

from tests.fastpath.documents import Document, document
from tests.fastpath.synthetic import real_vocabulary, scores_of, write_synthetic

FULL = os.environ.get("TURNOUT_FULL") == "1"
# No deadline: a machine that does other work is no defect.
settings.register_profile("turnout", deadline=None, max_examples=2000 if FULL else 100)
settings.load_profile("turnout")


class BundleMaker(Protocol):
    """Writes and loads a bundle; the fields are those of `write_synthetic`."""

    def __call__(self, **fields: Any) -> Bundle:
        """A bundle in a folder of its own."""


class EngineMaker(Protocol):
    """Compiles an engine over a small bundle with a classifier that always says `scores`."""

    def __call__(
        self,
        policy: Document | None = None,
        scores: Sequence[float] | None = None,
        *,
        state: str | os.PathLike[str] | None = None,
    ) -> Engine:
        """An engine; the default policy has a bar of 0.7, the default scores let every tier pass it."""


@pytest.fixture(scope="session")
def make_bundle(tmp_path_factory: pytest.TempPathFactory) -> BundleMaker:
    """Makes bundles in temporary folders."""
    number = itertools.count()

    def make(**fields: Any) -> Bundle:
        return load_bundle(write_synthetic(tmp_path_factory.mktemp("bundle") / str(next(number)), **fields))

    return make


@pytest.fixture(scope="session")
def varied_bundle(make_bundle: BundleMaker) -> Bundle:
    """A bundle whose scores vary with the request; toy vocabulary."""
    return make_bundle(seed=5)


@pytest.fixture(scope="session")
def real_bundle(make_bundle: BundleMaker) -> Bundle:
    """A bundle over the real vocabulary, 64 wide, whose scores vary with the request."""
    return make_bundle(seed=11, vocabulary=real_vocabulary(), dim=64, columns=32)


@pytest.fixture(scope="session")
def engine_of(make_bundle: BundleMaker) -> EngineMaker:
    """Makes engines for named examples."""
    bundles: dict[tuple[float, ...], Bundle] = {}

    def make(
        policy: Document | None = None,
        scores: Sequence[float] | None = None,
        *,
        state: str | os.PathLike[str] | None = None,
    ) -> Engine:
        key = tuple(scores_of() if scores is None else scores)
        if key not in bundles:
            bundles[key] = make_bundle(scores=key)
        return Engine.load(bundles[key], document() if policy is None else policy, state=state)

    return make


@pytest.fixture(scope="session")
def engine(real_bundle: Bundle) -> Engine:
    """An engine over the real vocabulary and a plain policy."""
    return Engine.load(real_bundle, document())
