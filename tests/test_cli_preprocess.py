"""`clinaug-fast preprocess` as a user meets it: output, exit codes for every bad input, nothing half-written."""

import errno
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import Result

from clinaug_fast import _native, native
from clinaug_fast.config import CONVENTIONS, PRESETS, ClipConfig, MelConfig
from clinaug_fast.features.feature_set import FeatureSet
from clinaug_fast.preprocess import workers
from conftest import LABELS, MEL, MEL_OPTIONS, SUBJECT_PATTERN, files, sound

OPTIONS = (*MEL_OPTIONS, "--n-frames", "32", "--subject-pattern", SUBJECT_PATTERN)

Cli = Callable[..., Result]


@pytest.fixture
def corpus(tiny_corpus: Path, tmp_path: Path) -> Path:
    """A copy of the tiny corpus that may be spoilt, alone in its folder."""
    return shutil.copytree(tiny_corpus, tmp_path / "in" / "corpus")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "made").mkdir()
    return tmp_path / "made" / "out"


def rows(result: Result) -> dict[str, str]:
    """The table of a result: name -> number and note."""
    pairs = (re.split(r" {2,}", line.strip(), maxsplit=1) for line in result.stdout.splitlines() if line[:2] == "  ")
    return {name: " ".join(rest.split()) for name, rest in pairs}


def test_a_corpus_becomes_a_feature_set(cli: Cli, tiny_corpus: Path, out: Path):
    result = cli("preprocess", tiny_corpus, out, *OPTIONS)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == f"{out} is made"
    assert lines[1] == f"mel: {MEL.signature}"
    assert rows(result) == {
        "recordings found": "18",
        "kept": "18 0.4 minutes, 0.1 in no clip (a smaller --stride-frames uses more)",
        "rejected": "0",
        "subjects known": "3",
        "clips": "72 32 mels x 32 frames, 0.25 s each",
        **dict.fromkeys(LABELS, "24"),
        "quiet clips dropped": "0",
    }
    assert lines[-1] == f"next: clinaug-fast split {shlex.quote(str(out))}"
    assert "preprocess: 18 to do" in result.stderr
    assert "warning" not in result.stderr
    assert len(FeatureSet.open(out)) == 72


def test_a_second_run_says_that_nothing_is_to_do(cli: Cli, tiny_corpus: Path, out: Path):
    first = cli("preprocess", tiny_corpus, out, *OPTIONS)
    again = cli("preprocess", tiny_corpus, out, *OPTIONS)
    assert again.exit_code == 0
    assert again.stdout.splitlines()[0] == f"{out} was made before with these settings: nothing to do"
    assert again.stdout.splitlines()[1:] == first.stdout.splitlines()[1:]
    assert again.stderr == ""


def test_json_is_one_object_and_quiet_is_quiet(cli: Cli, corpus: Path, out: Path):
    (corpus / "hum/p0_0.wav").write_bytes(b"")
    (corpus / "notes.txt").write_text("x")
    result = cli("preprocess", corpus, out, *OPTIONS, "--json", "--quiet", "--max-bad", "0.5")
    assert (result.exit_code, result.stderr) == (0, "")
    told = json.loads(result.stdout)
    assert (told["command"], told["status"], told["exit_code"], told["warnings"]) == ("preprocess", "ok", 0, [])
    assert (told["out"], told["already_done"], told["mel_digest"]) == (str(out), False, MEL.digest)
    assert told["mel_signature"] == MEL.signature
    counts = told["counts"]
    assert (counts["found"], counts["kept"], counts["rejected"]) == (18, 17, {"EMPTY": 1})
    assert counts["ignored"] == {".txt": 1}


def test_unknown_subjects_are_warned_about(cli: Cli, tiny_corpus: Path, out: Path):
    result = cli("preprocess", tiny_corpus, out, *OPTIONS[:-2], "--quiet")
    assert result.exit_code == 0
    assert "clips of one patient may land on both sides of a split. Give --subject-pattern" in result.stderr


def test_every_setting_is_an_option(cli: Cli, tiny_corpus: Path, out: Path):
    options = {
        "sample_rate": 7000,
        "n_fft": 300,
        "win_length": 250,
        "hop_length": 50,
        "window": "hamming",
        "n_mels": 12,
        "f_min": 50.0,
        "f_max": 3000.0,
        "mel_scale": "htk",
        "norm": "none",
        "power": 1,
        "center": False,
        "pad_mode": "edge",
        "log": "log10",
        "floor": 1e-6,
        "n_frames": 20,
        "stride_frames": 30,
        "short": "tile",
        "min_seconds": 0.3,
        "quiet_db": 30.0,
    }
    assert options.keys() == {*MelConfig.model_fields, *ClipConfig.model_fields}
    words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", value)]
    at = words.index("--center")
    words[at : at + 2] = ["--no-center"]
    assert cli("preprocess", tiny_corpus, out, *words).exit_code == 0
    about = FeatureSet.open(out).about
    assert about["mel"] | about["clip"] == options


def test_options_stand_over_the_library_and_the_library_over_the_preset(cli: Cli, tiny_corpus: Path, out: Path):
    words = ("--preset", "heart", "--like", "torchaudio", "--floor", "1e-5", "--n-fft", "1024")
    assert cli("preprocess", tiny_corpus, out, *words).exit_code == 0
    features = FeatureSet.open(out)
    expected = PRESETS["heart"].mel.with_changes(**CONVENTIONS["torchaudio"] | {"floor": 1e-5, "n_fft": 1024})
    assert features.mel == expected
    assert features.about["clip"] == PRESETS["heart"].clip.model_dump()


def zero_bytes(path: Path) -> None:
    path.write_bytes(b"")


def text(path: Path) -> None:
    path.write_text("not a sound\n" * 50)


def cut_flac(path: Path) -> None:
    flac = path.with_suffix(".flac")
    soundfile.write(flac, sound("hiss", 0), 8000)
    flac.write_bytes(flac.read_bytes()[:4000])
    path.unlink()


def not_a_number(path: Path) -> None:
    soundfile.write(path, np.append(sound("hum", 0), np.nan), 8000, "FLOAT")


def a_hundredth_second(path: Path) -> None:
    soundfile.write(path, sound("hum", 0, seconds=0.01), 8000)


def removed_link(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.with_name("gone.wav"))


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


BAD_FILES = {
    a_pipe: "UNREADABLE",
    zero_bytes: "EMPTY",
    text: "UNREADABLE",
    cut_flac: "TRUNCATED",
    not_a_number: "NON_FINITE",
    a_hundredth_second: "TOO_SHORT",
    removed_link: "MISSING",
}


@pytest.mark.parametrize(("spoil", "code"), BAD_FILES.items())
def test_one_bad_file_is_listed_and_the_run_goes_on(cli: Cli, corpus: Path, out: Path, spoil, code: str):
    spoil(corpus / "hum/p1_1.wav")
    result = cli("preprocess", corpus, out, *OPTIONS, "--max-bad", "0.06")
    assert result.exit_code == 0
    told = rows(result)
    assert (told["kept"][:2], told["rejected"]) == ("17", f"1 reasons in {out / 'rejected.jsonl'}")
    assert told[code] == "1"
    (row,) = map(json.loads, (out / "rejected.jsonl").read_text().splitlines())
    assert row["path"].startswith("hum/p1_1.")
    assert (row["code"], row.keys()) == (code, {"path", "start_s", "end_s", "code", "reason"})
    assert len(set(FeatureSet.open(out).column("recording"))) == 17


def test_too_many_bad_files_are_exit_code_4(cli: Cli, corpus: Path, out: Path):
    paths = [*sorted((corpus / "hum").iterdir()), *sorted((corpus / "hiss").iterdir())[:2]]
    for spoil, path in zip([*BAD_FILES, zero_bytes], paths, strict=True):
        spoil(path)
    result = cli("preprocess", corpus, out, *OPTIONS, "--json")
    assert result.exit_code == 4
    message = json.loads(result.stdout)["message"]
    by_code = "2 EMPTY, 1 MISSING, 1 NON_FINITE, 1 TOO_SHORT, 1 TRUNCATED, 2 UNREADABLE"
    assert f"8 of 18 recordings were rejected ({by_code}); expected at most 5.0%" in message
    assert str(out / "rejected.jsonl") in message
    assert FeatureSet.open(out).labels == ["hiss", "knock"]
    assert sorted(os.listdir(out.parent)) == ["out", "out.receipt.json"]


def one_label(corpus: Path) -> None:
    shutil.rmtree(corpus / "hum")
    shutil.rmtree(corpus / "hiss")


def empty(corpus: Path) -> None:
    shutil.rmtree(corpus)
    corpus.mkdir()


def all_bad(corpus: Path) -> None:
    for path in corpus.glob("*/*"):
        zero_bytes(path)


@pytest.mark.parametrize(
    ("spoil", "exit_code", "words"),
    [
        (empty, 3, ("has no audio in sub-folders", "expected LABEL/FILE", "Sort the files")),
        (one_label, 3, ("has one label, 'knock'", "expected two or more", "Add the others")),
        (shutil.rmtree, 3, ("does not exist", "expected a corpus", "Check the path")),
        (all_bad, 4, ("all 18 recordings", "EMPTY, the file has no bytes", "Repair the files")),
    ],
)
def test_a_bad_corpus_leaves_nothing(cli: Cli, corpus: Path, out: Path, spoil, exit_code: int, words: tuple[str, ...]):
    spoil(corpus)
    result = cli("preprocess", corpus, out, *OPTIONS)
    assert (result.exit_code, result.stdout) == (exit_code, "")
    assert all(word in result.stderr for word in ("error: ", *words))
    assert os.listdir(out.parent) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--hop-length", 0), ("hop_length is 0; expected at least 1",)),
        (("--f-max", 5000), ("f_max is 5000 Hz", "Nyquist frequency 4000 Hz", "Set f_max to 4000")),
        (("--n-mels", 400), ("of 400 mel bands are empty: 0 (0.0-", "Use n_mels ", " or n_fft ")),
        (("--n-frames", 0), ("n_frames is 0; expected at least 1",)),
        (("--mel-scale", "bark"), ("mel_scale is 'bark'; expected 'slaney' or 'htk'",)),
        (("--like", "kaldi"), ("like is 'kaldi'; expected one of librosa, torchaudio",)),
        (("--n-frames", 100_000_000), ("clips of 100000000 frames", "on", "threads", "or raise --mem-limit")),
        (("--mem-limit", "384M", "-j", 1, "--n-frames", 200_000), ("expected at most 192 MiB", "or raise --mem-limit")),
        (("--mem-limit", "384M", "-j", 2, "--n-frames", 100_000), ("on 2 threads; expected at most 192 MiB",)),
        (("--max-duration", 0), ("the longest duration is 0.0 hours; expected more than 0",)),
        (("--preset", "lung"), ("preset is 'lung'; expected one of surgical, heart",)),
        (("--subject-pattern", "p"), ("has no group; expected the subject in parentheses",)),
        (("--max-bad", "5"), ("max_bad is 5.0; expected a fraction from 0 to 1",)),
        (("--threads", "0"), ("--threads",)),
        (("--n-fft", "many"), ("--n-fft",)),
        (("--hop", "3"), ("--hop",)),
    ],
)
def test_wrong_options_are_exit_code_2(cli: Cli, tiny_corpus: Path, out: Path, options, words: tuple[str, ...]):
    result = cli("preprocess", tiny_corpus, out, *OPTIONS, *options)
    assert (result.exit_code, result.stdout) == (2, "")
    assert all(word in result.stderr for word in words)
    assert os.listdir(out.parent) == []


def test_a_changed_setting_on_an_existing_folder_is_exit_code_3(cli: Cli, tiny_corpus: Path, out: Path):
    cli("preprocess", tiny_corpus, out, *OPTIONS)
    before = files(out)
    result = cli("preprocess", tiny_corpus, out, *OPTIONS, "--n-mels", "16")
    assert (result.exit_code, result.stdout) == (3, "")
    assert "mel.n_mels is 32 there, 16 asked. Repeat the old settings, or name another output folder" in result.stderr
    assert files(out) == before


def test_a_folder_that_cannot_be_written_is_exit_code_3(cli: Cli, tiny_corpus: Path, tmp_path: Path):
    (tmp_path / "file").write_text("x")
    result = cli("preprocess", tiny_corpus, tmp_path / "file" / "out", *OPTIONS)
    assert result.exit_code == 3
    assert "Check the path" in result.stderr


def test_the_first_bad_file_ends_the_run_if_asked(cli: Cli, corpus: Path, out: Path):
    zero_bytes(corpus / "hum/p1_1.wav")
    text(corpus / "knock/p0_0.wav")
    result = cli("preprocess", corpus, out, *OPTIONS, "--on-error", "fail")
    assert (result.exit_code, result.stdout) == (4, "")
    assert "hum/p1_1.wav was rejected (EMPTY: the file has no bytes), and --on-error is fail" in result.stderr
    assert not list(out.parent.glob(f"*{out.name}*"))  # no block was finished: nothing to go on from
    assert cli("preprocess", corpus, out, *OPTIONS, "--on-error", "skip", "--max-bad", "0.5").exit_code == 0


def test_a_recording_longer_than_the_limit_is_rejected(cli: Cli, corpus: Path, out: Path):
    for name, subtype in (("bomb.wav", "PCM_16"), ("bomb.flac", "PCM_16"), ("bomb_ulaw.wav", "ULAW")):
        soundfile.write(corpus / "hum" / name, np.zeros(8000 * 20, np.int16), 8000, subtype)
    result = cli("preprocess", corpus, out, *OPTIONS[:-2], "--max-duration", "0.005", "--max-bad", "0.5")
    assert result.exit_code == 0
    told = [json.loads(line) for line in (out / "rejected.jsonl").read_text().splitlines()]
    assert [row["path"] for row in told] == ["hum/bomb.flac", "hum/bomb.wav", "hum/bomb_ulaw.wav"]
    assert {row["code"] for row in told} == {"TOO_LONG"}
    assert all("0.006 h; expected at most 0.005 h. Raise --max-duration" in row["reason"] for row in told)


def test_a_name_that_is_not_utf8_is_rejected_and_a_name_in_two_folders_is_two_recordings(
    cli: Cli, corpus: Path, out: Path
):
    shutil.copy(corpus / "hum/p0_0.wav", os.fsencode(corpus) + b"/hum/p0_\xff.wav")
    (corpus / "hum/deep").mkdir()
    shutil.copy(corpus / "hum/p0_0.wav", corpus / "hum/deep/p0_0.wav")
    (corpus / "hum/p0_loop.wav").symlink_to("p0_loop.wav")
    result = cli("preprocess", corpus, out, *OPTIONS[:-2], "--max-bad", "0.5", "--json")
    counts = json.loads(result.stdout)["counts"]
    assert (counts["found"], counts["kept"], counts["rejected"]) == (21, 19, {"NAME": 1, "UNREADABLE": 1})
    told = {row["path"]: row for row in map(json.loads, (out / "rejected.jsonl").read_text().splitlines())}
    assert told.keys() == {"hum/p0_loop.wav", r"hum/p0_\xff.wav"}
    assert "is not UTF-8" in told[r"hum/p0_\xff.wav"]["reason"]
    ids = FeatureSet.open(out).column("id")
    assert {"hum/p0_0.wav#0", "hum/deep/p0_0.wav#0"} <= set(ids)
    assert len(set(ids)) == len(ids)


def test_a_file_that_disappears_after_the_listing_is_rejected(
    cli: Cli, corpus: Path, out: Path, monkeypatch: pytest.MonkeyPatch
):
    def unlinked(*x):
        (corpus / "knock/p2_1.wav").unlink(missing_ok=True)
        return work(*x)

    work = workers.clips_of_batch
    monkeypatch.setattr(workers, "clips_of_batch", unlinked)
    assert cli("preprocess", corpus, out, *OPTIONS, "--max-bad", "0.5").exit_code == 0
    (row,) = map(json.loads, (out / "rejected.jsonl").read_text().splitlines())
    assert (row["path"], row["code"]) == ("knock/p2_1.wav", "MISSING")


@pytest.mark.parametrize(
    ("error", "exit_code", "sentence"),
    [
        (MemoryError("too much"), 6, "out of memory"),
        (OSError(errno.ENOSPC, "No space left on device"), 6, "No space left on device"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), 6, "Disk quota exceeded. Make room"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), 6, "out of memory"),
        (ZeroDivisionError("division by zero"), 1, "this is a bug in clinaug-fast preprocess"),
    ],
)
def test_what_breaks_a_run_has_its_exit_code_and_the_next_run_goes_on(
    cli: Cli, tiny_corpus: Path, out: Path, monkeypatch: pytest.MonkeyPatch, error, exit_code: int, sentence: str
):
    def broken(*x):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(native, "wav_log_mel", broken)
        result = cli("preprocess", tiny_corpus, out, *OPTIONS, "--json")
    assert result.exit_code == exit_code
    assert sentence in result.stderr
    assert sentence in json.loads(result.stdout)["message"]
    assert os.listdir(out.parent) == []  # the first block broke: nothing to go on from
    assert cli("preprocess", tiny_corpus, out, *OPTIONS).exit_code == 0
    assert sorted(os.listdir(out.parent)) == ["out", "out.receipt.json"]


def test_an_unset_variable_is_not_the_current_folder(cli: Cli, tiny_corpus: Path, out: Path):
    for arguments in (("", out), (tiny_corpus, "")):
        result = cli("preprocess", *arguments, *OPTIONS)
        assert result.exit_code == 2
        assert "it is empty; expected a path." in " ".join(result.stderr.replace("│", " ").split())


def test_a_key_that_others_may_read_is_warned_of(cli: Cli, tiny_corpus: Path, out: Path, tmp_path: Path):
    key = tmp_path / "study.key"
    arguments = ("preprocess", tiny_corpus, out, *OPTIONS, "--deidentify", key)
    assert "chmod" not in cli(*arguments).stderr
    for mode in (0o640, 0o604):
        key.chmod(mode)
        assert f"{key} may be read by others" in cli(*arguments).stderr


@pytest.mark.skipif("avx2" not in _native.instruction_sets, reason="neither AVX2 nor AVX-512 here")
def test_machines_of_one_arithmetic_make_the_same_bytes_and_others_are_refused(tiny_corpus: Path, out: Path):
    def made(name: str, isa: str) -> subprocess.CompletedProcess:
        code = "from clinaug_fast.cli.main import run; run()"
        command = [sys.executable, "-c", code, "preprocess", tiny_corpus, out.with_name(name), *OPTIONS]
        return subprocess.run(command, env=os.environ | {"CLINAUG_ISA": isa}, capture_output=True, text=True)

    names = [name for name in _native.instruction_sets if name != "baseline"]
    assert [made(name, name).returncode for name in names] == [0] * len(names)
    sets = [out.with_name(name) for name in names]
    for file in filter(Path.is_file, sets[0].rglob("*")):
        for other in sets[1:]:
            assert (other / file.relative_to(sets[0])).read_bytes() == file.read_bytes()
    result = made(names[0], "baseline")
    assert result.returncode == 3
    bits = native.BITS
    assert f"which CLINAUG_ISA and the build choose, is 'x86-64-v3 {bits}' there, 'baseline " in result.stderr
