"""One stream of decisions against its own beginning: a reference window, a sliding recent one, alarms that begin and end."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from turnout_server.quality.drift.dimensions import Dimension
from turnout_server.quality.drift.two_samples import compare

# The chance of any false alarm of a stream, from an anchor to the next, however long: where the mix stays the same and
# decisions are independent. Look number k of d dimensions is tested at FALSE_ALARM / (d k (k + 1)), and these add up to
# FALSE_ALARM (Bonferroni's inequality; the sum over k is 1).
FALSE_ALARM = 0.0001
# An alarm ends below this part of the threshold.
END_SHARE = 0.5
# Steps in which the recent window slides: a look is taken at each.
BLOCKS = 10
# Categories that an alarm names.
MOST_MOVED = 5

Mix = Mapping[Dimension, Mapping[str, float]]


@dataclass(frozen=True)
class DriftRules:
    """When a stream has drifted.

    Attributes:
        reference: decisions after an anchor that later ones are compared with.
        recent: decisions that are compared with them, the newest.
        threshold: the population stability index from which a shift is large.
    """

    reference: int
    recent: int
    threshold: float


class Moved(NamedTuple):
    """A category's share in the reference and in the recent window."""

    category: str
    before: float
    after: float


class Change(NamedTuple):
    """An alarm that begins or ends.

    Attributes:
        dimension: what has shifted, or no longer is.
        began: False: it ended.
        stability_index: the population stability index.
        chance: of such a shift where there is none.
        moved: categories whose shares moved most, the most first.
    """

    dimension: Dimension
    began: bool
    stability_index: float
    chance: float
    moved: tuple[Moved, ...]


class _Window:
    """Counts that grow and shrink."""

    def __init__(self) -> None:
        self.mix: dict[Dimension, Counter[str]] = {dimension: Counter() for dimension in Dimension}

    @property
    def decisions(self) -> float:
        """Every dimension counts each decision once."""
        return self.mix[Dimension.TIER].total()

    def add(self, mix: Mix) -> None:
        for dimension, counts in mix.items():
            self.mix[dimension].update(counts)

    def remove(self, mix: Mix) -> None:
        for dimension, counts in mix.items():
            self.mix[dimension].subtract(counts)


class Detector:
    """Watches one stream from its anchor on."""

    def __init__(self, rules: DriftRules) -> None:
        self._rules = rules
        self._reference = _Window()
        self._recent = _Window()
        self._block = _Window()
        self._blocks: deque[_Window] = deque()
        self._looks = 0
        self.indexes: dict[Dimension, float] = {}
        """By dimension, at the last look; none before the first."""
        self.alarmed: set[Dimension] = set()

    @property
    def reference_decisions(self) -> float:
        """Decisions of the reference so far."""
        return self._reference.decisions

    @property
    def recent_decisions(self) -> float:
        """Decisions of the recent window so far."""
        return self._recent.decisions

    def add(self, mix: Mix) -> list[Change]:
        """Takes decisions that have come together, and says which alarms that begins or ends.

        All of `mix` goes where its first decision goes, so windows may hold a little more than the rules say.
        """
        if self._reference.decisions < self._rules.reference:
            self._reference.add(mix)
            return []
        self._block.add(mix)
        if self._block.decisions * BLOCKS < self._rules.recent:
            return []
        self._slide()
        return self._look() if self._recent.decisions >= self._rules.recent else []

    def _slide(self) -> None:
        self._blocks.append(self._block)
        self._recent.add(self._block.mix)
        self._block = _Window()
        while self._recent.decisions - self._blocks[0].decisions >= self._rules.recent:
            self._recent.remove(self._blocks.popleft().mix)

    def _look(self) -> list[Change]:
        self._looks += 1
        level = FALSE_ALARM / (len(Dimension) * self._looks * (self._looks + 1))
        changes = []
        for dimension in Dimension:
            before, after = self._reference.mix[dimension], self._recent.mix[dimension]
            index, chance = compare(before, after)
            self.indexes[dimension] = index
            if dimension in self.alarmed:
                if index >= self._rules.threshold * END_SHARE:
                    continue
                self.alarmed.remove(dimension)
            elif index >= self._rules.threshold and chance <= level:
                self.alarmed.add(dimension)
            else:
                continue
            began = dimension in self.alarmed
            changes.append(Change(dimension, began, index, chance, _moved(before, after)))
        return changes


def _moved(before: Counter[str], after: Counter[str]) -> tuple[Moved, ...]:
    n, m = before.total(), after.total()
    moved = [Moved(name, before[name] / n, after[name] / m) for name in before.keys() | after.keys()]
    moved.sort(key=lambda one: (-abs(one.after - one.before), one.category))
    return tuple(moved[:MOST_MOVED])
