from collections.abc import Iterable, Sequence
from typing import final

import numpy as np
import numpy.typing as npt

@final
class WordPiece:
    """The uncased BERT WordPiece tokenizer: clean, lower case, strip accents, split, longest match first.

    Text is str or UTF-8; invalid bytes and lone surrogates read as U+FFFD. Not thread-safe: the object caches words.
    """

    def __init__(self, vocabulary: Sequence[str], *, cache_slots: int = 4096) -> None:
        """Compiles a vocabulary, whose index is the piece's id.

        Args:
            vocabulary: pieces without repetition, "##" before a continued one; [UNK] is among them.
            cache_slots: words that are remembered with their pieces; a power of two.

        Raises:
            ValueError: no [UNK], a piece given twice, or no power of two.
        """

    @property
    def vocabulary(self) -> list[str]: ...
    @property
    def vocab_size(self) -> int: ...
    @property
    def unk_id(self) -> int: ...
    def encode(self, text: str | bytes, max_ids: int | None = None) -> npt.NDArray[np.int32]:
        """Ids of the text's pieces, (n,), without special ones; whole words only, at most `max_ids` pieces."""

    def words(self, text: str | bytes, max_ids: int | None = None) -> npt.NDArray[np.uint64]:
        """64-bit hashes of the normalised words that `encode` reads, (n,)."""

    def read(
        self, text: str | bytes, max_ids: int | None = None
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint64], int]:
        """What `encode` and `words` return, and the bytes of the text before the first word that did not fit."""

    def encode_many(self, texts: Iterable[str | bytes]) -> list[npt.NDArray[np.int32]]:
        """`encode` of each text."""
