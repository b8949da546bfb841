"""The text features, from the definitions in text.pyi, on Python strings and regular expressions."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from turnout_fastpath.text_features import FEATURE_NAMES
from turnout_fastpath.training.word_classes import SEQUENCE_CHARS, SEQUENCE_LANGUAGES, WORDS, WordClass

LIMIT = 1 << 20
BLANK = " \t\n\v\f\r"
ASCII_MARKS = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
CODE_PAIRS = [
    "==",
    "!=",
    "<=",
    ">=",
    "=>",
    "->",
    "::",
    "&&",
    "||",
    "+=",
    "-=",
    "*=",
    "/=",
    ":=",
    "/*",
    "*/",
    "</",
    "/>",
    "<<",
    ">>",
    "++",
]
JSON_PAIRS = ['":', '{"', "[{", "},", '"}', "}]"]
CLOSERS = "[\"')\\]*’”»]*"
SENTENCE_END = re.compile(rf"[.!?](?={CLOSERS}(?:[{BLANK}]|\Z))|[。！｡…।۔？؟]")
DATE = "[0-9]{4}[-/][0-9]{2}[-/][0-9]{2}"
LEVEL = f"(?:TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|FATAL|CRITICAL)(?:[:\\]{BLANK}]|\\Z)"
LOG_OPENING = re.compile(rf'[\[(]?{DATE}|File "|Traceback \(|\[?{LEVEL}')
FAULT = re.compile("(?i:error|exception|warn|warning|fatal|critical|panic):", re.ASCII)
LIST_ITEM = re.compile(r"[-*+][ \t]|[–—] |[0-9]{1,3}(?:、|[.)][ \t])|\([0-9]{1,3}\)[ \t]|[·•‣●◦▪①-⑳]")
MATH_BEYOND_ASCII = re.compile(
    "[±²³¹×÷\u2070-\u209f\u2200-\u22ff\u27c0-\u27ef\u2980-\u2aff]",
)
MONEY = re.compile(r"\$\$|(\$(?=[0-9])|(?<=[0-9])%|(?<=[0-9] )%|[\u00a2-\u00a5\u20a0-\u20cf％￥])")

SCRIPTS = {
    "LATIN": "latin",
    "CYRILLIC": "cyrillic",
    "GREEK": "greek",
    "ARABIC": "arabic",
    "HEBREW": "hebrew",
    "THAI": "thai",
    "LAO": "thai",
    "HANGUL": "hangul",
    "HIRAGANA": "kana",
    "KATAKANA": "kana",
    "KATAKANA-HIRAGANA": "kana",
    "CJK": "han",
    "IDEOGRAPHIC": "han",
} | dict.fromkeys(
    [
        "DEVANAGARI",
        "BENGALI",
        "TAMIL",
        "TELUGU",
        "GUJARATI",
        "GURMUKHI",
        "KANNADA",
        "MALAYALAM",
        "ORIYA",
        "SINHALA",
    ],
    "indic",
)
BASE_LETTERS = {
    "ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i", "ħ": "h",
    "ς": "σ",
}  # fmt: skip


@dataclass(frozen=True)
class Word:
    """A word, or the words of a run of one of h (Han and kana), t (Thai and Lao) and k (Hangul)."""

    start: int
    end: int
    text: str
    run: str

    @property
    def pieces(self) -> list[str]:
        """The words' characters."""
        size = {"h": 2, "t": 4}.get(self.run, len(self.text))
        return [self.text[at : at + size] for at in range(0, len(self.text), size)]


@cache
def is_letter(char: str) -> bool:
    """Category L."""
    return unicodedata.category(char)[0] == "L"


@cache
def script(char: str) -> str:
    """The script of a letter, or ""."""
    return SCRIPTS.get(unicodedata.name(char, "").split(" ")[0], "") if is_letter(char) else ""


@cache
def shape(char: str) -> str:
    """What a character does in a word."""
    if char == "_" or char.isdecimal():
        return "w"
    if unicodedata.category(char)[0] == "M":
        return "m"
    if is_letter(char):
        return {"han": "h", "kana": "h", "thai": "t", "hangul": "k"}.get(script(char), "w")
    return "a" if char in "'’" else " "


def find_words(text: str) -> list[Word]:
    """All words and runs, in order."""
    shapes = "".join(map(shape, text))
    words = []
    for match in re.finditer("w[wm]*(?:aw[wm]*)*|h[hm]*|t[tm]*|k[km]*", shapes):
        part = text[match.start() : match.end()]
        if any(is_letter(char) or char.isdecimal() for char in part):
            run = match.group()[0]
            words.append(Word(match.start(), match.end(), part, "" if run == "w" else run))
    return words


def fold(char: str) -> str:
    """A character without case and accents."""
    if "\xc0" <= char < "\u0700":
        plain = "".join(
            c for c in unicodedata.normalize("NFD", char.lower()) if unicodedata.category(c) != "Mn"
        )
        return BASE_LETTERS.get(plain, plain)
    return char.lower() if char < "\x80" else char


@cache
def lexicon() -> tuple[dict[str, set[WordClass]], dict[str, set[WordClass]]]:
    """Classes of folded words and of sequences."""
    words: dict[str, set[WordClass]] = {}
    sequences: dict[str, set[WordClass]] = {}
    for word_class, languages in WORDS.items():
        for language, entries in languages.items():
            for entry in unicodedata.normalize("NFC", entries).split():
                if language in SEQUENCE_LANGUAGES:
                    sequences.setdefault(entry, set()).add(word_class)
                else:
                    words.setdefault("".join(map(fold, entry)), set()).add(word_class)
    return words, sequences


def classes_of(word: Word) -> Iterator[tuple[WordClass, int]]:
    """Classes of a word, or of a run's sequences, with the number of characters read."""
    words, sequences = lexicon()
    if not word.run:
        for word_class in words.get("".join(map(fold, word.text.replace("’", "'"))), ()):
            yield word_class, 0
        return
    for end in range(1, len(word.text) + 1):
        for size in range(1, min(SEQUENCE_CHARS, end) + 1):
            for word_class in sequences.get(word.text[end - size : end], ()):
                yield word_class, end


def opens_with_question(words: list[Word]) -> bool:
    """Of the first word."""
    if not words:
        return False
    if words[0].run:
        return any(c == WordClass.QUESTION and end <= 8 for c, end in classes_of(words[0]))
    return any(c in (WordClass.QUESTION, WordClass.AUXILIARY) for c, _ in classes_of(words[0]))


def is_identifier(word: Word, text: str) -> bool:
    """A name as in code."""
    if word.run:
        return False
    if "_" in word.text and any(map(is_letter, word.text)):
        return True
    if re.search("[a-z][A-Z]", word.text):
        return True
    calls = text.startswith("(", word.end) and not text.startswith("(s)", word.end)
    return calls and len(word.text) >= 2 and word.text[0] not in "0123456789"


def find_numbers(words: list[Word], text: str) -> list[int]:
    """Digits of each number."""
    numbers: list[int] = []
    last_end = -1
    for word in words:
        digits = re.match(r"\d*", word.text)
        if word.run or not digits or not digits.group():
            continue
        if last_end >= 0 and last_end == word.start - 1 and text[last_end] in ".,:":
            numbers[-1] += digits.end()
        else:
            numbers.append(digits.end())
        last_end = word.start + digits.end()
    return numbers


def count_sentences(words: list[Word], text: str) -> int:
    """Ends with a word before."""
    sentences = 0
    ends = [match.start() for match in SENTENCE_END.finditer(text)] + [len(text)]
    behind = 0
    for end in ends:
        sentences += any(behind <= word.start < end for word in words[first_behind(words, behind) :])
        behind = end
    return sentences


def first_behind(words: list[Word], at: int) -> int:
    """Index of the first word that starts at `at` or behind."""
    low, high = 0, len(words)
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if words[middle].start < at else (low, middle)
    return low


def count_pairs(text: str, pairs: list[str], runs_once: bool) -> int:
    """Neighbouring characters that are a pair."""
    found = 0
    for at in range(1, len(text)):
        if text[at - 1 : at + 1] in pairs:
            in_run = text[at - 1] == text[at] and text[max(at - 2, 0) : at - 1] == text[at]
            found += not (runs_once and in_run)
    return found


def is_path(chunk: str) -> bool:
    """Is the chunk a path, a URL or a mail address?"""
    if "://" in chunk or re.search(r"[A-Za-z0-9_]@[A-Za-z0-9_]|:\\[A-Za-z]", chunk):
        return True
    slashes = [match.start() for match in re.finditer(r"(?<!<)/(?=[A-Za-z._])", chunk)]
    return len(slashes) >= 2 or any(at == 0 or chunk[at - 1] in ".~\"'`(=:" for at in slashes)


def is_operation(text: str, at: int) -> bool:
    """An ASCII operator between operands."""
    spaced = text[at - 1 : at] == " " if at else False
    if (text[at + 1 : at + 2] == " ") != spaced:
        return False
    left = text[at - 1 - spaced] if at - 1 - spaced >= 0 else "\n"
    right = text[at + 1 + spaced : at + 2 + spaced]
    if not re.fullmatch(r"[A-Za-z0-9)\]}][A-Za-z0-9(\[{\\]", left + right):
        return False
    if text[at] in "=+^":
        return True
    return (spaced or text[at] != "-") and (left.isdigit() or right.isdigit())


def count_latex(line: str) -> int:
    """Marks of LaTeX in a line."""
    marks = len(re.findall(r"(?<!:)\\[A-Za-z]{2}|(?<=:)\\(?![A-Za-z])[(\[]|(?<!:)\\[(\[]|[\^_]{", line))
    opened = False
    for match in re.finditer(r"\$\$|\$", line):
        before, behind = line[match.start() - 1 : match.start()], line[match.end() : match.end() + 1]
        if match.group() == "$$" or (opened and before not in BLANK and behind not in tuple("0123456789")):
            marks += 1
            opened = False
        else:
            opened = True
    return marks


def is_log_line(line: str) -> bool:
    """A line of a log or of a stack trace."""
    content = line.lstrip(BLANK)
    if LOG_OPENING.match(content) or (content != line and content.startswith("at ")):
        return True
    return bool(re.search("[0-9]:[0-9]{2}:[0-9]{2}", line) or FAULT.search(line))


def is_field_line(line: str, words: list[Word]) -> bool:
    """`words` are those of the line, with places in the line."""
    content = line.lstrip(BLANK)
    start = len(line) - len(content)
    colon = re.search("[:：]", content)
    if not colon:
        return False
    name, behind = content[: colon.start()], content[colon.end() : colon.end() + 1]
    pieces = sum(len(word.pieces) for word in words if word.start < start + len(name))
    return (
        1 <= pieces <= 3
        and len(name) <= 32
        and not re.search("[^A-Za-z0-9 \\-*_\"'()/.#&>\x80-\U0010ffff]", name)
        and (colon.group() == "：" or behind in ("", '"', *BLANK))
    )


def scanned(data: bytes) -> str:
    """The characters that end within the limit."""
    if len(data) <= LIMIT:
        return data.decode("utf-8", "replace")
    whole = data[: LIMIT + 4].decode("utf-8", "replace")
    for cut in range(LIMIT, LIMIT - 4, -1):
        head = data[:cut].decode("utf-8", "replace")
        if head + data[cut : LIMIT + 4].decode("utf-8", "replace") == whole:
            return head
    raise AssertionError("a character of five bytes")


def count_lines(text: str, words: list[Word]) -> Counter[str]:
    """The features that are counted by line."""
    counts: Counter[str] = Counter()
    at = 0
    for line in text.split("\n"):
        first, behind = first_behind(words, at), first_behind(words, at + len(line))
        inside = [Word(w.start - at, w.end - at, w.text, w.run) for w in words[first:behind]]
        at += len(line) + 1
        content = line.lstrip(BLANK)
        if not content:
            continue
        counts["lines"] += 1
        counts["indented_lines"] += line.startswith(("\t", "  "))
        counts["code_fences"] += content.startswith(("```", "~~~"))
        counts["inline_code_spans"] += sum(len(run) <= 2 for run in re.findall("`+", line)) // 2
        counts["quoted_lines"] += content.startswith(">")
        counts["list_items"] += bool(LIST_ITEM.match(content))
        counts["answer_options"] += bool(re.match(r"[A-Ja-j][.):][ \t]", content))
        counts["table_lines"] += len(re.findall(r"(?<!\|)\|(?!\|)", line)) >= 2 or content.count("\t") >= 2
        counts["markup_tags"] += len(re.findall("<(?:[A-Za-z!]|/[A-Za-z])[^<>]*>", line))
        counts["latex_marks"] += count_latex(line)
        counts["log_lines"] += is_log_line(line)
        counts["field_lines"] += is_field_line(line, inside)
    return counts


def scan(text: str | bytes) -> npt.NDArray[np.float32]:
    """All features, in the order of FEATURE_NAMES."""
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    text = scanned(data)
    words = find_words(text)
    counts = count_lines(text, words)
    counts["bytes"] = len(data)
    counts["chars"] = len(text)
    counts["words"] = sum(len(word.pieces) for word in words)
    counts["longest_word_chars"] = max((len(piece) for word in words for piece in word.pieces), default=0)
    counts["sentences"] = count_sentences(words, text)
    numbers = find_numbers(words, text)
    counts["numbers"] = len(numbers)
    counts["longest_number_digits"] = max(numbers, default=0)
    counts["identifiers"] = sum(is_identifier(word, text) for word in words)
    counts["code_marks"] = (
        len(re.findall(r"[{}]|;(?=[\n\r]|\Z)", text)) + count_pairs(text, CODE_PAIRS, runs_once=True)
    )  # fmt: skip
    counts["json_marks"] = count_pairs(text, JSON_PAIRS, runs_once=False)
    counts["paths_and_urls"] = sum(map(is_path, re.split(f"[{BLANK}]", text)))
    counts["math_marks"] = sum(
        is_operation(text, match.start()) for match in re.finditer("[-=+^*/<>]", text)
    ) + sum(not is_letter(char) for char in MATH_BEYOND_ASCII.findall(text))
    counts["money_and_percent"] = sum(bool(match.group(1)) for match in MONEY.finditer(text))
    counts["question_marks"] = len(re.findall("[?？؟]", text))
    counts["answer_options"] += len(re.findall(rf"(?<![^{BLANK}])\([A-Ja-j]\)(?![^{BLANK}])", text))
    counts["quotations"] = text.count('"') // 2 + len(re.findall("[“«「『]", text))
    counts["opens_with_question"] = opens_with_question(words)
    for word in words:
        for word_class, _ in classes_of(word):
            counts[f"{word_class.name.lower()}_words"] += 1

    categories = Counter(map(unicodedata.category, text))
    apostrophes = sum(len(re.findall("['’]", word.text)) for word in words)
    letters = sum(n for category, n in categories.items() if category[0] == "L")
    shares = {
        "letter_share": letters,
        "upper_share": categories["Lu"] + categories["Lt"],
        "digit_share": categories["Nd"],
        "punctuation_share": sum(n for category, n in categories.items() if category[0] in "PS")
        - apostrophes,
        "non_ascii_share": sum(char > "\x7f" for char in text),
    }
    values: dict[str, float] = {name: n / len(text) if text else 0 for name, n in shares.items()}
    by_script = Counter(map(script, text))
    by_script["accented_latin"] = sum(script(char) == "latin" for char in text if char > "\x7f")
    for name in ("latin", "accented_latin", *sorted({*SCRIPTS.values()} - {"latin"})):
        values[f"{name}_share"] = by_script[name] / letters if letters else 0
    values["mean_word_chars"] = sum(len(word.text) for word in words) / counts["words"] if words else 0
    counts["emoji"] = sum(
        "\u2600" <= char <= "\u27bf" or "\U0001f000" <= char <= "\U0001faff" or char in "\u2b50\u2b55"
        for char in text
    )
    return np.array([values.get(name, counts[name]) for name in FEATURE_NAMES], np.float32)
