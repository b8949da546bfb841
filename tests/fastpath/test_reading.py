"""What the learned part reads equals the twin: the chosen text, both windows, and the counts beside them."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from turnout_fastpath import Request
from turnout_fastpath.reader import Reader, Reading
from turnout_fastpath.snapshot import ALL_FEATURE_NAMES
from turnout_fastpath.wordpiece import WordPiece

from tests.fastpath.synthetic import toy_vocabulary
from tests.fastpath.twins import reading
from tests.fastpath.twins.reading import Role

READER = Reader(toy_vocabulary())
TOKENIZER = WordPiece(toy_vocabulary())

Turns = list[tuple[Role, str]]
ROLES: st.SearchStrategy[Role] = st.sampled_from(["user", "assistant", "system", "developer", "tool"])
# Words of one piece, of several and of none; with and without spaces, so that windows end in every way.
RUNS = st.sampled_from(
    ["hello ", "writing code, ", "Ünïcode ", "中文", "x", "\t\n ", "日本語テキスト", "1234567 ", "é"]
)
TEXTS = st.lists(st.tuples(RUNS, st.integers(1, 400)), max_size=5).map(
    lambda runs: "".join(run * times for run, times in runs)
)
SHORT_TEXTS = st.text("ab é中.\n", max_size=60)


def encode(text: bytes, most: int) -> tuple[list[int], list[int], int]:
    ids, words, read = TOKENIZER.read(text, most)
    return ids.tolist(), words.tolist(), read


def check(turns: Turns) -> Reading:
    """Compares all that is read of these turns with the twin."""
    found = READER.read(Request(messages=turns, n_tools=3, tool_schema_bytes=1001, media_bytes=77))
    judged = reading.choose_text([(role, text.encode()) for role, text in turns])
    windows = reading.read_windows(encode, TOKENIZER.unk_id, judged.text)
    assert found.ids.tolist() == windows.ids
    assert found.n_unknown == windows.n_unknown
    assert found.head_words.tolist() == windows.head_words
    assert found.tail_words.tolist() == windows.tail_words
    expected = reading.context_features(
        judged, windows, n_messages=len(turns), n_tools=3, tool_schema_bytes=1001, media_bytes=77
    )
    values = dict(zip(ALL_FEATURE_NAMES, found.features.tolist(), strict=True))
    assert {name: values[name] for name in expected} == expected
    return found


def feature(found: Reading, name: str) -> float:
    return float(found.features[ALL_FEATURE_NAMES.index(name)])


@given(turns=st.lists(st.tuples(ROLES, SHORT_TEXTS | TEXTS), min_size=1, max_size=8))
def test_reading_equals_the_twin(turns: Turns) -> None:
    check(turns)


@given(text=TEXTS)
@example(text="hello " * 256)
@example(text="hello " * 257)
@example(text="x" * 100_000)
@example(text="é" * 5000)
@example(text=" " * 100_000 + "hello")
@example(text="hello " * 300 + " " * 2000)
def test_windows_equal_the_twin(text: str) -> None:
    check([("user", text)])


@given(
    turns=st.lists(st.tuples(ROLES, st.text("é中a", max_size=400)), max_size=4),
    last=st.text("aé", max_size=50),
)
def test_borrowed_turns_equal_the_twin(turns: Turns, last: str) -> None:
    check([*turns, ("user", last)])


def test_the_last_user_turn_is_judged_and_not_what_follows() -> None:
    question = "what is the sum of a poem and a capital, and how to prove it?"
    alone = READER.read(Request(question))
    later = READER.read(
        Request(messages=[("system", "x " * 9000), ("user", question), ("assistant", "The sum is")])
    )
    assert later.ids.tolist() == alone.ids.tolist()
    assert feature(later, "history_bytes") == len("The sum is")


def test_a_short_turn_is_read_behind_the_two_turns_before_it() -> None:
    turns: Turns = [
        ("user", "zzz"),
        ("user", "hello"),
        ("tool", "1"),
        ("assistant", ""),
        ("assistant", "the code"),
        ("user", "why"),
    ]
    found = READER.read(Request(messages=turns))
    assert found.ids.tolist() == TOKENIZER.encode("hello\nthe code\nwhy").tolist()
    assert feature(found, "borrowed_bytes") == len("hello\nthe code\n")


@pytest.mark.parametrize(("size", "borrowed"), [(47, True), (48, False)])
def test_a_turn_of_48_bytes_is_not_short(size: int, borrowed: bool) -> None:
    found = READER.read(Request(messages=[("user", "hello"), ("user", "x" * size)]))
    assert (feature(found, "borrowed_bytes") > 0) is borrowed


def test_a_request_that_is_judged_whole_has_no_other_tokens() -> None:
    found = READER.read(
        Request(messages=[("user", "how to write code " * 20), ("assistant", "a"), ("user", "why")])
    )
    unread = len("how to write code " * 20) - reading.BORROWED_BYTES
    assert feature(found, "request_tokens") == feature(found, "tokens") + unread // 4
    found = READER.read(
        Request(messages=[("user", "how to write code"), ("assistant", "a sum"), ("user", "why")])
    )
    assert feature(found, "request_tokens") == feature(found, "tokens")


def test_no_user_turn_reads_nothing() -> None:
    found = READER.read(Request(messages=[("system", "write code"), ("assistant", "hello")]))
    assert found.ids.size == found.head_words.size == found.tail_words.size == 0


def test_the_windows_are_the_first_256_and_the_last_128_pieces() -> None:
    found = READER.read(Request("hello " * 1000 + "code " * 1000))
    hello, code = TOKENIZER.encode("hello code").tolist()
    assert found.ids.tolist() == [hello] * 256 + [code] * 128
    assert feature(found, "tokens") == pytest.approx(2000, rel=0.02)


def test_windows_that_meet_read_each_piece_once() -> None:
    found = READER.read(Request("hello " * 300))
    assert len(found.ids) == 300
    assert feature(found, "tokens") == 300


def test_an_estimate_grows_with_the_bytes_not_read() -> None:
    tokens = [feature(READER.read(Request("write " * n)), "tokens") for n in (1000, 2000, 4000)]
    assert tokens == pytest.approx([1000, 2000, 4000], rel=0.01)
