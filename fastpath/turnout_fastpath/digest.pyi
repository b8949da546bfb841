from typing_extensions import Buffer

def blake2b_128(data: Buffer, chunk: int = 0) -> bytes:
    """BLAKE2b (RFC 7693) of bytes, unkeyed, 16 bytes long.

    Args:
        data: what to hash; writable or not.
        chunk: bytes that are added at a time; 0 means all at once. The hash does not depend on it.
    """
