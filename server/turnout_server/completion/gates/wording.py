"""What a text says at its start: refusals and doubts in words, in linear time on slices of bounded length."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Any

import re2

from turnout_server.completion.gates.phrases import IDIOMS, LANGUAGES

LEAD_CHARS = 400
"""Characters of an answer in which a refusal must begin."""
LEAD_SENTENCES = 3
REST_CHARS = 4000
"""Characters after a refusal in which help is looked for."""
_QUOTE_CHARS = 300

# By opening mark, the marks that can close it.
_QUOTES = {'"': '"', "“": "”", "„": "“”", "«": "»", "»": "«", "「": "」", "『": "』"}
_DASHES = ("—", "–")
_MARKS = (*_QUOTES, *_DASHES)
_WIDE_CHARS = 2.5
"""Characters of alphabets that a Chinese, Japanese or Korean character stands for."""


def _compile(kind: str, whole: bool = False) -> Any:
    patterns = [pattern for phrases in LANGUAGES.values() for pattern in getattr(phrases, kind)]
    joined = "|".join(f"(?:{pattern})" for pattern in patterns)
    if whole:
        joined = rf"^[\s.,!¡:*。！]*(?:{joined})[\s.,!:*。！।]*$"
    options = re2.Options()
    options.max_mem = 64 << 20
    options.never_capture = True
    return re2.compile(unicodedata.normalize("NFKC", joined), options)


REFUSALS = _compile("refusal")
POLICIES = _compile("policy")
OFFERS = _compile("offer")
DOUBTS = _compile("unsure")
FILLERS = _compile("filler", whole=True)
_IDIOMS = re2.compile("|".join(f"(?:{idiom})" for idiom in IDIOMS))
# A letter written for the caller declines in the caller's name.
_SALUTATION = re2.compile(
    r"^(dear|hi|hello|hey|subject:|to whom|sehr geehrte|liebe|hallo|betreff:|cher|chère|madame|monsieur|bonjour|objet|"
    r"estimad|querid|asunto:|gentile|car[oa] |oggetto:|prezad|assunto:|beste|geachte|szanown|drog|уважаем|дорог|"
    r"здравствуйте|тема:|尊敬的|亲爱的|拝啓|sayın|प्रिय|عزيز)[^\n]{0,80}\n"
)
_SENTENCE_END = re2.compile(r"[.!?。।؟]+(?:\s|$)|[。।？！]|\n+")
_MARKUP = "*_#>`~ \n\t-"


def plain(text: str) -> str:
    """Text as the patterns expect it: lower case, compatibility forms resolved, plain apostrophes, single spaces."""
    folded = unicodedata.normalize("NFKC", text).lower()
    folded = folded.replace("’", "'").replace("‘", "'").replace("ʼ", "'").replace("**", "").replace("__", "")
    return "\n".join(" ".join(line.split()) for line in folded.split("\n")).strip(_MARKUP)


def without_quotes(text: str) -> str:
    """The text without what others say in it: quotations, and lines that begin with a dash of dialogue.

    A text that is nothing but a quotation stays as it is.
    """
    if not any(mark in text for mark in _MARKS):
        return text
    kept: list[str] = []
    at = 0
    line_begins = True
    while at < len(text):
        character = text[at]
        if line_begins and character in _DASHES:
            # Up to the dash before "he said", or to the end of the line.
            ends = [
                end for mark in ("\n", *_DASHES) if (end := text.find(mark, at + 1, at + _QUOTE_CHARS)) > 0
            ]
            if ends or len(text) - at <= _QUOTE_CHARS:
                at = min(ends, default=len(text))
                line_begins = False
                continue
        if closing := _QUOTES.get(character):
            end = min(
                (e for mark in closing if (e := text.find(mark, at + 1, at + _QUOTE_CHARS)) > 0), default=-1
            )
            if end > 0:
                kept.append(" ")
                at = end + 1
                line_begins = False
                continue
        line_begins = character == "\n" or (line_begins and character.isspace())
        kept.append(character)
        at += 1
    rest = "".join(kept)
    return rest if any(character.isalnum() for character in rest) else text


@dataclass(frozen=True)
class WordedRefusal:
    """A refusal at the start of a text.

    Attributes:
        policy: whether a policy, the law or safety is its reason.
        help_chars: length of what follows and is no offer, in characters of an alphabet.
    """

    policy: bool
    help_chars: float


def find_refusal(text: str) -> WordedRefusal | None:
    """The refusal that a text begins with; None if it does not."""
    # Some more than the lead: taking out quotations and marks shortens it.
    head = str(_IDIOMS.sub(" ", without_quotes(plain(text[: 2 * LEAD_CHARS]))))
    if _SALUTATION.search(head):
        return None
    lead = head[: _end_of_sentence(head, LEAD_SENTENCES)][:LEAD_CHARS]
    found = REFUSALS.search(lead)
    if found is None:
        return None
    rest = head[found.end() :] + plain(text[2 * LEAD_CHARS : 2 * LEAD_CHARS + REST_CHARS])
    policy = POLICIES.search(head[: _end_of_sentence(head, LEAD_SENTENCES + 1)]) is not None
    return WordedRefusal(policy, sum(map(length, _helping(rest))))


def count_doubts(text: str) -> int:
    """How often a text says in the first person that it is a guess."""
    return sum(1 for _ in DOUBTS.finditer(_IDIOMS.sub(" ", without_quotes(plain(text)))))


def length(text: str) -> float:
    """Length in characters of an alphabet: a character of Chinese, Japanese or Korean says as much as some of them."""
    wide = sum("\u3040" <= character <= "\u9fff" or "\uac00" <= character <= "\ud7a3" for character in text)
    return len(text) + (_WIDE_CHARS - 1) * wide


def _end_of_sentence(text: str, count: int) -> int:
    for number, end in enumerate(_SENTENCE_END.finditer(text), 1):
        if number == count:
            return int(end.end())
    return len(text)


def _helping(text: str) -> list[str]:
    """Sentences that are no offer to do something else."""
    sentences = []
    start = 0
    for end in _SENTENCE_END.finditer(text):
        sentences.append(text[start : end.end()])
        start = end.end()
    sentences.append(text[start:])
    return [sentence for sentence in sentences if OFFERS.search(sentence) is None]
