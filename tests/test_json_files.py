"""JSON that is not as it was written gets a sentence."""

from pathlib import Path

import pytest

from clinaug_fast.errors import InputError
from clinaug_fast.json_files import read_json_lines, read_record, read_versioned, write_json_lines


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "Expecting property name"),
        ('{"a": NaN}', "it holds NaN"),
        ('{"a": -Infinity}', "it holds -Infinity"),
        (r'{"a": "\ud800"}', "surrogates not allowed"),
        ("[" * 100_000, "recursion"),
        ('{"a": 1' + "0" * 5000 + "}", "4300 digits"),
        ('{"a": "1"}', "its a is '1'"),
        ('{"a": true}', "its a is True"),
        ('{"a": 1, "b": [2, "3"]}', r"its b is \[2, '3'\]"),
        ('{"a": 1, "b": [2], "c": {"d": null}}', "in its c, its d is None"),
        ('{"a": 1, "b": [2]}', "in its c, it holds nothing"),
    ],
)
def test_damaged_json_gets_a_sentence(tmp_path: Path, text: str, reason: str):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(InputError, match=rf"x\.json is not a thing: .*{reason}.*\. Restore the file or make it anew"):
        read_record(tmp_path / "x.json", "a thing", {"a": int, "b": [int], "c": {"d": str}})


def test_lines_come_back_and_each_is_looked_at(tmp_path: Path):
    rows = [{"a": 1}, {"a": 2, "b": "ä"}]
    write_json_lines(tmp_path / "x.jsonl", rows)
    assert read_json_lines(tmp_path / "x.jsonl", "things", {"a": int}) == rows
    with pytest.raises(InputError, match=r"x\.jsonl is not things: its b is None"):
        read_json_lines(tmp_path / "x.jsonl", "things", {"b": str})


@pytest.mark.parametrize("text", ["{}", '{"schema_version": 2}', '{"schema_version": "3"}'])
def test_another_schema_version_and_none_are_refused(tmp_path: Path, text: str):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(InputError, match=r"x\.json is not of schema version 3\. Make it anew"):
        read_versioned(tmp_path / "x.json", "a thing", 3, "Make it anew", {})


def test_a_file_in_place_of_a_folder_and_the_reverse_get_a_sentence(tmp_path: Path):
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(InputError, match=r"x\.json/y\.json does not exist; expected a thing\. Check the path"):
        read_record(tmp_path / "x.json" / "y.json", "a thing", {})
    with pytest.raises(InputError, match=r" is a folder; expected a thing\. Check the path"):
        read_record(tmp_path, "a thing", {})


def test_a_file_of_no_lines_is_refused(tmp_path: Path):
    (tmp_path / "x.jsonl").write_text("")
    with pytest.raises(InputError, match=r"x\.jsonl is not things: it holds nothing\. Restore the file"):
        read_json_lines(tmp_path / "x.jsonl", "things", {"a": int})
