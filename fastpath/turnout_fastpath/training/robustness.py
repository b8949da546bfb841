"""Ways of writing the same request: a router that flips on a typo or on capitals judges the writing, not the request.

python -m turnout_fastpath.training.robustness     # writes robustness.jsonl anew, from the paraphrases and a seed
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from turnout_fastpath.engine import Engine
from turnout_fastpath.training.evaluation.bootstrap import Figure, GroupBootstrap
from turnout_fastpath.training.everyday_rows import load_paraphrases

FILE = Path(__file__).parent / "robustness.jsonl"
SEED = 20_26
# A typo for so many words, at least one.
WORDS_A_TYPO = 8
NEIGHBOURS = {
    "a": "qsz", "b": "vgn", "c": "xdv", "d": "sfe", "e": "wrd", "f": "dgr", "g": "fht", "h": "gjy", "i": "uok",
    "j": "hku", "k": "jli", "l": "kop", "m": "njk", "n": "bmh", "o": "ipl", "p": "ol", "q": "wa", "r": "etf",
    "s": "adw", "t": "ryg", "u": "yij", "v": "cbf", "w": "qes", "x": "zcs", "y": "tuh", "z": "xa",
}  # fmt: skip


@dataclass(frozen=True)
class Variant:
    """A request, and the same request written another way; `change` says how."""

    change: str
    text: str
    variant: str


def retype(text: str, source: random.Random) -> str:
    """Typos: a letter doubled, dropped, hit beside, or two letters swapped, once in WORDS_A_TYPO words."""
    words = text.split(" ")
    candidates = [i for i, word in enumerate(words) if len(word) >= 4 and word.isascii() and word.isalpha()]
    for i in source.sample(candidates, min(len(candidates), max(1, len(words) // WORDS_A_TYPO))):
        word, at = words[i], source.randrange(1, len(words[i]) - 1)
        words[i] = source.choice(
            [
                word[:at] + word[at] + word[at:],
                word[:at] + word[at + 1 :],
                word[:at] + source.choice(NEIGHBOURS[word[at].lower()]) + word[at + 1 :],
                word[:at] + word[at + 1] + word[at] + word[at + 2 :],
            ]
        )
    return " ".join(words)


def respace(text: str, source: random.Random) -> str:
    """Spaces before, after and doubled within, and a line's end."""
    words = text.split(" ")
    at = source.randrange(len(words))
    return "  " + " ".join([*words[:at], "", *words[at:]]) + " \n"


CHANGES: dict[str, Callable[[str, random.Random], str]] = {
    "lower case": lambda text, _: text.lower(),
    "upper case": lambda text, _: text.upper(),
    "spacing": respace,
    "typos": retype,
}


def make_variants() -> list[Variant]:
    """The paraphrases, and every other change of the same requests."""
    source = random.Random(SEED)
    pairs = load_paraphrases()
    made = [Variant("paraphrase", text, other) for text, other in pairs]
    for name, change in CHANGES.items():
        made += [Variant(name, text, change(text, source)) for text, _ in pairs]
    return made


def load_variants(path: Path = FILE) -> list[Variant]:
    """The committed set."""
    return [Variant(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def flips(engine: Engine, variants: Sequence[Variant]) -> dict[str, npt.NDArray[np.bool_]]:
    """By change, whether each variant lands on the other side of the bar that sends half of the texts to each side."""
    texts = sorted({variant.text for variant in variants} | {variant.variant for variant in variants})
    trusted = {text: _trust(engine, text) for text in texts}
    bar = float(np.median([trusted[text] for text in {variant.text for variant in variants}]))
    found: dict[str, list[bool]] = {}
    for one in variants:
        found.setdefault(one.change, []).append((trusted[one.text] >= bar) != (trusted[one.variant] >= bar))
    return {change: np.array(values) for change, values in found.items()}


def flip_figures(variants: Sequence[Variant], found: dict[str, npt.NDArray[np.bool_]]) -> dict[str, Figure]:
    """Share of flips of each change, and of "all" of them; variants of one text stand together."""
    texts = {change: np.array([one.text for one in variants if one.change == change]) for change in found}
    figures = {change: GroupBootstrap(texts[change]).mean(own.astype(float)) for change, own in found.items()}
    every = np.concatenate(list(found.values())).astype(float)
    return figures | {"all": GroupBootstrap(np.concatenate(list(texts.values()))).mean(every)}


def _trust(engine: Engine, text: str) -> float:
    found = engine.route(text).candidates[0].p_sufficient
    if found is None:
        raise ValueError("the cheapest tier has no head, so there is no bar to fall on either side of")
    return found


def main() -> None:
    """The command."""
    lines = [json.dumps(variant.__dict__, ensure_ascii=False) for variant in make_variants()]
    FILE.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
