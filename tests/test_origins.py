"""Whether the site or the device tells the label."""

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import soundfile

from clinaug_fast.corpus.origins import _Told, _warning, label_by_origin
from conftest import MEL_OPTIONS, sound

LABELS = ["crackle", "normal", "wheeze"]


def found(rows: list[tuple[str, int, str | None]]) -> dict:
    """Rows of (label, subject, device)."""
    labels, subjects, devices = zip(*rows, strict=True)
    of_label = np.array([LABELS.index(label) for label in labels])
    return label_by_origin(
        pa.chunked_array([list(devices)], pa.string()), of_label, np.array(subjects), LABELS, "device"
    )


def test_a_label_of_one_device_is_told() -> None:
    rows = [(label, subject, "A") for subject in range(6) for label in ("crackle", "normal")]
    rows += [("wheeze", 6 + k % 3, "B") for k in range(7)] + [("normal", 9, "B")]
    about = found(rows)
    assert (about["known"], about["different"]) == (20, 2)
    named = {label: of["named"] for label, of in about["by_label"].items()}
    assert named == {"crackle": {"A": 6}, "normal": {"A": 6, "B": 1}, "wheeze": {"B": 7}}
    assert about["warning"].startswith(
        "the label 'wheeze' is told by the device alone, right of 100% of its subjects and 92% of the others ('B' has "
        "3 of its 3, 1 of the others' 13). A classifier may learn the device"
    )


def test_labels_of_a_device_each_are_counted() -> None:
    rows = [(label, 10 * number + k, label.upper()) for number, label in enumerate(LABELS) for k in range(3)]
    assert "('CRACKLE' has 3 of its 3, 0 of the others' 6); so 2 more labels are. A" in found(rows)["warning"]


def test_labels_that_are_told_less_clearly_are_counted_apart() -> None:
    rows = [(label, 20 * number + k, "AB"[number > 0]) for number, label in enumerate(LABELS) for k in range(20)]
    assert "'crackle' is told by the device alone, right of 100% of its subjects and 100% of the others" in (
        told := found(rows)["warning"]
    )
    assert "0 of the others' 40); less clearly 2 more. A classifier" in told


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [("normal", 0, None), ("wheeze", 1, None)],
        [(label, subject, "A") for subject in range(5) for label in LABELS],  # one device
        [(label, subject, "AB"[subject % 2]) for subject in range(8) for label in LABELS],  # two for all
        [(LABELS[k % 3], k, f"of subject {k}") for k in range(12)],  # nothing of a subject's own tells of others
        [("normal", k, "A") for k in range(5)] + [("wheeze", 9, "B")] * 9,  # a single subject
        [("normal", k, "AB"[k % 3 == 0]) for k in range(12)] + [("wheeze", 20 + k, "AB"[k % 3 > 0]) for k in range(12)],
    ],
)
def test_what_tells_little_is_not(rows: list) -> None:
    if rows:
        assert found(rows)["warning"] is None
    else:
        nothing = label_by_origin(pa.chunked_array([[]], pa.string()), *np.zeros((2, 0), int), LABELS, "site")
        by_label = {label: {"named": {}, "others": 0} for label in LABELS}
        assert nothing == {"known": 0, "different": 0, "by_label": by_label, "warning": None}


def test_of_many_the_commonest_are_listed() -> None:
    about = found([("normal", k, f"{k // 2:02}" if k > 1 else "others") for k in range(60)])
    assert about["different"] == 30
    assert about["by_label"]["normal"] == {"named": {f"{k:02}": 2 for k in range(1, 21)}, "others": 20}


@pytest.mark.parametrize(("n_subjects", "n_devices"), [(60, 12), (200, 60), (300, 300), (8, 2)])
def test_labels_dealt_by_lot_are_hardly_ever_told(n_subjects: int, n_devices: int) -> None:
    rng = np.random.default_rng(1)
    warned = 0
    for _ in range(50):
        labels, devices = rng.integers(3, size=n_subjects), rng.integers(n_devices, size=n_subjects)
        rows = zip(labels.tolist(), range(n_subjects), devices.tolist(), strict=True)
        told = found([(LABELS[label], subject, str(device)) for label, subject, device in rows])["warning"]
        warned += told is not None
    assert warned <= 3


@pytest.mark.parametrize(("n_subjects", "n_kits", "n_devices"), [(12, 3, 4), (20, 3, 4), (20, 4, 6)])
def test_a_subject_of_several_devices_counts_once(n_subjects: int, n_kits: int, n_devices: int) -> None:
    """Labels dealt by lot, and each subject recorded with all devices of a kit."""
    rng = np.random.default_rng(3)
    warned = 0
    for _ in range(100):
        labels, kits = rng.integers(3, size=n_subjects), rng.integers(n_kits, size=n_subjects)
        rows = [
            (LABELS[label], subject, f"{kit} {device}")
            for subject, (label, kit) in enumerate(zip(labels, kits, strict=True))
            for device in range(n_devices)
        ]
        warned += found(rows)["warning"] is not None
    assert warned <= 10


def test_the_warning_counts_subjects_not_their_devices() -> None:
    rows = [("wheeze", k, "B") for k in range(14)]
    rows += [("normal", 100 + k, device) for k in range(20) for device in "ABC"]
    told = found(rows)["warning"]
    assert "'wheeze' is told by the device alone, right of 100% of its subjects and 67% of the others" in told
    assert "('B' has 14 of its 14, 20 of the others' 20); so 1 more label is" in told
    rows += [("normal", 100 + k, "B") for k in range(20)] * 9  # recordings of the same subjects
    assert found(rows)["warning"] == told


def test_a_few_shared_devices_beside_many_of_ones_own_decide_nothing() -> None:
    rows = [(LABELS[k % 2], k, f"phone {k}") for k in range(196)]
    rows += [("crackle", 200 + k, "A") for k in range(2)] + [("normal", 300 + k, "B") for k in range(2)]
    assert found(rows)["warning"] is None


@pytest.mark.parametrize("key", [False, True])
def test_preprocess_warns_and_the_card_tells(tmp_path: Path, cli, key: bool) -> None:
    rows = []
    for label, name in (("hum", "hum"), ("hiss", "hiss")):
        for subject in range(4):
            path = f"{name}{subject}.wav"
            soundfile.write(tmp_path / path, sound(label, subject), 8000)
            rows.append(
                {"path": path, "label": label, "subject": f"{name}{subject}", "device": name.upper(), "site": "X"}
            )
    with open(tmp_path / "t.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    hashed = ["--deidentify", tmp_path / "key"] if key else []
    done = cli("preprocess", tmp_path / "t.csv", tmp_path / "out", *MEL_OPTIONS, "--n-frames", 32, *hashed)
    assert done.exit_code == 0, done.stderr
    assert "warning: the label 'hiss' is told by the device alone, right of 100% of its subjects" in done.stderr
    assert ("'HISS' has 4 of its 4" in done.stderr) is not key
    assert "told by the site" not in done.stderr
    facts = json.loads((tmp_path / "out/features.json").read_text())["corpus_facts"]["origins"]
    assert {kind: (about["known"], about["different"]) for kind, about in facts.items()} == {
        "site": (8, 1),
        "device": (8, 2),
    }
    card = (tmp_path / "out/README.md").read_text()
    assert "**Devices.** Recordings by device, of 8 whose device is known. hiss: 4 from" in card
    assert "> **Warning:** the label" in card


def test_what_names_hold_is_shown_escaped() -> None:
    rows = [("normal", k, "A\x1b") for k in range(4)] + [("wheeze", 9 + k, "B\x1b") for k in range(4)]
    assert "'A\\x1b' has 4 of its 4" in found(rows)["warning"]


@pytest.mark.parametrize(("own", "others", "told"), [(2, 7, False), (2, 8, True), (3, 3, False), (3, 4, True)])
def test_few_subjects_have_to_lie_apart_more_clearly(own: int, others: int, told: bool) -> None:
    rows = [("normal", k, "A") for k in range(others)] + [("wheeze", 99 + k, "B") for k in range(own)]
    assert (found(rows)["warning"] is not None) is told


def test_three_of_four_beside_one_of_four_are_told() -> None:
    """Youden's index is 0.5, of enough subjects."""
    rows = [("normal", k, "AB"[k % 4 == 0]) for k in range(40)] + [
        ("wheeze", 99 + k, "BA"[k % 4 == 0]) for k in range(40)
    ]
    warning = found(rows)["warning"]
    assert "'normal' is told by the device alone, right of 75% of its subjects and 75% of the others" in warning
    assert found([*rows, ("wheeze", 200, "A")])["warning"] is None


def test_a_card_tells_what_is_not_known(tiny_corpus: Path, tmp_path: Path, cli) -> None:
    done = cli("preprocess", tiny_corpus, tmp_path / "out", *MEL_OPTIONS, "--n-frames", 32, "--json")
    assert f"mel: {json.loads(done.stdout)['mel_signature']}\n" in done.stderr
    card = (tmp_path / "out/README.md").read_text()
    for kind in ("device", "site"):
        assert f"No {kind} is known, so whether it gives the label away was not checked." in card
    assert "cross-validated over 18 of 18 recordings" in card
    assert "72 clips of 18 recordings with 3 labels, made by" in card
    assert "| Subjects | 0 known; 18 recordings without one |" in card
    assert "Paths, subjects, sites and devices are as the corpus has them" in card


def test_the_commonest_are_listed_first() -> None:
    rows = [("normal", k, f"{k:02}") for k in range(25)] + [("normal", 30 + k, "most") for k in range(3)]
    about = found(rows)["by_label"]["normal"]
    assert about == {"named": {"most": 3} | {f"{k:02}": 1 for k in range(19)}, "others": 6}
    assert next(iter(about["named"])) == "most"


def test_the_name_that_is_told_is_rare_among_the_others() -> None:
    rows = [("crackle", k, "CA"[k > 1]) for k in range(4)] + [("normal", 10 + k, "CB"[k > 0]) for k in range(6)]
    warning = found(rows)["warning"]
    assert "'crackle' is told" in warning
    assert "('A' has 2 of its 4, 0 of the others' 6)" in warning


def test_a_subject_is_told_by_the_shares_of_those_that_are_left() -> None:
    own = [("crackle", k, "AAADD"[k]) for k in range(5)] + [("crackle", 4, "A")]
    rest = [("normal", 10 + k, "DBBBB"[k]) for k in range(5)] + [("normal", 10, "B"), ("normal", 11, "A")]
    told = "'crackle' is told by the device alone, right of 100% of its subjects and 80% of"
    assert told in found(own + rest)["warning"]


def test_labels_as_clear_and_less_clear_are_counted_apart() -> None:
    told = [_Told(k, clear, 1.0, 0, 4, 4, 0, 9) for k, clear in enumerate((1.0, 0.95, 0.85, 0.7))]
    warning = _warning(told, list("abcd"), np.array(["A"], object), "site")
    assert "; so 1 more label is; less clearly 2. A classifier" in warning
