"""A wall whose policy has a judge, and what became of its answers."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Any

from turnout_server.quality.store.outcomes import StoredOutcome, read_outcome
from turnout_server.quality.store.place import find_place, make_engine
from turnout_server.quality.store.reading import StoredCost, read_costs

from tests.faults import Answer
from tests.server.completion.wall import Wall, walled

# Nothing is late here but what a test has wait.
calm = partial(walled, first_token_s=30.0, inter_token_s=30.0)
CHEAP = "ordinary.small"
DEAR = "ordinary.frontier"
JUDGE = "judge"
# The judge stands behind the tier's own model, so that it serves nobody.
FRONTIER = (DEAR, JUDGE)


def judged(share: float = 1.0, **more: Any) -> dict[str, Any]:
    """The section of a judge that grades this share."""
    return {"judge": {"deployment": JUDGE, "share": share, **more}}


def mark(number: object, fault: object = "none", **more: object) -> Answer:
    """A judge's answer."""
    return Answer.of(json.dumps({"fault": fault, "mark": number, **more}))


def better(which: str) -> Answer:
    """A judge's answer to a comparison."""
    return Answer.of(json.dumps({"better": which}))


def counted(wall: Wall, family: str) -> dict[tuple[str, ...], float]:
    """A family's counts by labels, without the zeros."""
    found: dict[tuple[str, ...], float] = defaultdict(float)
    for name, labels, values in wall.service.sums().values:
        if name == family and values[0]:
            found[labels] += values[0]
    return dict(found)


async def settled(wall: Wall) -> None:
    """Waits until every call is over, and nothing is under way behind the callers' backs."""
    lanes, port = wall.service.completer.grading.lanes, wall.service.port
    async with asyncio.timeout(10):
        while port.completions.in_flight:
            await asyncio.sleep(0.001)
        # What a call asks for when it is over begins with the loop's next turns.
        for _ in range(5):
            await asyncio.sleep(0)
        while lanes.under_way:
            await asyncio.sleep(0.001)


async def stored(wall: Wall, path: Path, decision_id: str) -> tuple[StoredOutcome, list[StoredCost]]:
    """All that the store has of a decision."""
    store = wall.service.store
    assert store is not None
    assert await asyncio.to_thread(store.flush, 5.0)
    place = find_place(str(path))
    assert place is not None
    engine = make_engine(place, read_only=True)
    with engine.connect() as connection:
        outcome = read_outcome(connection, decision_id)
        costs = read_costs(connection, decision_id)
    engine.dispose()
    assert outcome is not None
    return outcome, costs


def material(wall: Wall, number: int = -1) -> dict[str, Any]:
    """What the judge was shown at one of its calls."""
    body = wall.upstream.ledger.of(JUDGE)[number].body
    first, document, last = body["messages"][-1]["content"].split("\n")
    assert first == last
    assert first in body["messages"][0]["content"]
    found: dict[str, Any] = json.loads(document)
    return found
