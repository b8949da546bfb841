"""Whether the compiled codec and the protobuf library's path say the same of some bytes.

python -m tests.server.compiled.agreement --cases 1000000 --seed 1
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from pathlib import Path
from random import Random

from google.protobuf.message import DecodeError
from turnout.v1.routing_pb2 import RouteRequest, RouteResponse
from turnout_fastpath import Decision, Engine, Request, RouteError
from turnout_server.doors import codec
from turnout_server.doors.compiled.codec import ResponseWriter, read_request

from tests.server.compiled.wire_soup import damaged, ordinary_request, soup
from tests.server.small_bundle import make_small_bundle

MAX_TEXT_BYTES = 900
# So that explored decisions compare.
DECISION_ID = "0123456789abcdef0123456789abcdef"


class Disagreement(AssertionError):
    """The two paths differ."""


class Comparison:
    """Both paths over one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writer = ResponseWriter()

    def compare(self, data: bytes) -> str:
        """What became of the bytes: read, or left to the library and there read, refused or malformed.

        Raises:
            Disagreement: the compiled path read what the library's path does not, or otherwise.
        """
        ours = read_request(data, MAX_TEXT_BYTES)
        try:
            message = RouteRequest.FromString(data)
        except DecodeError:
            if ours is not None:
                raise Disagreement(f"read what is no message: {data!r}") from None
            return "malformed"
        try:
            theirs = codec.read_request(message, max_text_bytes=MAX_TEXT_BYTES)
        except RouteError as error:
            if ours is not None:
                raise Disagreement(f"read what is refused ({error}): {data!r}") from None
            return "refused"
        if ours is None:
            return "odd"
        mine, other = self._decide(ours), self._decide(theirs)
        if isinstance(mine, Decision) and isinstance(other, Decision):
            self._compare_decisions(mine, other, data)
        elif str(mine) != str(other):
            raise Disagreement(f"{mine} and {other}: {data!r}")
        return "read"

    def _decide(self, request: Request) -> Decision | RouteError:
        return self._engine.route_many([request])[0]

    def _compare_decisions(self, mine: Decision, other: Decision, data: bytes) -> None:
        written = self._writer.write(mine)
        if written != codec.write_response(mine, RouteResponse()).SerializeToString():
            raise Disagreement(f"written otherwise: {written!r} for {data!r}")
        if (
            mine.propensity != 1
            or mine.digest != other.digest
            or str(mine.candidates) != str(other.candidates)
        ):
            raise Disagreement(f"{mine} and {other}: {data!r}")


def draw(random: Random) -> bytes:
    """One case."""
    if random.random() < 0.5:
        return soup(random)
    data = ordinary_request(random).SerializeToString()
    return damaged(random, data) if random.random() < 0.6 else data


def main() -> None:
    """Compares many cases and prints what became of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        comparison = Comparison(Engine.load(make_small_bundle(Path(folder) / "bundle")))
        seen = Counter(
            comparison.compare(draw(Random(f"{options.seed} {case}"))) for case in range(options.cases)
        )
    print(f"{options.cases} cases agree: {dict(seen)}")


if __name__ == "__main__":
    main()
