from typing import final

@final
class Message:
    """One message of Envoy's.

    Attributes:
        kind: number of the field of ProcessingRequest that is set; 0: none that is known.
        is_observed: whether the gateway reads no answer.
        end_of_stream: whether nothing more comes in this direction.
        body: of a body; empty otherwise.
        headers: pseudo-headers, and those whose names begin with `content-`, by name; the last one of a name counts.
        named: headers whose names begin with the prefix that was asked for, by name.
    """

    @property
    def kind(self) -> int: ...
    @property
    def is_observed(self) -> bool: ...
    @property
    def end_of_stream(self) -> bool: ...
    @property
    def body(self) -> bytes: ...
    @property
    def headers(self) -> dict[str, str]: ...
    @property
    def named(self) -> dict[str, str]: ...

def read_message(message: bytes, prefix: bytes) -> Message:
    """A ProcessingRequest's bytes; fields that nothing here asks for are skipped unread.

    Args:
        message: the bytes.
        prefix: of the names of headers that are read besides.

    Raises:
        google.protobuf.message.DecodeError: the bytes are none.
    """

def write_routed(headers: tuple[tuple[bytes, bytes], ...], body: bytes | None) -> bytes:
    """The bytes of a ProcessingResponse to a request's body: headers are set, and the route is chosen anew.

    Args:
        headers: names and values; a header that is there is overwritten.
        body: what takes the body's place; None: it stays.
    """
