"""What a wire format does: pure conversion, no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from turnout_server.completion.tokens import TokenCounts
from turnout_server.providers.chat import ChatResponse, Finished, StreamEvent
from turnout_server.providers.protocol import ProviderCall
from turnout_server.providers.sse import SseEvent
from turnout_server.providers.transport import HttpRequest


class NotCarried(ValueError):
    """The wire format has no way to say something of the request.

    Attributes:
        field: the request's field.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field


class UpstreamTold(Exception):
    """An error object within a response that began as a success.

    Attributes:
        error: the object, as the provider sent it; never shown.
    """

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__("an error within the response")
        self.error = error


@dataclass(frozen=True, slots=True)
class Encoded:
    """A request ready to be sent, and the fields of the asked one that it leaves out or clips."""

    http: HttpRequest
    ignored: tuple[str, ...] = ()


class StreamReader(Protocol):
    """Reads one stream; keeps what its end needs."""

    @property
    def usage(self) -> TokenCounts | None:
        """Token counts so far."""
        ...

    @property
    def finish_seen(self) -> bool:
        """True once the provider has said why it stopped: the content is whole then."""
        ...

    @property
    def ended(self) -> bool:
        """True once the wire format's own end mark has come."""
        ...

    def read(self, event: SseEvent) -> list[StreamEvent]:
        """What the event holds; never `Finished`.

        Raises:
            WireError: it is not what the wire format says.
            UpstreamTold: it is an error.
        """
        ...

    def finish(self) -> Finished:
        """The last event, once `finish_seen`."""
        ...


class WireFormat(Protocol):
    """One provider's way to write requests and responses."""

    def encode(self, call: ProviderCall, key: str | None, *, stream: bool) -> Encoded:
        """The HTTP request of a call.

        Raises:
            NotCarried: the wire format cannot say it.
        """
        ...

    def decode(self, body: bytes, call: ProviderCall) -> ChatResponse:
        """The answer in a whole body.

        Raises:
            WireError: the body is not what the wire format says.
            UpstreamTold: it is an error.
        """
        ...

    def reader(self, call: ProviderCall) -> StreamReader:
        """A reader for one stream."""
        ...
