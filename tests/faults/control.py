"""What a test in another process may ask and change, over HTTP on the same port."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.faults.answer import Answer
from tests.faults.connection import Connection, HttpRequest
from tests.faults.fault import BY_NAME, Fault

if TYPE_CHECKING:
    from tests.faults.server import FaultServer

PREFIX = "/control/"


async def serve(server: FaultServer, connection: Connection, request: HttpRequest) -> None:
    """Answers one request for control; it does not count in the ledger.

    GET /control/seen: the ledger. POST /control/clear: forget it. POST /control/play with `model`, `fault`, `times`
    and `text` (all but the model optional). POST /control/down, with `fault` or without for 503, and /control/up: the
    outage. POST /control/release with `model`, or without for all. POST /control/drop-idle.
    """
    try:
        fields = json.loads(request.body or b"{}")
        content, status = _do(server, request.path.removeprefix(PREFIX), fields), 200
    except (KeyError, ValueError, TypeError) as error:
        content, status = {"error": repr(error)}, 400
    body = json.dumps(content).encode()
    head = (
        f"HTTP/1.1 {status} Control\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    await connection.send(head.encode() + body)


def _do(server: FaultServer, action: str, fields: dict[str, Any]) -> dict[str, Any]:
    match action:
        case "seen":
            return server.ledger.to_json()
        case "clear":
            server.ledger.clear()
        case "play":
            fault = BY_NAME[fields.get("fault", Fault.ORDINARY)]
            answer = Answer.of(fields["text"]) if "text" in fields else None
            server.play(fields["model"], fault, times=fields.get("times"), answer=answer)
        case "down":
            server.down = BY_NAME[fields.get("fault", Fault.UNAVAILABLE)]
        case "up":
            server.down = None
        case "release":
            server.release(fields.get("model"))
        case "drop-idle":
            return {"closed": server.drop_idle()}
        case _:
            raise ValueError(f"{action}: no such action")
    return {}
