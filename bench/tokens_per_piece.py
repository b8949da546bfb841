"""How many tokens of a model family one word piece of the bundle is, on the project's everyday prompts in English.

In other languages a piece of the bundle's vocabulary is a shorter stretch of text, and the ratio is lower (0.4 in Russian
to 0.8 in Chinese for o200k_base): the English one makes estimates err to the dear side.

`python -m bench.tokens_per_piece` prints families as the price table has them, for families whose vocabulary a package
ships: it needs bpe-openai, mistral-common and tiktoken, which the project does not. `--write` puts them into the table.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import turnout_fastpath
from turnout_fastpath import load_bundle
from turnout_fastpath.wordpiece import WordPiece
from turnout_server.planning.price_table import SHIPPED, Family, read_table, write_table

Count = Callable[[str], int]

# Prefixes in the price table, the vocabulary of those models, and what says so.
FAMILIES = (
    ("openai/gpt-3.5", "cl100k_base"),
    ("openai/gpt-4", "cl100k_base"),
    ("openai/gpt-4-turbo", "cl100k_base"),
    ("openai/gpt-4.1", "o200k_base"),
    ("openai/gpt-4.5", "o200k_base"),
    ("openai/gpt-4o", "o200k_base"),
    ("openai/gpt-5", "o200k_base"),
    ("openai/o1", "o200k_base"),
    ("openai/o3", "o200k_base"),
    ("openai/o4", "o200k_base"),
    ("azure/gpt-3.5", "cl100k_base"),
    ("azure/gpt-4", "cl100k_base"),
    ("azure/gpt-4o", "o200k_base"),
    ("mistral/", "tekken"),
)


def prompts() -> Iterator[str]:
    """Text of the last user turn of every everyday row in English."""
    folder = Path(turnout_fastpath.__file__).parent / "training" / "everyday"
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            messages = row.get("messages") or []
            if row.get("lang") == "en" and messages and messages[-1]["role"] == "user":
                yield messages[-1]["content"]


def read_counters() -> dict[str, Count]:
    """Counts of tokens by vocabulary."""
    import bpe_openai
    import mistral_common
    import tiktoken

    counters: dict[str, Count] = {}
    for name in ("cl100k_base", "o200k_base"):
        encoding = bpe_openai.get_encoding(name)
        counters[name] = partial(_count, encoding)
    newest = sorted((Path(mistral_common.__file__).parent / "data").glob("tekken_*.json"))[-1]
    told: dict[str, Any] = json.loads(newest.read_bytes())
    size = told["config"]["default_vocab_size"] - told["config"]["default_num_special_tokens"]
    ranks = {base64.b64decode(one["token_bytes"]): one["rank"] for one in told["vocab"][:size]}
    tekken = tiktoken.Encoding(
        "tekken", pat_str=told["config"]["pattern"], mergeable_ranks=ranks, special_tokens={}
    )
    counters["tekken"] = partial(_count, tekken)
    return counters


def _count(encoding: Any, text: str) -> int:
    return len(encoding.encode_ordinary(text))


def measure() -> tuple[Family, ...]:
    """The families, with two decimals."""
    pieces = WordPiece(load_bundle().vocabulary)
    texts = list(prompts())
    total = sum(len(pieces.encode(text)) for text in texts)
    ratios = {name: round(sum(map(count, texts)) / total, 2) for name, count in read_counters().items()}
    source = f"{len(texts)} everyday prompts in English"
    return tuple(Family(prefix, ratios[name], f"{name}, {source}") for prefix, name in FAMILIES)


def main() -> None:
    families = measure()
    for family in families:
        sys.stdout.write(f"{family.prefix} {family.tokens_per_piece} ({family.source})\n")
    if "--write" in sys.argv[1:]:
        write_table(replace(read_table(SHIPPED), families=families), SHIPPED)


if __name__ == "__main__":
    main()
