"""The dataset card tells what features.json says, the same for the same set, and its code opens the set."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from clinaug_fast.config import ClipConfig
from clinaug_fast.features.card import CARD, write_card
from clinaug_fast.preprocess.pipeline import preprocess
from conftest import MEL, MEL_OPTIONS, SUBJECT_PATTERN


@pytest.fixture(scope="module")
def made(tiny_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of the tiny corpus with a label of awkward name and a file that is no audio."""
    folder = tmp_path_factory.mktemp("card")
    corpus = shutil.copytree(tiny_corpus, folder / "corpus")
    (corpus / "hiss").rename(corpus / "a|b_<i>*")
    (corpus / "hum" / "p9_0.wav").write_bytes(b"no audio")
    preprocess(corpus, folder / "set", MEL, ClipConfig(n_frames=32), subject_pattern=SUBJECT_PATTERN, max_bad=0.5)
    return folder / "set"


@pytest.fixture
def about(made: Path) -> dict[str, Any]:
    return json.loads((made / "features.json").read_text())


def card(folder: Path, about: dict[str, Any]) -> str:
    write_card(folder, about)
    return (folder / "README.md").read_text()


def rows(text: str, title: str) -> list[list[str]]:
    """The cells of the table below a heading, without its head and rule."""
    lines = text.split(title)[1].split("\n#")[0].splitlines()
    cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in cells[2:]]


def test_counts_by_label_add_up(made: Path, about: dict[str, Any]) -> None:
    text = (made / "README.md").read_text()
    *labels, total = rows(text, "## By label")
    assert [row[0].replace("\\", "") for row in labels] == about["labels"] == ["a|b_<i>*", "hum", "knock"]
    assert sum(int(row[1]) for row in labels) == int(total[1]) == 18
    assert sum(int(row[2]) for row in labels) == int(total[2]) == about["n_clips"]
    assert {len(row) for row in [*labels, total]} == {8}
    assert rows(text, "## Nothing is lost") == [["UNREADABLE", "1"]]
    assert "19 recordings found = 18 kept + 1 rejected" in text
    assert f"{about['n_clips']} clips" in text.split("## ")[0]


def test_it_names_the_contract_the_lineage_and_the_subjects(made: Path, about: dict[str, Any]) -> None:
    text = (made / "README.md").read_text()
    for told in (
        MEL.signature,
        about["fingerprint"],
        about["lineage"]["corpus"],
        "3 known",
        "18 at 8000 Hz",
        "18 of 1",
    ):
        assert told in text
    assert "they may identify patients" in text


def test_the_card_follows_from_features_json_alone(made: Path, about: dict[str, Any], tmp_path: Path) -> None:
    assert card(tmp_path, about) == (made / "README.md").read_text()


def test_a_shortcut_is_warned_of(about: dict[str, Any], tmp_path: Path) -> None:
    shortcut = about["corpus_facts"]["shortcut"]
    assert "> **Warning:** beware." in card(tmp_path, about | facts(about, shortcut | {"warning": "beware"}))
    assert "Warning" not in card(tmp_path, about | facts(about, shortcut | {"warning": None}))
    assert "Not done" in card(tmp_path, about | facts(about, shortcut | {"macro_f1": None}))
    assert "Left out" in card(tmp_path, about | facts(about, shortcut | {"labels_left_out": ["a*"]}))


def facts(about: dict[str, Any], shortcut: dict[str, Any]) -> dict[str, Any]:
    return {"corpus_facts": about["corpus_facts"] | {"shortcut": shortcut}}


def test_names_of_devices_stand_as_they_are(about: dict[str, Any], tmp_path: Path) -> None:
    about["corpus_facts"]["origins"]["device"] = {
        "different": 1,
        "known": 3,
        "by_label": {"a|b_<i>*": {"named": {"<b>|`x`": 2}, "others": 1}, "hum": {"named": {}, "others": 0}},
        "warning": "the device 'a*b*' tells the label",
    }
    text = card(tmp_path, about)
    assert "**Devices.** Recordings by device, of 3 whose device is known. " in text
    assert r"a\|b\_\<i\>\*: 2 from \<b\>\|\`x\`, 1 from others; hum: none known." in text
    assert r"> **Warning:** the device 'a\*b\*' tells the label." in text


def test_a_deidentified_set_says_so(about: dict[str, Any], tmp_path: Path) -> None:
    text = card(tmp_path, about | {"deidentified": "0" * 24})
    assert "keyed hashes" in text
    assert "identify patients" not in text


def test_nothing_rejected_is_told_too(about: dict[str, Any], tmp_path: Path) -> None:
    counts = about["counts"] | {"found": 18, "rejected": {}, "ignored": {".txt": 2}}
    text = card(tmp_path, about | {"counts": counts})
    assert "18 kept + 0 rejected." in text
    assert "2 .txt" in text


def test_the_code_of_the_card_opens_the_set(made: Path, about: dict[str, Any]) -> None:
    code = re.search(r"```python\n(.*?)```", (made / "README.md").read_text(), re.DOTALL)[1]
    check = f"assert index.num_rows == len(clips) == about['n_clips'] == {about['n_clips']}"
    subprocess.run([sys.executable, "-c", code + check], cwd=made, check=True)


def test_a_lost_card_is_named_and_written_again(tiny_corpus: Path, tmp_path: Path, cli) -> None:
    command = ("preprocess", tiny_corpus, tmp_path / "set", *MEL_OPTIONS, "--n-frames", 32)
    assert cli(*command).exit_code == 0
    written = (tmp_path / "set" / CARD).read_bytes()
    (tmp_path / "set" / CARD).unlink()
    damaged = cli("verify", tmp_path / "set")
    assert damaged.exit_code == 3
    told = "README.md: it is missing; the command that made the set, preprocess or merge, writes it again"
    assert told in damaged.stdout
    assert cli(*command).exit_code == 0
    assert (tmp_path / "set" / CARD).read_bytes() == written
    assert cli("verify", tmp_path / "set").exit_code == 0


def test_what_is_no_recording_of_the_set_is_counted(about: dict[str, Any], tmp_path: Path) -> None:
    counts = {"found": 21, "kept": 18, "rejected": {"NAN": 2, "SHORT": 1}, "ignored": {}, "unlabelled": 4}
    text = card(tmp_path, about | {"counts": about["counts"] | counts})
    assert "21 recordings found = 18 kept + 3 rejected (" in text
    assert rows(text, "## Nothing is lost") == [["NAN", "2"], ["SHORT", "1"]]
    assert "Other files seen: none. Audio outside any label's folder: 4." in text


@pytest.mark.parametrize(
    ("without", "told"),
    [
        (0, "recordings, a subject's recordings left out together; from"),
        (3, "recordings, a subject's recordings left out together, those of unknown subjects one by one; from"),
        (18, "recordings, one by one, since no subject is known: recordings of one patient raise it; from"),
    ],
)
def test_how_the_shortcut_was_looked_for_is_told(about: dict[str, Any], tmp_path: Path, without: int, told: str):
    text = card(tmp_path, about | {"counts": about["counts"] | {"without_subject": without}})
    assert f"18 of 18 {told}" in text


def test_a_name_of_several_lines_stays_in_its_row(about: dict[str, Any], tmp_path: Path) -> None:
    facts, counts = about["corpus_facts"], about["counts"]
    of = facts["by_label"] | {"a\nb": facts["by_label"]["hum"]}
    changed = {"corpus_facts": facts | {"by_label": of}, "counts": counts | {"clips": {"a\nb": 1}}}
    assert rows(card(tmp_path, about | changed), "## By label")[0][0] == "a b"


def test_the_code_of_the_card_opens_the_first_of_several_shards(about: dict[str, Any], tmp_path: Path) -> None:
    shards = [about["shards"][0] | {"file": f"shards/{k:05d}.npy"} for k in range(2)]
    assert 'np.load("shards/00000.npy", mmap_mode="r")  # (clips, mels, frames), of shard 0' in card(
        tmp_path, about | {"shards": shards}
    )


def test_times_are_those_of_samples_and_hours(about: dict[str, Any], tmp_path: Path) -> None:
    text = card(tmp_path, about | {"counts": about["counts"] | {"unused_seconds": 5400.0}})
    assert "| Clip | 32 mels x 32 frames, 0.25 s, float32 |" in text  # 31 hops: 0.248 s
    assert "1.500 hours, " in text


def test_the_audio_is_told_from_the_least_to_the_most(made: Path, about: dict[str, Any]) -> None:
    told = {row[0]: list(map(float, row[1:])) for row in rows((made / "README.md").read_text(), "## The audio")}
    keys, names = ("seconds", "rms_db", "peak", "clipped_share"), ("min", "p5", "median", "p95", "max")
    for cells, key in zip(told.values(), keys, strict=True):
        assert cells == pytest.approx([about["corpus_facts"][key][name] for name in names], abs=0.06)
