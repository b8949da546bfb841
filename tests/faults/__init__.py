"""A fake upstream that speaks three wires and fails in every way that an upstream can.

It knows nothing of the project that is tested against it: what it counts, it saw on its own sockets.

    async with FaultServer(time_factor=0.01) as upstream:
        ...  # send a request for the model "cut" or "cut.my-label" to upstream.url
        assert upstream.ledger.count("cut") == 1
        assert upstream.ledger.of("cut")[0].left_after is None

Paths: /v1/chat/completions (or any that ends so), /v1/messages, /v1beta/models/MODEL:generateContent and
:streamGenerateContent. Each wire wants a key (any) in its own header, and refuses what its provider would refuse.
`python -m tests.faults --port 0` runs it as a process; `--list` prints the faults as JSON.
"""

from tests.faults.answer import Answer, Finish, ToolCall, Usage
from tests.faults.fault import WALL, Fault
from tests.faults.ledger import Ledger, Moment, SeenConnection, SeenRequest
from tests.faults.server import FaultServer
from tests.faults.wire import Wire

__all__ = [
    "WALL",
    "Answer",
    "Fault",
    "FaultServer",
    "Finish",
    "Ledger",
    "Moment",
    "SeenConnection",
    "SeenRequest",
    "ToolCall",
    "Usage",
    "Wire",
]
