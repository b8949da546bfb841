"""Keywords and phrases by regular expressions over str: the rules of keywords.pyx without an automaton.

A phrase is found as whole words, ASCII letters in either case, any white space as one space. A word is a run
of ASCII letters, digits, underscores and of characters beyond ASCII that are no punctuation. A phrase that
begins or ends in a script without spaces is found inside a run of such characters too. Letters beyond ASCII
match as written, in lower, upper, title and sentence case of the whole phrase.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

# Latin-1 marks, general punctuation, CJK punctuation, full-width forms of ASCII up to "_".
MARKS = "\u0080-\u00bf\u2000-\u207f\u3000-\u303f\uff00-\uff3f"
WORD = f"(?:[0-9A-Za-z_]|[^\\x00-\\x7f{MARKS}])"
NO_SPACES = re.compile(
    "[\u0e00-\u0eff\u1100-\u11ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\U00020000-\U0010ffff]"
)


def fold(text: str) -> str:
    """ASCII letters in lower case, each run of ASCII white space as one space."""
    lower = "".join(char.lower() if char.isascii() else char for char in text)
    return re.sub("[\t-\r ]+", " ", lower)


def spellings(phrase: str) -> set[str]:
    """The ways in which a phrase may be written."""
    if phrase.isascii():
        return {phrase}
    return {phrase, phrase.lower(), phrase.upper(), phrase.title(), phrase.capitalize()}


def pattern(spelling: str) -> str:
    """Regular expression of one spelling, for folded text."""
    words = fold(" ".join(spelling.split()))

    def boundary(char: str, expression: str) -> str:
        return expression if re.match(WORD, char) and not NO_SPACES.match(char) else ""

    return boundary(words[0], f"(?<!{WORD})") + re.escape(words) + boundary(words[-1], f"(?!{WORD})")


def scan(groups: Sequence[Sequence[str]], text: str) -> list[int]:
    """Numbers of the groups that have a phrase in the text."""
    folded = fold(text)
    return [
        i
        for i, phrases in enumerate(groups)
        if any(re.search(pattern(spelling), folded) for phrase in phrases for spelling in spellings(phrase))
    ]
