from typing_extensions import Buffer

def blake2b_128(data: Buffer, chunk: int = 0) -> bytes:
    """BLAKE2b (RFC 7693) of bytes, unkeyed, 16 bytes long.

    Args:
        data: what to hash; writable or not.
        chunk: bytes that are added at a time; 0 means all at once. The hash does not depend on it.
    """

def strands_128(data: Buffer, *, vectors: bool = True) -> bytes:
    """Four such hashes, end to end: the k-th of the blocks k, k + 4, k + 8 and so on, of 128 bytes each.

    Args:
        data: whole groups of four blocks.
        vectors: all four at once, where the processor can; else one after another. The hashes are the same.

    Raises:
        ValueError: it is empty, or not whole groups.
    """
