from collections.abc import Iterable, Sequence
from os import PathLike
from typing import NamedTuple, final

import numpy as np
import numpy.typing as npt

class Span(NamedTuple):
    """What was read of a text.

    Attributes:
        ids: (n,) word pieces.
        words: (m,) 64-bit hash of each normalised word, as word_hash.pxd defines it. Words are BERT's: a
            punctuation mark or a CJK character is a word of its own. A word of over 100 characters has the
            hash of its first 100.
        bytes_read: of the UTF-8 text: all, or those before the first word that did not fit.
        n_unknown: number of `ids` that are [UNK].
    """

    ids: npt.NDArray[np.int32]
    words: npt.NDArray[np.uint64]
    bytes_read: int
    n_unknown: int

@final
class WordPiece:
    """The uncased BERT WordPiece tokenizer: clean, lower case, strip accents, split, longest match first.

    Text is str or UTF-8. Invalid bytes read as U+FFFD, which BERT drops; so do the lone surrogates of a str,
    which are encoded with "surrogatepass". No [CLS] or [SEP] is added, and "[SEP]" in a text is plain text.
    A word of over 100 characters is one [UNK]. The object caches words; its methods hold the GIL.
    """

    def __init__(self, vocabulary: Sequence[str] | str | PathLike[str], *, cache_slots: int = 8192) -> None:
        """Compiles a vocabulary, whose index is the piece's id.

        Args:
            vocabulary: pieces without repetition, "##" before a continued one; [UNK] is among them. Or the
                path of a vocab.txt with one piece a line.
            cache_slots: words that are remembered with their pieces, 64 bytes each; a power of two.

        Raises:
            ValueError: no [UNK], an empty piece, a piece given twice, no power of two, or a file that is not
                UTF-8.
            OSError: the file cannot be read.
        """

    @property
    def vocabulary(self) -> list[str]:
        """The pieces."""

    @property
    def vocab_size(self) -> int:
        """Number of pieces."""

    @property
    def unk_id(self) -> int:
        """The id of [UNK]."""

    def encode(self, text: str | bytes, max_ids: int | None = None) -> npt.NDArray[np.int32]:
        """Ids of the text's pieces, (n,), without special ones; whole words only, at most `max_ids` pieces.

        Raises:
            ValueError: `max_ids` is negative, or the text has over 2,147,483,647 bytes.
            TypeError: the text is neither str nor bytes.
        """

    def encode_many(
        self, texts: Iterable[str | bytes], max_ids: int | None = None
    ) -> list[npt.NDArray[np.int32]]:
        """`encode` of each text."""

    def words(self, text: str | bytes, max_ids: int | None = None) -> npt.NDArray[np.uint64]:
        """64-bit hashes of the normalised words that `encode` reads, (n,). Raises as `encode` does."""

    def read(
        self, text: str | bytes, max_ids: int | None = None
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint64], int]:
        """What `encode` and `words` return, and the bytes before the first word that did not fit."""

    def read_span(self, text: str | bytes, max_ids: int | None = None, max_words: int | None = None) -> Span:
        """Pieces and word hashes up to the first word that exceeds either limit. Raises as `encode` does."""
