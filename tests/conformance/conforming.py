"""Runs a client's cases, and says of each what is not as its row wants it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from turnout.v1 import routing_pb2
from turnout_fastpath import Engine
from turnout_server.doors import codec

from tests.conformance import runners
from tests.conformance.expectations import differences
from tests.conformance.services import Services
from tests.conformance.table import Case, Row, make_cases


@dataclass(frozen=True)
class Verdict:
    """Of one case: what differs; nothing: it passed."""

    case: Case
    differences: tuple[str, ...]


def run_client(client: str, rows: list[Row], services: Services, scratch: Path) -> list[Verdict]:
    """All rows at all their services, by one client.

    Raises:
        RunnerError: the client's runner did not do its part.
    """
    cases = list(make_cases(rows, client))
    documents = [case.document(services.addresses[case.service]) for case in cases]
    outcomes = runners.run(client, documents, scratch)
    engine = Engine.load()
    verdicts = []
    for case in cases:
        seen = services.ledger.of(case.id, cancelled="cancelled" in case.row.expect)
        wanted = _decide(engine, case) if case.row.expect.get("as_engine") else []
        found = differences(case, outcomes[case.id], seen, wanted)
        verdicts.append(Verdict(case, tuple(found)))
    return verdicts


def _decide(engine: Engine, case: Case) -> list[routing_pb2.RouteResponse]:
    requests = [message for message in case.messages if isinstance(message, routing_pb2.RouteRequest)]
    decisions = [engine.decide(codec.read_request(request)) for request in requests]
    return [codec.write_response(decision, routing_pb2.RouteResponse()) for decision in decisions]
