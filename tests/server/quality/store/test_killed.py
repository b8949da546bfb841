"""A process is killed in the middle of its writing, again and again: no cost is lost, and of the detail the last second."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

from sqlalchemy import select
from turnout_server.quality.store.journal import left_over
from turnout_server.quality.store.place import find_place, make_engine
from turnout_server.quality.store.reading import find_damage
from turnout_server.quality.store.schema import ATTEMPTS, COSTS, PRICES
from turnout_server.quality.store.store import Options, OutcomeStore

KILLS = 20
# The last line that a kill may have cut off does not count: its record was not known to be safe.
ROOT = Path(__file__).resolve().parents[4]


def test_a_kill_loses_no_cost_and_at_most_the_last_second_of_detail(tmp_path: Path) -> None:
    source = random.Random(7)
    command = [sys.executable, "-m", "tests.server.quality.store.recording_child"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    recovered = 0
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, cwd=ROOT
    ) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        for kill in range(KILLS):
            path = tmp_path / f"{kill}.db"
            parent.stdin.write(f"{path}\n".encode())
            parent.stdin.flush()
            # Killed after so many lines: at another point of the batches each time.
            lines = [parent.stdout.readline() for _ in range(source.randint(1, 3000))]
            os.kill(_child_of(parent.pid), signal.SIGKILL)
            while (line := parent.stdout.readline()) != b"ended\n":
                lines.append(line)
            recovered += check(path, [line.split() for line in lines if line.endswith(b"\n")])
        parent.stdin.close()
        assert parent.wait(timeout=30) == 0
    # Some kills hit between a cost's safety and its way into the database, or the test would show nothing.
    assert recovered > 0


def check(path: Path, lines: list[list[bytes]]) -> int:
    """Opens what the killed process left; returns how many costs only the journal had."""
    safe = {f"a{int(words[1])}" for words in lines if words[0] == b"cost"}
    told = {f"a{int(words[1])}": int(words[2]) for words in lines if words[0] == b"detail"}
    place = find_place(str(path))
    assert place is not None
    store = OutcomeStore(place, Options())
    assert store.close(20)
    engine = make_engine(place, read_only=True)
    with engine.begin() as connection:
        assert find_damage(connection) == []
        costs = set(connection.execute(select(COSTS.c.attempt_id)).scalars())
        detail = set(connection.execute(select(ATTEMPTS.c.attempt_id)).scalars())
        versions = set(connection.execute(select(PRICES.c.version)).scalars())
        assert set(connection.execute(select(COSTS.c.price_version)).scalars()) <= versions
    engine.dispose()
    assert safe <= costs
    killed_ms = max(told.values(), default=0)
    assert {name for name, at_ms in told.items() if at_ms < killed_ms - 1000} <= detail
    assert left_over(place.journals) == []
    return store.counters.costs_recovered


def _child_of(pid: int) -> int:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    assert len(children) == 1
    return int(children[0])
