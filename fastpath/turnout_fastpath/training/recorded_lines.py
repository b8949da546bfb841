"""Recorded pairs of models, as lines of the page on routing quality, and what a fit says of their rows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet

from turnout_fastpath.training.dataset import Dataset
from turnout_fastpath.training.evaluation.pair_measures import PairRows

Floats = npt.NDArray[np.floating[Any]]

SMALL, MID = 0, 1


@dataclass(frozen=True)
class Line:
    """One recorded pair of models: rows of pairs.parquet, and the head that speaks for the weak one."""

    name: str
    source: str
    pair_rank: int
    head: int


MMLU = Line("MMLU, Mixtral to GPT-4", "routellm_mmlu", 0, SMALL)
GSM8K = Line("GSM8K, Mixtral to GPT-4", "routellm_gsm8k", 0, SMALL)
MMLU_PRO = Line("MMLU-Pro, Mixtral to Gemini Pro", "mmlu_pro", 1, SMALL)
MMLU_PRO_LLAMA = Line("MMLU-Pro, Llama 8B to 70B", "mmlu_pro", 0, SMALL)
MMLU_PRO_FLASH = Line("MMLU-Pro, Gemini Flash to Pro", "mmlu_pro", 2, MID)
MIX = Line("LLMRouter mix, Mistral 7B to Nemotron", "llmrouter_mix", 0, SMALL)
MIX_MID = Line("LLMRouter mix, Llama 8B to Nemotron", "llmrouter_mix", 1, MID)
ZEROEVAL_GSM = Line("ZeroEval GSM8K, Haiku to Sonnet", "zeroeval_gsm", 0, SMALL)
ZEROEVAL_MATH = Line("ZeroEval MATH, Haiku to Sonnet", "zeroeval_math_l5", 0, SMALL)
ZEROEVAL_CRUX = Line("ZeroEval CRUX, Haiku to Sonnet", "zeroeval_crux", 0, SMALL)
# Those that have goals of their own.
NAMED = (MMLU, GSM8K, MMLU_PRO, MIX)
# The main pair of each source that RouteLLM, MMLU-Pro and LLMRouter recorded.
FIRST = (MMLU, GSM8K, MMLU_PRO_LLAMA, MIX)
LINES = (*NAMED, MMLU_PRO_LLAMA, MMLU_PRO_FLASH, MIX_MID, ZEROEVAL_GSM, ZEROEVAL_MATH, ZEROEVAL_CRUX)


@dataclass(frozen=True, eq=False)
class Pairs:
    """Recorded scores by line, at rows of a dataset."""

    dataset: Dataset
    table: list[dict[str, Any]]

    @classmethod
    def load(cls, dataset: Dataset, data: Path) -> Pairs:
        """Reads pairs.parquet of the public data."""
        return cls(dataset, pyarrow.parquet.read_table(data / "public" / "pairs.parquet").to_pylist())

    @cached_property
    def position(self) -> dict[str, int]:
        """Row of each id."""
        return {key: i for i, key in enumerate(self.dataset.ids.tolist())}

    def of(self, line: Line) -> list[tuple[int, dict[str, Any]]]:
        """The line's records, each with its row."""
        return [
            (self.position[record["id"]], record)
            for record in self.table
            if (record["source"], record["pair_rank"]) == (line.source, line.pair_rank)
            and record["id"] in self.position
        ]

    def rows(self, line: Line, scored: Scored, within: npt.NDArray[np.bool_] | None = None) -> PairRows:
        """The line with what was predicted, of rows that are `within`."""
        found = [one for one in self.of(line) if within is None or within[one[0]]]
        at = np.array([row for row, _ in found])
        weak, strong = (
            np.array([record[f"{side}_score"] for _, record in found]) for side in ("weak", "strong")
        )
        exact = np.isin(weak, (0, 1)) & np.isin(strong, (0, 1))
        return PairRows(
            gains=strong - weak,
            suffices=(strong - weak <= np.where(exact, 0, 0.05)).astype(float),
            weak=weak,
            strong=strong,
            expected_gain=scored.gains[at, line.head],
            trust=scored.p[at, line.head],
            texts=np.array([record["prompt"] for _, record in found], object),
            categories=np.array([record["category"] for _, record in found]),
            groups=np.array([record["group"] for _, record in found]),
            weights=np.ones(len(found)),
        )


@dataclass(frozen=True, eq=False)
class Scored:
    """What the recipe says of a dataset's rows: (n, scores), (n, heads) probabilities and gains."""

    scores: Floats
    p: Floats
    gains: Floats
