"""JSON as text, against the parser."""

from __future__ import annotations

import json
from time import process_time
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st
from turnout_server.doors.compiled.json_tokens import spans_of
from turnout_server.doors.ext_proc.json_text import close_cut, replace_texts

TEXTS = st.text(max_size=12) | st.sampled_from(
    ["model", "auto", '"', "\\", '\\"', "a\\", "\u0000", "\U0001f600"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.floats(-1e9, 1e9) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
DOCUMENTS = st.dictionaries(TEXTS, VALUES, max_size=5)


def written(document: Any, indent: int | None, ascii_only: bool) -> bytes:
    """Some way to write a document."""
    return json.dumps(document, indent=indent, ensure_ascii=ascii_only).encode()


@given(DOCUMENTS, TEXTS, TEXTS, st.sampled_from([None, 1]), st.booleans())
def test_only_the_documents_own_model_changes(
    document: dict[str, Any], model: str, other: str, indent: int | None, ascii_only: bool
) -> None:
    document["model"] = model
    body = written(document, indent, ascii_only)
    spans = spans_of(body, "model")
    assert [orjson.loads(body[slice(*span)]) for span in spans] == [model]
    rewritten = replace_texts(body, spans, other)
    assert json.loads(rewritten) == document | {"model": other}
    [(start, end)] = spans
    assert rewritten.startswith(body[:start]) and rewritten.endswith(body[end:])


@given(DOCUMENTS)
def test_without_one_there_is_no_span(document: dict[str, Any]) -> None:
    document.pop("model", None)
    assert spans_of(written(document, None, True), "model") == []


def test_a_model_that_is_no_text_is_none() -> None:
    for body in (
        b'{"model": 1}',
        b'{"model": null, "a": "auto"}',
        b'{"model": {"model": "auto"}}',
        b'["model", "auto"]',
    ):
        assert spans_of(body, "model") == []


def test_equal_keys_are_all_found() -> None:
    body = b'{"model":"a","mod\\u0065l":"b"}'
    assert replace_texts(body, spans_of(body, "model"), "c") == b'{"model":"c","mod\\u0065l":"c"}'


@given(DOCUMENTS, st.integers(1, 10_000), st.sampled_from([None, 1]), st.booleans())
def test_a_cut_document_is_closed(
    document: dict[str, Any], size: int, indent: int | None, ascii_only: bool
) -> None:
    body = written(document, indent, ascii_only)
    cut = body[: max(1, size % (len(body) + 1))]
    found = orjson.loads(close_cut(cut))
    assert isinstance(found, dict)
    for key, value in found.items():
        whole = document[key]
        if isinstance(whole, str):
            assert whole.startswith(value)
        elif not isinstance(whole, list | dict):
            assert value == whole


def test_a_cut_text_is_kept_as_far_as_it_goes() -> None:
    body = json.dumps({"messages": [{"role": "user", "content": "one two \u00e9 three"}]}).encode()
    at = body.index(b"three") + 2
    assert orjson.loads(close_cut(body[:at])) == {
        "messages": [{"role": "user", "content": "one two \u00e9 th"}]
    }
    for cut in range(1, len(body) + 1):
        orjson.loads(close_cut(body[:cut]))


def test_what_is_closed_costs_a_step_a_byte_however_deep_or_wrong_it_is() -> None:
    deep = b'{"model":"auto","messages":' + b"[" * 300_000
    wrong = b'{"model":"auto","messages":[{"role":"user","content":"\x01' + b"a" * 1_000_000
    began = process_time()
    assert close_cut(deep) == deep + b"]" * 300_000 + b"}"
    assert orjson.loads(close_cut(wrong)) == {"model": "auto", "messages": [{"role": "user"}]}
    # By squares, they would take minutes.
    assert process_time() - began < 5
