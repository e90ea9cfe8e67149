"""What an evaluation stored is scored as it was left, or refused by name."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from clinaug_fast.errors import InputError
from clinaug_fast.evaluate import cross_validation
from clinaug_fast.evaluate.cross_validation import evaluate, score_stored
from clinaug_fast.evaluate.predictions import Cell, _arithmetic, machinery, read_predictions
from clinaug_fast.features.feature_set import FeatureSet
from clinaug_fast.features.folds import Folds, make_folds
from test_cross_validation import CONFIG, LABELS, identity_of, write_generated, write_real


@pytest.fixture(scope="module")
def features(tmp_path_factory) -> FeatureSet:
    return write_real(tmp_path_factory.mktemp("sets") / "real")


@pytest.fixture(scope="module")
def folds(features) -> Folds:
    return make_folds(features, 2)


def test_a_damaged_cell_is_named(tmp_path, features, folds):
    config = CONFIG.with_changes(steps=1, seeds=1)
    evaluate(features, folds, {}, tmp_path / "out", config)
    path = Cell("none", 1, 0).path(tmp_path / "out")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match=r"fold_1_seed_0.parquet cannot be read"):
        evaluate(features, folds, {}, tmp_path / "out", config)


def test_a_cell_that_lost_a_bit_is_refused_or_the_same(tmp_path, features, folds):
    evaluate(features, folds, {}, tmp_path / "out", CONFIG.with_changes(steps=1, seeds=1))
    cell = Cell("none", 0, 0)
    path = cell.path(tmp_path / "out")
    whole, refused = path.read_bytes(), 0
    about = tmp_path / "out", cell, identity_of(path), LABELS
    expected = read_predictions(*about)
    places = range(0, len(whole), 23)
    for place in places:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 64]) + whole[place + 1 :])
        try:
            read = read_predictions(*about)
        except InputError:
            refused += 1
        else:  # it lay in what nobody reads: statistics, say
            for name in ("recordings", "classes", "log_probabilities"):
                np.testing.assert_array_equal(getattr(read, name), getattr(expected, name))
    assert refused > len(places) / 2


def test_an_evaluation_json_that_was_changed_is_refused(tmp_path, features, folds):
    config = CONFIG.with_changes(steps=1, seeds=1)
    evaluate(features, folds, {}, tmp_path / "out", config)
    path = tmp_path / "out/evaluation.json"
    about = json.loads(path.read_text())
    for changed, sentence in (
        ([], r"is not an evaluation's evaluation\.json .*: it holds \[\]\. Restore the file or make it anew"),
        (about | {"n_folds": "two"}, r"its n_folds is 'two'"),
        (about | {"settings": about["settings"] | {"seeds": None}}, r"in its settings, its seeds is None"),
        (about | {"schema_version": 0}, r"is not of schema version 2\. Evaluate anew, into another folder"),
        (about | {"n_folds": True}, r"its n_folds is True"),
    ):
        path.write_text(json.dumps(changed))
        for again in (
            lambda: score_stored(tmp_path / "out"),
            lambda: evaluate(features, folds, {}, tmp_path / "out", config),
        ):
            with pytest.raises(InputError, match=sentence):
                again()


@pytest.mark.parametrize("change", [{"labels": LABELS[::-1]}, {"n_folds": 1}, {"group_by": "recording"}])
def test_an_evaluation_of_other_labels_or_folds_is_not_scored(tmp_path, features, folds, change):
    config = CONFIG.with_changes(steps=1, seeds=1)
    evaluate(features, folds, {}, tmp_path / "out", config)
    path = tmp_path / "out/evaluation.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=rf"made with other settings: {next(iter(change))} is .* there"):
        evaluate(features, folds, {}, tmp_path / "out", config)
    with pytest.raises(InputError, match=r"fold_0_seed_0\.parquet is {.*}; expected {.*}\. Remove it"):
        score_stored(tmp_path / "out")


def test_a_cell_of_another_place_is_refused_before_anything_is_trained(tmp_path, features, folds, steps_of):
    evaluate(features, folds, {}, tmp_path / "out", CONFIG)
    ours, other = (Cell("none", 0, seed).path(tmp_path / "out") for seed in (0, 1))
    ours.write_bytes(other.read_bytes())
    Cell("none", 1, 0).path(tmp_path / "out").unlink()
    steps_of.clear()
    with pytest.raises(InputError, match=r"fold_0_seed_0\.parquet is {.*'seed': '1'"):
        evaluate(features, folds, {}, tmp_path / "out", CONFIG, only_folds=[1])
    with pytest.raises(InputError, match=r"fold_0_seed_0\.parquet is {.*'seed': '1'.*}; expected {.*'seed': '0'"):
        evaluate(features, folds, {}, tmp_path / "out", CONFIG)
    assert not steps_of


def test_a_cell_of_another_arm_is_refused(tmp_path, features, folds):
    generated = write_generated(tmp_path / "generated", features, folds)
    evaluate(features, folds, {"se": generated}, tmp_path / "out", CONFIG.with_changes(steps=1, seeds=1))
    se, none = (Cell(arm, 0, 0).path(tmp_path / "out") for arm in ("se", "none"))
    se.write_bytes(none.read_bytes())
    with pytest.raises(InputError, match=r"fold_0_seed_0\.parquet is {'arm': 'none'.*}; expected {'arm': 'se'"):
        score_stored(tmp_path / "out")


def test_a_cell_of_an_evaluation_with_other_settings_is_refused(tmp_path, features, folds):
    config, cell = CONFIG.with_changes(steps=1, seeds=1), Cell("none", 0, 0)
    evaluate(features, folds, {}, tmp_path / "out", config)
    evaluate(features, folds, {}, tmp_path / "other", config.with_changes(learning_rate=0.5))
    cell.path(tmp_path / "out").write_bytes(cell.path(tmp_path / "other").read_bytes())
    with pytest.raises(InputError, match=r"fold_0_seed_0\.parquet is {.*'evaluation'"):
        score_stored(tmp_path / "out")


def test_a_cell_whose_truth_was_changed_is_refused(tmp_path, features, folds):
    evaluate(features, folds, {}, tmp_path / "out", CONFIG.with_changes(steps=1, seeds=1))
    path = Cell("none", 0, 0).path(tmp_path / "out")
    table = pq.read_table(path)
    turned = [LABELS[1 - LABELS.index(label)] for label in table["label"].to_pylist()]
    columns = {name: table[name] for name in table.column_names} | {"label": turned}
    pq.write_table(pa.table(columns, schema=table.schema), path)
    with pytest.raises(InputError, match=r"fold_0_seed_0\.parquet is {.*'content'"):
        score_stored(tmp_path / "out")


@pytest.mark.parametrize("bad", [[np.nan, -1.0], [-1.0], [-1.0, -1.0, -1.0]])
def test_a_cell_without_log_probabilities_is_refused(tmp_path, features, folds, bad):
    evaluate(features, folds, {}, tmp_path / "out", CONFIG)
    path = Cell("none", 0, 0).path(tmp_path / "out")
    table = pq.read_table(path)
    columns = {name: table[name] for name in table.column_names} | {"log_probabilities": [bad] * len(table)}
    pq.write_table(pa.table(columns, schema=table.schema), path)
    with pytest.raises(InputError, match=r"fold_0_seed_0\.parquet (cannot be read|is {.*'content')"):
        score_stored(tmp_path / "out")


def test_a_damaged_cell_of_another_fold_is_named_before_anything_is_trained(tmp_path, features, folds, steps_of):
    config = CONFIG.with_changes(steps=1, seeds=1)
    evaluate(features, folds, {}, tmp_path / "out", config, only_folds=[1])
    path = Cell("none", 1, 0).path(tmp_path / "out")
    path.write_bytes(path.read_bytes()[:100])
    steps_of.clear()
    with pytest.raises(InputError, match=r"fold_1_seed_0.parquet cannot be read"):
        evaluate(features, folds, {}, tmp_path / "out", config, only_folds=[0])
    assert not steps_of


def test_a_fold_that_lacks_a_cell_is_not_scored(tmp_path, features, folds):
    evaluate(features, folds, {}, tmp_path / "out", CONFIG.with_changes(steps=1, seeds=2))
    assert score_stored(tmp_path / "out")["folds"] == [0, 1]
    Cell("none", 1, 1).path(tmp_path / "out").unlink()
    assert score_stored(tmp_path / "out")["folds"] == [0]


def test_cells_of_other_gpus_are_told_and_those_of_one_gpu_in_other_hosts_are_not(monkeypatch):
    device = torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA A100")
    one = machinery(device)
    assert one == "cuda NVIDIA A100"
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA T4")
    assert machinery(device) != one
    of_gpu, of_cpu = _arithmetic(one), _arithmetic("1 thread of the CPU")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "ABACUS")
    assert _arithmetic(one) == of_gpu == f"torch {torch.__version__}"
    assert of_cpu != _arithmetic("1 thread of the CPU") == f"torch {torch.__version__} on ABACUS"


def test_a_fold_that_another_process_ends_while_the_scores_are_computed_is_in_them(
    tmp_path, features, folds, monkeypatch
):
    evaluate(features, folds, {}, tmp_path / "out", CONFIG.with_changes(steps=1))
    cell, score = Cell("none", 1, 0).path(tmp_path / "out"), cross_validation.score
    cell.rename(tmp_path / "late.parquet")

    def meanwhile(*x):
        monkeypatch.undo()
        (tmp_path / "late.parquet").rename(cell)
        return score(*x)

    monkeypatch.setattr(cross_validation, "score", meanwhile)
    assert score_stored(tmp_path / "out")["folds"] == [0, 1]
