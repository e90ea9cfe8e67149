"""Files that somebody else made, with fingerprints that hold and contents that make no sense: told, not believed."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.torch import load_file, save

from clinaug_fast.config import GanConfig
from clinaug_fast.corpus.recordings import read_corpus
from clinaug_fast.errors import InputError, SettingsError
from clinaug_fast.features.feature_set import FeatureSet, feature_set_fingerprint, new_feature_set
from clinaug_fast.features.folds import Folds, make_folds, write_folds
from clinaug_fast.features.lineage import generated_lineage, unseen_rows
from clinaug_fast.features.verify import verify
from clinaug_fast.gan.run_folder import SCALING, WEIGHTS, Run, scaling_text
from clinaug_fast.gan.train import train
from clinaug_fast.preprocess.deidentify import read_or_make_key
from clinaug_fast.preprocess.merge import merge
from clinaug_fast.preprocess.parts import Part
from clinaug_fast.preprocess.pipeline import preprocess
from clinaug_fast.runs import fingerprint_file, own_fingerprint
from clinaug_fast.shown import shown
from conftest import MEL
from test_preprocess import CLIP


@pytest.fixture
def copied(tiny_features: FeatureSet, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_features.path, tmp_path / "set")


def forged(path: Path, *, index: pa.Table | None = None, **about) -> Path:
    """The set with other contents, and the fingerprint that belongs to them."""
    if index is not None:
        pq.write_table(index, path / "index.parquet")
    told = json.loads((path / "features.json").read_text()) | about
    told["fingerprint"] = feature_set_fingerprint(told, path / "index.parquet")
    (path / "features.json").write_text(json.dumps(told))
    return path


@pytest.mark.parametrize(
    ("column", "change", "told"),
    [
        ("row", lambda row: -1 - row, "36 rows point outside the shards, the first is row 0"),
        ("row", lambda row: 0 * row, "36 places in shards are pointed to never or more than once"),
        ("row", lambda row: row + 1, "1 rows point outside the shards, the first is row 35"),
        ("shard", lambda shard: shard - 1, "36 rows point outside the shards"),
        ("shard", lambda shard: shard + 7, "36 rows point outside the shards"),
    ],
)
def test_rows_that_point_elsewhere_are_told(copied: Path, column: str, change, told: str):
    index = pq.read_table(copied / "index.parquet")
    at = index.column_names.index(column)
    values = pa.array(change(index.column(column).to_numpy()), pa.int32())
    forged(copied, index=index.set_column(at, index.schema.field(column), values))
    with pytest.raises(InputError, match=rf"index\.parquet is not as it was made: {told}"):
        FeatureSet.open(copied)
    assert not verify(copied).whole


@pytest.mark.parametrize("name", ["../set/shards/00000.npy", "/etc/passwd", "shards/../x.npy", "shards/x.npy", 5, None])
def test_a_shard_that_lies_elsewhere_is_not_read(copied: Path, name: object):
    (entry,) = json.loads((copied / "features.json").read_text())["shards"]
    forged(copied, shards=[entry | {"file": name}])
    with pytest.raises(InputError, match=r"features\.json has a shard .* of 36 clips; expected one such as"):
        FeatureSet.open(copied)


@pytest.mark.parametrize(
    ("about", "told"),
    [
        ({"mel": {}, "n_frames": 0}, "has clips of 0 frames"),
        ({"mel": {"n_mels": "x"}}, "has a mel contract that is none: n_mels is 'x'"),
        ({"mel": {"zz": 1}}, "has a mel contract that is none: zz is not a setting"),
        ({"n_frames": 10**20}, "has clips of 1" + "0" * 20 + " frames"),
        ({"labels": []}, "has no labels"),
        ({"shards": [{"file": "shards/00000.npy", "rows": -1}]}, "of -1 clips"),
        ({"n_clips": 35}, "it has 36 rows, features.json says 35 clips"),
    ],
)
def test_a_features_json_without_meaning_is_told(copied: Path, about: dict, told: str):
    with pytest.raises(InputError, match=told):
        FeatureSet.open(forged(copied, **about))


def test_text_that_is_none_and_a_column_that_is_there_twice_are_told(copied: Path, tmp_path: Path):
    index = pq.read_table(copied / "index.parquet")
    buffers = [*pa.array(["x"] * 36).buffers()[:2], pa.py_buffer(b"\xff" * 36)]
    bad = pa.Array.from_buffers(pa.string(), 36, buffers)
    forged(copied, index=index.set_column(2, index.schema.field("subject"), bad))
    with pytest.raises(InputError, match=r"index\.parquet cannot be read: .*UTF8"):
        FeatureSet.open(copied)
    pq.write_table(index.append_column("label", index.column("label")), copied / "index.parquet")
    with pytest.raises(InputError, match=r"index\.parquet cannot be read: .*label.* 2 times"):
        FeatureSet.open(copied)
    assert not verify(copied).whole
    table = pa.table({"path": ["a.wav", "b.wav"], "label": pa.Array.from_buffers(pa.string(), 2, bad.buffers())})
    pq.write_table(table, tmp_path / "corpus.parquet")
    with pytest.raises(InputError, match=r"corpus\.parquet cannot be read as a table: .*UTF8"):
        read_corpus(tmp_path / "corpus.parquet")


@pytest.mark.parametrize("content", ["zip", "header", "shape"])
def test_a_shard_that_numpy_takes_for_something_else_is_told(copied: Path, content: str):
    path = copied / "shards/00000.npy"
    if content == "zip":
        with open(path, "wb") as file:
            np.savez(file, x=np.zeros(3))
    else:
        header = {"header": b"((((((", "shape": b"{'descr': '<f4', 'fortran_order': False, 'shape': (-36, 32, 32)}"}[
            content
        ]
        path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(100_000))
    with pytest.raises(InputError, match=r"00000\.npy (cannot be read|holds)"):
        FeatureSet.open(copied).clips()


@pytest.mark.parametrize("name", ["features.json", "index.parquet", "shards/00000.npy", "folds.json", "rejected.jsonl"])
def test_a_pipe_in_place_of_a_file_is_told_and_not_waited_for(copied: Path, name: str):
    (copied / name).unlink(missing_ok=True)
    os.mkfifo(copied / name)
    told = f"{name.split('/')[-1]} is a pipe or a device; expected a file"
    if name == "rejected.jsonl":  # of generated and hand-made sets nobody asks for it
        assert FeatureSet.open(copied).clips().shape == (36, 32, 32)
        return
    with pytest.raises(InputError, match=told):
        Folds.load(copied / name) if name == "folds.json" else FeatureSet.open(copied).clips()
    assert name == "folds.json" or not verify(copied).whole


@pytest.mark.parametrize("groups", [None, {}, {"0": "subject:p0,subject:p1"}, {"0": []}, {"0": [["x"]]}, {"0": 5}, [1]])
def test_a_lineage_that_names_no_groups_proves_nothing(tiny_features, tiny_folds, tmp_path: Path, groups: object):
    lineage = generated_lineage(tiny_features, tiny_folds, "run", [0]) | {"trained_on_groups": groups}
    with new_feature_set(tmp_path / "set", MEL, 32, tiny_features.labels, lineage) as writer:
        for label in tiny_features.labels:
            clip = np.zeros((32, 32), np.float32)
            writer.add(clip, id=label, recording=label, label=label, start_s=0.0, fold=0)
    with pytest.raises(InputError, match="does not tell which groups the generator of fold 0 was trained on"):
        unseen_rows(FeatureSet.open(tmp_path / "set"), tiny_features, tiny_folds, 0)


def test_a_lineage_that_leaves_groups_out_is_told(tiny_features, tiny_folds, tmp_path: Path):
    lineage = generated_lineage(tiny_features, tiny_folds, "run", [0])
    lineage["trained_on_groups"]["0"].pop()
    with new_feature_set(tmp_path / "set", MEL, 32, tiny_features.labels, lineage) as writer:
        writer.add(np.zeros((32, 32), np.float32), id="x", recording="x", label="hum", start_s=0.0, fold=0)
    with pytest.raises(InputError, match="tells other groups for fold 0 than the split that it names trains on"):
        unseen_rows(FeatureSet.open(tmp_path / "set"), tiny_features, tiny_folds, 0)


@pytest.mark.parametrize(
    "fold",
    [
        {},
        {"test_groups": "subject:p0"},
        {"test_groups": [["x"]]},
        {"test_recordings": [1]},
        {"test_recordings": ["1"] * 3},
    ],
)
def test_folds_without_meaning_are_told(tiny_features: FeatureSet, tmp_path: Path, fold: dict):
    about = json.loads(json.dumps(make_folds(tiny_features, 3).about))
    about["folds"][1] = (about["folds"][1] | fold) if fold else {}
    about["fingerprint"] = own_fingerprint(about)
    (tmp_path / "folds.json").write_text(json.dumps(about))
    with pytest.raises(InputError, match="tells no test groups and recordings by label for fold 1"):
        Folds.load(tmp_path / "folds.json")


def test_a_split_of_no_folds_is_told(tiny_features: FeatureSet, tmp_path: Path):
    about = make_folds(tiny_features, 3).about | {"folds": []}
    about["fingerprint"] = own_fingerprint(about)
    (tmp_path / "folds.json").write_text(json.dumps(about))
    with pytest.raises(InputError, match=r"folds\.json has no folds; expected one or more"):
        Folds.load(tmp_path / "folds.json")


def test_a_group_that_is_tested_twice_is_told(tiny_features: FeatureSet, tmp_path: Path):
    about = json.loads(json.dumps(make_folds(tiny_features, 3).about))
    about["folds"][1] = about["folds"][0]
    about["fingerprint"] = own_fingerprint(about)
    (tmp_path / "folds.json").write_text(json.dumps(about))
    with pytest.raises(InputError, match=r"tests 'subject:.*' in two folds"):
        Folds.load(tmp_path / "folds.json")
    write_folds(make_folds(tiny_features, 3), tmp_path / "whole.json")
    assert len(Folds.load(tmp_path / "whole.json")) == 3


@pytest.fixture
def part(tiny_corpus: Path, tmp_path: Path) -> Path:
    preprocess(tiny_corpus, tmp_path / "out", MEL, CLIP, part=Part(0, 1))
    return tmp_path / "out.part-0-of-1"


def edit(path: Path, **fields) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


@pytest.mark.parametrize(
    "clips", [lambda x: x[:, :, :8], lambda x: x.astype(np.float64), lambda x: x[:-1], lambda x: np.float32(0.0)]
)
def test_shards_of_another_shape_do_not_use_up_a_part(part: Path, tmp_path: Path, clips):
    shard = part / "shards/00000.npy"
    np.save(shard, clips(np.load(shard)))
    with pytest.raises(InputError, match=r"00000\.npy does not hold .* clips of \(32, 32\)"):
        merge([part], tmp_path / "out")
    assert shard.exists()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "fields",
    [
        {"rejected": [1]},
        {"rejected": [{"path": "x"}]},
        {"found": 3},
        {"digests": {"index": "x"}},
        {"rows": 1},
        {"found": 10**13},
    ],
)
def test_a_sidecar_without_meaning_does_not_use_up_a_part(part: Path, tmp_path: Path, fields: dict):
    edit(part / "blocks/00000.json", **fields)
    with pytest.raises(InputError, match=r"00000\.json is not what was written"):
        merge([part], tmp_path / "out")
    assert (part / "shards/00000.npy").exists()


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"count": 0}, "tells .*'count': 0.*, which no part is"),
        ({"number": 5}, "tells {'number': 5"),
        ({"n_blocks": -3}, "'n_blocks': -3"),
        ({"max_bad": -1}, "'max_bad': -1"),
        ({"count": 10**10}, "the parts 1/10000000000, 2/10000000000, .* and more are missing"),
        ({"made_with": {}}, "in its made_with, its mel is None"),
    ],
)
def test_a_part_json_without_meaning_is_told(part: Path, tmp_path: Path, fields: dict, told: str):
    edit(part / "part.json", **fields)
    with pytest.raises(InputError, match=told):
        merge([part], tmp_path / "out")


def test_a_generated_set_is_no_merge(tiny_features, tiny_folds, tmp_path: Path):
    lineage = generated_lineage(tiny_features, tiny_folds, "run", [0])
    with new_feature_set(tmp_path / "out", MEL, 32, tiny_features.labels, lineage) as writer:
        writer.add(np.zeros((32, 32), np.float32), id="x", recording="x", label="hum", start_s=0.0, fold=0)
    with pytest.raises(InputError, match="holds clips that no corpus gave; expected a set that merge made"):
        merge([tmp_path / "gone"], tmp_path / "out")


def test_a_device_is_no_key(tmp_path: Path):
    with pytest.raises(SettingsError, match="/dev/zero is no key"):
        read_or_make_key(Path("/dev/zero"), tmp_path / "out")


def test_what_a_terminal_would_obey_is_shown_as_escapes(cli, tiny_corpus: Path, tmp_path: Path):
    corpus = shutil.copytree(tiny_corpus, tmp_path / "corpus")
    (corpus / "hum").rename(corpus / "\x1b[31mh\u202eum\n")
    (corpus / "hiss/\x1b]0;x\x07.wav").write_bytes(b"")
    options = ("--sample-rate", "8000", "--n-fft", "256", "--n-mels", "32", "--n-frames", "32", "--max-bad", "1")
    result = cli("preprocess", corpus, tmp_path / "out", *options)
    assert result.exit_code == 0
    assert r"  \x1b[31mh\u202eum\n " in result.stdout
    split = cli("split", tmp_path / "out", "--folds", "2")
    assert r"  \x1b[31mh\u202eum\n " in split.stdout
    (corpus / "hum").mkdir()
    for path in (corpus / "hiss").glob("*_*"):
        path.unlink()
    failed = cli("preprocess", corpus, tmp_path / "other", *options)
    card = (tmp_path / "out/README.md").read_text()
    for text in (result.output, result.stderr, split.output, split.stderr, failed.output, failed.stderr, card):
        assert not {*"\x1b\x07\u202e"} & {*text}
    assert json.loads((tmp_path / "out/features.json").read_text())["labels"][0] == "\x1b[31mh\u202eum\n"


def test_line_breaks_in_names_forge_no_lines(cli, tiny_corpus: Path, tmp_path: Path):
    corpus = shutil.copytree(tiny_corpus, tmp_path / "corpus")
    (corpus / ".hidden\nerror: forged").mkdir()
    (corpus / "top\nwarning: forged.wav").write_bytes(b"RIFF")
    (corpus / "hum/x.odd\nerror: forged").write_bytes(b"")
    (corpus / "N\nerror: forged").mkdir()
    (corpus / "N\nerror: forged/p0_0.wav").write_bytes(b"no audio")
    shutil.copy(corpus / "hum/p0_0.wav", corpus / "hiss/p7\nerror: forged.wav")
    options = ("--sample-rate", "8000", "--n-fft", "256", "--n-mels", "32", "--n-frames", "32")
    made = cli("preprocess", corpus, tmp_path / "out", *options, "--max-bad", "1")
    assert made.exit_code == 0
    failed = cli("preprocess", corpus, tmp_path / "other", *options, "--on-error", "fail")
    assert failed.exit_code == 4
    for text in (made.output, made.stderr, failed.stderr):
        assert "forged" in text
        assert not [line for line in text.splitlines() if line.startswith(("error: forged", "warning: forged"))]


def test_settings_that_make_no_run_and_weights_of_another_type_are_told(tiny_features, tiny_folds, tmp_path: Path):
    config = GanConfig(width=2, latent_dim=8, steps=1, batch_size=6, n_critic=1)
    run = tmp_path / "run"
    train(tiny_features, tiny_folds, run, config, only_folds=[0])
    weights = {name: tensor.half() for name, tensor in load_file(run / "fold_0" / WEIGHTS).items()}
    scaling = Run.open(run).state(0)["scaling"]
    (run / "fold_0" / WEIGHTS).write_bytes(save(weights, {SCALING: scaling_text(**scaling)}))
    edit(run / "fold_0/state.json", weights=fingerprint_file(run / "fold_0" / WEIGHTS))
    with pytest.raises(InputError, match=r"does not fit .*run\.json: .* is of torch.float16, expected torch.float32"):
        Run.open(run).generator(0)
    edit(run / "run.json", settings=config.model_dump() | {"zz": 1})
    with pytest.raises(InputError, match=r"run\.json has settings that make no run: zz is not a setting"):
        Run.open(run)


def test_what_no_terminal_obeys_is_shown_as_it_is():
    hindi, persian = "\u0939\u093f\u0928\u094d\u200d\u0926\u0940", "\u0645\u06cc\u200c\u062e"
    for text in ("hiss", "h\u00e4", "S\u00a01", hindi, "b\u3000b", persian):
        assert shown(text) == text
    assert shown("a\x1b\x07\n\u202e\u2028\x9b") == r"a\x1b\x07\n\u202e\u2028\x9b"
    assert shown("a\u061c\u2066\u2069\u2029\x7f\udc80") == r"a\u061c\u2066\u2069\u2029\x7f\udc80"
    assert shown("a\nb\x1b", "\n") == "a\nb\\x1b"


def test_a_refused_name_is_not_the_file_that_it_is_shown_as(tiny_corpus: Path, tmp_path: Path):
    corpus = shutil.copytree(tiny_corpus, tmp_path / "corpus")
    shutil.copy(corpus / "hum/p0_0.wav", os.fsencode(corpus) + b"/hum/\xff.wav")
    shutil.copy(corpus / "hum/p0_0.wav", corpus / r"hum/\xff.wav")
    counts = preprocess(corpus, tmp_path / "out", MEL, CLIP, max_bad=0.5).counts
    assert (counts.rejected, counts.kept, counts.found) == ({"NAME": 1}, 19, 20)
