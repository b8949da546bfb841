"""A process that records as fast as it can until it is killed; `test_killed.py` runs it.

It forks once for each line that it reads, the path of a store, so that Python starts only once. The child prints its
process id, and then each record that it was told is safe, before the next one is made.
"""

from __future__ import annotations

import itertools
import os
import sys
import time

from turnout_server.quality.store.place import find_place
from turnout_server.quality.store.store import Options, OutcomeStore

from tests.server.quality.store.examples import PRICE, attempt, cost


def record(path: str) -> None:
    place = find_place(path)
    assert place is not None
    store = OutcomeStore(place, Options(flush_s=0.1))
    for number in itertools.count():
        if store.record_cost(cost(f"a{number}", f"d{number}"), PRICE):
            os.write(1, b"cost %d\n" % number)
        store.record_attempt(attempt(f"a{number}", f"d{number}", begun_ms=int(time.time() * 1000)))
        os.write(1, b"detail %d %d\n" % (number, time.time_ns() // 1_000_000))


def main() -> None:
    for line in sys.stdin:
        child = os.fork()
        if not child:
            record(line.strip())
        os.waitpid(child, 0)
        os.write(1, b"ended\n")


if __name__ == "__main__":
    main()
