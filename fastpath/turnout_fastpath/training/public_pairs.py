"""The public routing labels (pairs.parquet of the data folder) as rows for the heads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet

# Which recorded pairs speak for which head. The weak model of a pair stands for the head's tier below the top of its
# source: LLMRouter's own llama-3.1-8b scores .59 where its strongest has .65 and mistral-7b .39, so it is the middle of
# three there.
HEAD_MODELS: dict[str, tuple[str, ...]] = {
    "small": (
        "Meta-Llama-3.1-8B-Instruct",
        "Meta-Llama-3_1-8B-Instruct",
        "Mixtral-8x7B-Instruct-v0.1",
        "claude-3-haiku-20240307",
        "gpt-3.5-turbo-0125",
        "mistral-7b-instruct-v0.3",
        "mistralai/Mixtral-8x7B-Instruct-v0.1",
    ),
    "mid": ("gemini-1.5-flash-002", "gpt-4o-mini-2024-07-18", "llama-3.1-8b-instruct"),
}
# Recorded models that stand for no tier: the GPT-3 verifiers of 2021.
OTHER_MODELS = ("gpt3-6b-verifier", "gpt3-175b-verifier")
# A graded score may be this much below the top's and still suffice; exact scores may not.
GRADED_SLACK = 0.05
SOURCE_TASKS = {
    "chat": "chat",
    "code": "code",
    "knowledge": "knowledge",
    "math": "math",
    "reasoning": "reasoning",
}
# Sources, and categories of one, with the same questions are one family: no text tells them apart.
FAMILIES = {"routellm_gsm8k": "gsm8k", "zeroeval_gsm": "gsm8k", "llmrouter_mix/gsm8k": "gsm8k"}


@dataclass(frozen=True)
class PublicRow:
    """One prompt and one pair of models.

    Attributes:
        id: of the prompt.
        head: the head that the pair speaks for.
        suffices: the weak model's score is at least the strong one's, or within the slack on graded scores.
        gain: strong score - weak score.
        group: equal for the same question in different sources.
    """

    id: str
    prompt: str
    source: str
    task: str
    category: str
    head: str
    weak_model: str
    strong_model: str
    suffices: bool
    gain: float
    group: str

    @property
    def kind(self) -> str:
        """Family and subject."""
        own = f"{self.source}/{self.category}"
        return f"{FAMILIES.get(own, FAMILIES.get(self.source, self.source))}/{self.category}"


def load_public(folder: Path) -> list[PublicRow]:
    """Rows of `folder`/public/pairs.parquet whose weak model stands for a head."""
    head_of = {model: head for head, models in HEAD_MODELS.items() for model in models}
    table = pyarrow.parquet.read_table(folder / "public" / "pairs.parquet")
    rows = []
    for row in table.to_pylist():
        head = head_of.get(row["weak_model"])
        if head is None:
            continue
        graded = {row["weak_score"], row["strong_score"]} - {0.0, 1.0}
        gain = row["strong_score"] - row["weak_score"]
        rows.append(
            PublicRow(
                id=row["id"],
                prompt=row["prompt"],
                source=row["source"],
                task=SOURCE_TASKS[row["task"]],
                category=row["category"],
                head=head,
                weak_model=row["weak_model"],
                strong_model=row["strong_model"],
                suffices=gain <= (GRADED_SLACK if graded else 0.0),
                gain=gain,
                group=row["group"],
            )
        )
    return rows
