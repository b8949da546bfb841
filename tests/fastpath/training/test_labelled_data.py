"""Files of labels: what is read of good ones, and what is said of bad ones."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st
from turnout_fastpath.training.data_errors import DataError
from turnout_fastpath.training.labelled_data import MAX_DEFECTS, read_labelled_data

BAD = Path(__file__).parent / "bad_data"
# A file has one defect, is named after it, and is refused with this line.
EXPECTED = {
    "blank_lines_only.jsonl": "no rows, needed: at least one",
    "content_part_unknown.jsonl": "row 2: messages[0].content[0].type: smell, limit: text, image_url, input_audio or file",
    "cost_below_zero.jsonl": "row 2: costs.small: -0.01, needed: a number of at least 0",
    "damaged.jsonl.gz": "damaged gzip after row 0: Compressed file ended before the end-of-stream marker was reached",
    "damaged.parquet": "damaged Parquet: Parquet magic bytes not found in footer. Either the file is corrupted or this is not a parquet file.",
    "empty.jsonl": "an empty file, needed: at least one row",
    "features_hold_null.jsonl": "row 2: features[1]: None, needed: a number",
    "features_hold_text.jsonl": "row 2: features[1]: 'x' is str, needed: a finite number",
    "features_of_two_revisions.jsonl": "row 2: features_revision: '00fe', needed: '00ff' as in earlier rows",
    "features_of_two_widths.jsonl": "row 2: features: 1 numbers, needed: 2 as in earlier rows",
    "features_without_revision.jsonl": "row 2: features_revision: absent, needed: the revision of the stored vector",
    "flat_score_above_one.jsonl": "row 2: score.small: 2, needed: a number from 0 to 1",
    "id_twice.jsonl": "row 2: id: 'a' is row 1's already, needed: unique ids",
    "line_is_a_list.jsonl": "row 2: list, needed: one JSON object a line",
    "line_is_no_json.jsonl": "row 2: no JSON: unexpected character, expected a JSON value: line 1 column 1 (char 0)",
    "lone_surrogate.jsonl": "row 2: no JSON: no low surrogate in string: line 1 column 24 (char 23)",
    "message_role_unknown.jsonl": "row 2: messages[1].role: boss, limit: user, assistant, system, developer, tool",
    "message_without_role.jsonl": "row 2: messages[0]: {'content': 'And a siding?'}, needed: an object with role and content",
    "messages_are_text.jsonl": "row 2: messages: 'And a siding?' is str, needed: a list of messages",
    "messages_without_user.jsonl": "row 2: messages: 1 messages without a user's turn, needed: one at least",
    "no_prompt.jsonl": "row 2: prompt: none given, needed: exactly one of prompt, messages and features",
    "no_scores.jsonl": "scores: no row has one, needed: scores, or columns score.NAME (columns it has besides: grade)",
    "not_utf8.jsonl": "row 2: byte 25 of the line is 0xfc, needed: UTF-8",
    "prompt_and_messages.jsonl": "row 2: prompt: prompt and messages given, needed: exactly one of prompt, messages and features",
    "prompt_is_a_number.jsonl": "row 2: prompt: 7 is int, needed: text",
    "propensity_above_one.jsonl": "row 2: propensity: 1.5, needed: a number above 0, at most 1",
    "propensity_zero.jsonl": "row 2: propensity: 0, needed: a number above 0, at most 1",
    "score_above_one.jsonl": "row 2: scores.small: 1.3, needed: a number from 0 to 1",
    "score_below_zero.jsonl": "row 2: scores.small: -0.5, needed: a number from 0 to 1",
    "score_given_twice.jsonl": "row 2: score.small: given twice, as scores and as score.small",
    "score_is_a_truth_value.jsonl": "row 2: scores.small: True is bool, needed: a number from 0 to 1",
    "score_is_text.jsonl": "row 2: scores.small: 'good' is str, needed: a number from 0 to 1",
    "score_name_empty.jsonl": "row 2: scores: '' names nothing, needed: 1 to 256 characters",
    "scores_are_a_list.jsonl": "row 2: scores: [1, 0] is list, needed: numbers by name",
    "scores_text_is_no_json.jsonl": "row 2: scores: 'small=1' is no JSON: unexpected character, expected a JSON value: line 1 column 1 (char 0)",
    "task_is_a_number.jsonl": "row 2: task: 3 is int, needed: text",
    "task_too_long.jsonl": "row 2: task: 300 characters, limit: 256",
    "tools_below_zero.jsonl": "row 2: tools: -1, needed: a number of at least 0",
    "weight_zero.jsonl": "row 2: weight: 0, needed: a number above 0",
}


def write(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """JSON Lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", EXPECTED)
def test_a_bad_file_is_refused_with_row_column_and_value(name: str) -> None:
    with pytest.raises(DataError) as caught:
        read_labelled_data(BAD / name)
    assert str(caught.value) == f"{BAD / name}: {EXPECTED[name]}"


def test_the_gallery_is_whole() -> None:
    assert {path.name for path in BAD.iterdir()} == set(EXPECTED)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        read_labelled_data(tmp_path / "none.jsonl")


def test_reading_ends_at_many_defects(tmp_path: Path) -> None:
    path = write(tmp_path / "bad.jsonl", [{"prompt": "x", "scores": {"a": 2}}] * (2 * MAX_DEFECTS))
    with pytest.raises(DataError) as caught:
        read_labelled_data(path)
    assert [defect.row for defect in caught.value.defects] == list(range(1, MAX_DEFECTS + 1))


def test_the_columns_of_the_schema(tmp_path: Path) -> None:
    path = tmp_path / "good.jsonl"
    lines = [
        {"id": 7, "prompt": "What is a turnout?", "task": "chat", "category": "track", "group": "g", "source": "s",
         "scores": {"small": 0.5}, "costs": {"small": 1e-5}, "score.large": 1, "weight": 2, "propensity": 0.25},
        {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "And"},
                      {"role": "assistant", "content": None},
                      {"role": "user", "content": [{"type": "text", "text": "a siding?"}]}], "seen": 3},
    ]  # fmt: skip
    path.write_bytes(
        b"\xef\xbb\xbf" + json.dumps(lines[0]).encode() + b"\r\n\n" + json.dumps(lines[1]).encode()
    )
    data = read_labelled_data(path)
    assert data.rows.tolist() == [1, 3]
    assert data.models == ("small", "large")
    assert data.ids[0] == "7" and len(data.ids[1]) == 16
    assert data.groups.tolist()[0] == "g"
    assert data.texts.tolist() == ["What is a turnout?", "And\na siding?"]
    np.testing.assert_equal(data.scores, [[0.5, 1.0], [np.nan, np.nan]])
    np.testing.assert_equal(data.costs, [[1e-5, np.nan], [np.nan, np.nan]])
    assert data.weights.tolist() == [2, 1] and data.propensities.tolist() == [0.25, 1]
    assert (data.tasks[0], data.categories[0], data.sources[0]) == ("chat", "track", "s")
    assert data.ignored == ("seen",)
    assert data.take(np.array([1])).texts.tolist() == ["And\na siding?"]


def test_parquet_says_what_json_lines_say(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {
            "id": f"r{i}",
            "prompt": f"question {i} of many",
            "scores": {"a": i / 10, "b": 1.0},
            "weight": 1.0 + i,
        }
        for i in range(10)
    ]
    plain = write(tmp_path / "rows.jsonl", rows)
    packed = tmp_path / "no_suffix"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    whole = pyarrow.Table.from_pylist(rows)
    pyarrow.parquet.write_table(whole, tmp_path / "struct.parquet")
    scores: Any = [list(row["scores"].items()) for row in rows]
    maps = pyarrow.array(scores, pyarrow.map_(pyarrow.string(), pyarrow.float64()))
    pyarrow.parquet.write_table(whole.set_column(2, "scores", maps), tmp_path / "map.parquet")
    texts = pyarrow.array([json.dumps(row["scores"]) for row in rows])
    pyarrow.parquet.write_table(whole.set_column(2, "scores", texts), tmp_path / "text.parquet")
    expected = read_labelled_data(plain)
    for name in ("no_suffix", "struct.parquet", "map.parquet", "text.parquet"):
        data = read_labelled_data(tmp_path / name)
        assert data.ids.tolist() == expected.ids.tolist() and data.models == expected.models
        assert data.groups.tolist() == expected.groups.tolist()
        np.testing.assert_equal(data.scores, expected.scores)
        np.testing.assert_equal(data.weights, expected.weights)


def test_a_bad_row_of_parquet_is_named_by_its_number(tmp_path: Path) -> None:
    path = tmp_path / "bad.parquet"
    column = pyarrow.array([b"fine", b"f\xfcr"], pyarrow.binary()).view(pyarrow.string())
    pyarrow.parquet.write_table(pyarrow.table({"prompt": column, "score.a": [1.0, 0.0]}), path)
    with pytest.raises(DataError, match=r"row 2: prompt: byte 2 is 0xfc, needed: UTF-8"):
        read_labelled_data(path)
    pyarrow.parquet.write_table(pyarrow.table({"prompt": ["a", "b"], "score.a": [1.0, 1.5]}), path)
    with pytest.raises(DataError, match=r"row 2: score.a: 1.5, needed: a number from 0 to 1"):
        read_labelled_data(path)
    pyarrow.parquet.write_table(pyarrow.table({"prompt": pyarrow.array([], pyarrow.string())}), path)
    with pytest.raises(DataError, match="no rows"):
        read_labelled_data(path)


def test_repeated_content_has_ids_of_its_own_and_one_group(tmp_path: Path) -> None:
    data = read_labelled_data(
        write(tmp_path / "rows.jsonl", [{"prompt": "hello", "score.a": i} for i in (0, 1, 1)])
    )
    assert len(set(data.ids.tolist())) == 3
    assert len(set(data.groups.tolist())) == 1


def test_a_made_up_id_never_is_a_given_one(tmp_path: Path) -> None:
    made = read_labelled_data(write(tmp_path / "one.jsonl", [{"prompt": "hello", "score.a": 1}])).ids[0]
    rows = [{"prompt": "hello", "score.a": 1}, {"id": str(made), "prompt": "other", "score.a": 1}]
    assert len(set(read_labelled_data(write(tmp_path / "two.jsonl", rows)).ids.tolist())) == 2


def test_traffic_needs_no_scores(tmp_path: Path) -> None:
    data = read_labelled_data(write(tmp_path / "rows.jsonl", [{"prompt": "hello"}]), scored=False)
    assert data.scores.shape == (1, 0)


def test_stored_vectors(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"features": [1, 2.5], "features_revision": "00ff", "score.a": 1},
        {"prompt": "hello", "score.a": 0},
        {"features": [1, 2.5], "features_revision": "00ff", "score.a": 0},
    ]
    data = read_labelled_data(write(tmp_path / "rows.jsonl", rows))
    np.testing.assert_equal(data.features, np.array([[1, 2.5], [np.nan] * 2, [1, 2.5]], np.float32))
    assert data.features_revision == "00ff"
    assert [request is None for request in data.requests] == [True, False, True]
    assert data.groups[0] == data.groups[2] != data.groups[1]


PAIR = {
    "source": "mmlu", "task": "knowledge", "category": "law", "group": "g1", "prompt": "Which?", "id": "mmlu:1",
}  # fmt: skip


def test_a_table_of_pairs_is_read_by_prompt(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        PAIR
        | {
            "weak_model": "w",
            "strong_model": "s",
            "weak_score": 0.0,
            "strong_score": 1.0,
            "weak_cost_usd": 0.1,
        },
        PAIR
        | {
            "weak_model": "v",
            "strong_model": "s",
            "weak_score": 1.0,
            "strong_score": 1.0,
            "weak_cost_usd": None,
        },
    ]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "pairs.parquet")
    data = read_labelled_data(tmp_path / "pairs.parquet")
    assert data.models == ("w", "s", "v")
    np.testing.assert_equal(data.scores, [[0, 1, 1]])
    np.testing.assert_equal(data.costs, [[0.1, np.nan, np.nan]])
    assert data.groups.tolist() == ["g1"] and data.categories.tolist() == ["law"]

    multi = {name: PAIR[name] for name in ("id", "source", "task", "category", "group")} | {
        "scores": '{"x": 0.5}'
    }
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([multi]), tmp_path / "multi.parquet")
    data = read_labelled_data(tmp_path / "multi.parquet")
    assert data.texts.tolist() == ["Which?"] and data.models == ("x",)
    (tmp_path / "pairs.parquet").unlink()
    with pytest.raises(DataError, match=r"prompt: absent, and no pairs\.parquet beside it"):
        read_labelled_data(tmp_path / "multi.parquet")


@given(st.lists(st.one_of(st.none(), st.floats(0, 1)), min_size=1, max_size=6))
def test_scores_come_back_as_written(scores: list[float | None]) -> None:
    path = Path(os.environ.get("TMPDIR", "/tmp")) / f"turnout_scores_{os.getpid()}.jsonl"
    try:
        write(
            path,
            [{"prompt": f"q{i}", "scores": {"m": score}} for i, score in enumerate(scores)]
            + [{"prompt": "z", "score.m": 1}],
        )
        data = read_labelled_data(path)
    finally:
        path.unlink()
    np.testing.assert_equal(data.scores[:-1, 0], [np.nan if score is None else score for score in scores])
