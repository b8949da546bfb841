from typing import final

from turnout_fastpath import Decision, Request

def read_request(message: bytes, max_text_bytes: int) -> Request | None:
    """The engine's request of a RouteRequest's bytes.

    None where `codec.read_request` must read the parsed message: it has an error to name, asks for an explanation, or
    is legal and odd. What is read here reads the same there.

    Args:
        message: the bytes; the request's texts stay in them.
        max_text_bytes: most bytes of text.
    """

@final
class ResponseWriter:
    """Writes decisions as RouteResponse's bytes. For one thread."""

    def write(self, decision: Decision) -> bytes:
        """The bytes of what `codec.write_response` fills, but for an explanation, which is left out."""
