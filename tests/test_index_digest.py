"""The digest of an index: of its values, not of the bytes that a version of the Parquet writer happens to make."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clinaug_fast.features.feature_set import INDEX_SCHEMA
from clinaug_fast.features.index_digest import IndexDigest, index_digest

ROW = {"id": "a#0", "recording": "a", "subject": "s", "site": None, "device": None, "label": "cough", "start_s": 0.5}
ROWS = [
    ROW | {"fold": None, "shard": 0, "row": 0},
    ROW | {"id": "ä#1", "subject": None, "start_s": -0.0, "fold": 3, "shard": 0, "row": 1},
    ROW | {"id": "b#0", "recording": "b", "subject": "", "site": "", "fold": 0, "shard": 1, "row": 0},
]


def _digest(folder: Path, table: pa.Table, **how) -> str:
    pq.write_table(table, folder / "index.parquet", **how)
    return index_digest(folder / "index.parquet")


def _table(rows=ROWS) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=INDEX_SCHEMA)


@pytest.mark.parametrize(
    "how",
    [
        {"compression": "none"},
        {"row_group_size": 1},
        {"use_dictionary": False, "version": "1.0"},
        {"data_page_version": "2.0", "write_statistics": False},
    ],
)
def test_how_the_file_is_written_is_of_no_consequence(tmp_path: Path, how: dict):
    usual = _digest(tmp_path, _table())
    bytes_before = (tmp_path / "index.parquet").read_bytes()
    assert _digest(tmp_path, _table(), **how) == usual
    assert (tmp_path / "index.parquet").read_bytes() != bytes_before


def test_rows_that_do_not_fit_one_piece_are_digested_as_one(tmp_path: Path):
    """The reader cuts at 65536 rows, a writer's groups wherever it likes."""
    many = pa.concat_tables([_table()] * 30_000).combine_chunks()
    assert _digest(tmp_path, many) == _digest(tmp_path, many, row_group_size=1000)
    digest = IndexDigest(INDEX_SCHEMA)
    for start in range(0, len(many), 7001):
        digest.update(many.slice(start, 7001))
    assert digest.hexdigest() == _digest(tmp_path, many)
    assert _digest(tmp_path, many) != _digest(tmp_path, many.slice(1))


@pytest.mark.parametrize(
    ("place", "change"),
    [
        (0, {"subject": ""}),
        (0, {"id": "a#", "recording": "0a"}),
        (0, {"site": ""}),
        (1, {"start_s": 0.0}),
        (1, {"subject": ""}),
        (1, {"fold": None}),
        (2, {"subject": None}),
        (2, {"fold": None}),
        (2, {"row": 2}),
    ],
)
def test_a_changed_value_changes_it(tmp_path: Path, place: int, change: dict):
    rows = [row | (change if at == place else {}) for at, row in enumerate(ROWS)]
    assert _digest(tmp_path, _table(rows)) != _digest(tmp_path, _table())


def test_texts_that_give_the_same_when_joined_are_told_apart(tmp_path: Path):
    ids = ("a#00", "b"), ("a#0", "0b")
    one, other = ([ROWS[0] | {"id": first}, ROWS[1] | {"id": second}] for first, second in ids)
    assert _digest(tmp_path, _table(one)) != _digest(tmp_path, _table(other))


def test_a_subject_that_moves_to_another_row_changes_it(tmp_path: Path):
    subjects = ("s", None), (None, "s")
    one, other = ([ROWS[0] | {"subject": first}, ROWS[1] | {"subject": second}] for first, second in subjects)
    assert _digest(tmp_path, _table(one)) != _digest(tmp_path, _table(other))


def test_types_of_equal_bytes_are_told_apart():
    def digest(kind: pa.DataType) -> str:
        digest = IndexDigest(pa.schema([("a", kind)]))
        digest.update(pa.table({"a": pa.array([0], kind)}))
        return digest.hexdigest()

    assert digest(pa.int32()) != digest(pa.float32())


def test_names_types_and_order_of_the_rows_count(tmp_path: Path):
    usual = _digest(tmp_path, _table())
    renamed = _table().rename_columns([*INDEX_SCHEMA.names[:-1], "place"])
    wider = _table().set_column(9, "row", _table().column("row").cast(pa.int64()))
    for other in (renamed, wider, _table().drop_columns(["site"]), _table(ROWS[::-1]), _table(ROWS[:2])):
        assert _digest(tmp_path, other) != usual


def test_an_index_without_rows_has_a_digest(tmp_path: Path):
    assert _digest(tmp_path, _table([])) == _digest(tmp_path, _table([]), compression="none")
