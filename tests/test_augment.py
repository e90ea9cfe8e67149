"""augment: altered copies of real clips that stay with their recording, whatever the split."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from clinaug_fast.augment import augment as module
from clinaug_fast.augment.augment import PICTURE, augment
from clinaug_fast.config import AugmentConfig, ClipConfig
from clinaug_fast.errors import InputError, LeakageError, SettingsError
from clinaug_fast.features.feature_set import FeatureSet, new_feature_set
from clinaug_fast.features.folds import make_folds
from clinaug_fast.features.lineage import unseen_rows
from clinaug_fast.features.verify import verify
from clinaug_fast.preprocess.deidentify import read_or_make_key
from clinaug_fast.preprocess.pipeline import preprocess
from conftest import MEL, SUBJECT_PATTERN, files, sound, write_corpus, write_features

KINDS = ("noise", "pitch", "stretch", "specaugment")
CLIP = ClipConfig(n_frames=32)


@pytest.fixture
def picture() -> None:
    """Asked for by tests of what the picture shows."""


@pytest.fixture(autouse=True)
def quick_pictures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """To draw one takes longer than all else: elsewhere what would be drawn stands for it."""
    if "picture" not in request.fixturenames:
        monkeypatch.setattr(module, "save_real_above", lambda path, *drawn: path.write_text(repr(drawn)))


def features_of(corpus: Path, out: Path, clip: ClipConfig = CLIP, **how) -> FeatureSet:
    how = {"subject_pattern": SUBJECT_PATTERN} | how
    preprocess(corpus, out, MEL, clip, threads=1, **how)
    return FeatureSet.open(out)


@pytest.fixture(scope="module")
def features(tiny_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> FeatureSet:
    return features_of(tiny_corpus, tmp_path_factory.mktemp("augment") / "features")


def of(by: str, corpus: Path) -> dict:
    return {} if by == "specaugment" else {"corpus": corpus}


@pytest.mark.parametrize("by", KINDS)
def test_each_clip_has_its_copies(features, tiny_corpus, tmp_path, by, picture):
    config = AugmentConfig(by=by, copies=2)
    result = augment(features, tmp_path / "out", config, **of(by, tiny_corpus))
    made = result.features
    assert not result.already_done
    assert verify(made.path).whole
    assert made.mel == features.mel
    assert made.labels == features.labels
    ids = features.column("id")
    assert made.column("id").tolist() == [f"{by}{copy}/{name}" for name in ids for copy in range(2)]
    for name in ("recording", "subject", "label", "start_s"):
        assert made.column(name).tolist() == np.repeat(features.column(name), 2).tolist()
    assert made.lineage["kind"] == "augmented"
    assert made.lineage["features"] == features.fingerprint
    clips, real = made.clips().reshape(len(features), 2, *features.clip_shape), features.clips()
    assert np.isfinite(clips).all()
    altered = np.abs(clips - real[:, None]).max(axis=(2, 3))
    assert (altered > 0.01).mean() > 0.9  # a mask may have no width
    assert (np.abs(clips[:, 0] - clips[:, 1]).max(axis=(1, 2)) > 0.01).mean() > 0.9  # each copy is drawn anew
    assert np.abs(np.median(clips - real[:, None], axis=(2, 3))).mean() < 2.0  # and yet like the real one
    # The picture shows real clips, and the very same ones altered below.
    assert result.picture.name == PICTURE
    assert result.picture.stat().st_size > 10_000


def test_the_sound_is_that_of_the_clips(tiny_corpus, tmp_path, monkeypatch):
    """Unaltered, what is cut again is what preprocess made: of other rates, segments, short, quiet clips, overlaps."""
    corpus = tmp_path / "corpus"
    write_corpus(corpus, rate=11025, seconds=1.5)
    for label in ("hum", "hiss"):  # shorter than a clip; and one with silence in its middle
        soundfile.write(corpus / label / "p0_short.wav", sound(label, 99, seconds=0.15), 8000)
        parts = [sound(label, 98, seconds=0.7), np.zeros(8000), sound(label, 97, seconds=0.7)]
        soundfile.write(corpus / label / "p1_gap.flac", np.stack([np.concatenate(parts)] * 2, axis=1), 8000)
    rows = [
        (path.relative_to(tmp_path), path.parent.name)
        for path in sorted(corpus.rglob("*.*"))
        if path.name != "p2_1.wav"
    ]
    lines = [f"{path},{label},p{k % 4},," for k, (path, label) in enumerate(rows)]
    lines += [f"corpus/hum/p2_1.wav,hum,q{k},{0.5 * k},{0.5 * k + 0.4}" for k in range(3)]
    (tmp_path / "table.csv").write_text("path,label,subject,start_s,end_s\n" + "\n".join(lines) + "\n")
    monkeypatch.setattr(module, "_alteration", lambda config, rng, rate, length, _: (lambda x: x, length))
    for name, clip in {
        "tile": ClipConfig(n_frames=32, short="tile"),
        "pad": ClipConfig(n_frames=32, stride_frames=9),
    }.items():
        real = features_of(tmp_path / "table.csv", tmp_path / name, clip, subject_pattern=None)
        result = augment(real, tmp_path / f"{name} again", AugmentConfig(by="noise"), corpus=tmp_path / "table.csv")
        assert result.features.column("id").tolist() == [f"noise0/{name}" for name in real.column("id")]
        np.testing.assert_allclose(result.features.clips(), real.clips(), atol=2e-4)
        assert len({*real.column("start_s")}) > 3
        places = [int(name.rpartition("#")[2]) for name in real.column("id") if "hum/p1_gap" in name]
        assert places != list(range(len(places)))  # a quiet one is left out


@pytest.mark.parametrize("by", KINDS)
def test_the_same_bytes_from_any_number_of_threads(features, tiny_corpus, tmp_path, by):
    for threads in (1, 3):
        augment(features, tmp_path / str(threads), AugmentConfig(by=by), threads=threads, **of(by, tiny_corpus))
    assert files(tmp_path / "1") == files(tmp_path / "3")


@pytest.mark.parametrize("by", ["noise", "specaugment"])
def test_more_copies_begin_with_the_fewer_and_other_seeds_are_others(features, tiny_corpus, tmp_path, by):
    def clips(name: str, **how) -> np.ndarray:
        made = augment(features, tmp_path / name, AugmentConfig(by=by, **how), **of(by, tiny_corpus)).features
        return made.clips()

    few, more, other = clips("few"), clips("more", copies=3), clips("other", seed=1)
    np.testing.assert_array_equal(few, more[::3])
    assert (np.abs(few - other).max(axis=(1, 2)) > 0.01).mean() > 0.9


def test_a_stretched_clip_goes_on_where_the_recording_does(features, tiny_corpus, tmp_path):
    """Faster than the clip is long, it is filled from what follows in the recording, not with silence."""
    made = augment(
        features, tmp_path / "out", AugmentConfig(by="stretch", rate=2.0), corpus=tmp_path / ".." / tiny_corpus
    )
    first = [name.endswith("#0") for name in features.column("id")]
    loud = made.features.clips()[first] > np.log(1e-9)
    assert loud.mean(axis=(1, 2)).min() > 0.9


@pytest.mark.parametrize("by", ["noise", "specaugment"])
def test_a_fold_gets_the_copies_of_its_training_recordings(features, tiny_corpus, tmp_path, by):
    made = augment(features, tmp_path / "out", AugmentConfig(by=by, copies=2), **of(by, tiny_corpus)).features
    for seed in range(3):
        folds = make_folds(features, 3, seed)
        for fold in range(3):
            train, test = folds.rows(features, fold)
            rows = unseen_rows(made, features, folds, fold)
            assert sorted(made.column("recording")[rows]) == sorted(np.repeat(features.column("recording")[train], 2))
            assert not {*made.column("subject")[rows]} & {*features.column("subject")[test]}


def test_copies_of_another_set_or_with_other_names_are_refused(features, tiny_corpus, tmp_path):
    folds = make_folds(features, 3, 0)
    made = augment(features, tmp_path / "out", AugmentConfig(by="specaugment")).features
    other = features_of(tiny_corpus, tmp_path / "other", ClipConfig(n_frames=32, stride_frames=16))
    with pytest.raises(LeakageError, match=r"was augmented from the feature set .* Augment again from"):
        unseen_rows(made, other, make_folds(other, 3, 0), 0)
    rows = made.index.to_pylist()
    other_id = rows[-1]["id"].replace("#", "#9")
    for name, value in (("subject", "p9"), ("recording", "hum/another.wav"), ("label", "knock"), ("id", other_id)):
        with new_feature_set(tmp_path / name, made.mel, 32, made.labels, made.lineage) as writer:
            for number, row in enumerate(rows):
                about = {key: row[key] for key in ("id", "recording", "subject", "label", "start_s")}
                writer.add(np.zeros(made.clip_shape, np.float32), **about | ({name: value} if number == 20 else {}))
        with pytest.raises(InputError, match=r"expected altered copies of clips as .* Augment it anew"):
            unseen_rows(FeatureSet.open(tmp_path / name), features, folds, 0)
    with new_feature_set(tmp_path / "bare", made.mel, 32, made.labels, {"kind": "augmented"}) as writer:
        writer.add(np.zeros(made.clip_shape, np.float32), id="a", recording="a", label="hum", start_s=0.0)
    with pytest.raises(InputError, match=r"does not tell the features that it was augmented from.*Augment it anew"):
        unseen_rows(FeatureSet.open(tmp_path / "bare"), features, folds, 0)


def test_what_is_drawn_follows_from_strength_clip_and_copy(features, tiny_corpus, tmp_path, monkeypatch):
    """Both ways, as far as the strength says, and for each clip and copy anew."""
    drawn = {}

    def noted(by, strength):
        def draw(x, *_, **how):
            drawn.setdefault((by, strength), []).append(how.get("snr_db", how.get("semitones", how.get("rate"))))
            return x

        return draw

    for by, name, function, strengths in (
        ("noise", "snr_db", "with_noise", (10.0, 30.0)),
        ("pitch", "semitones", "pitch_shifted", (2.0, 5.0)),
        ("stretch", "rate", "stretched", (1.25, 2.0)),
    ):
        for strength in strengths:
            monkeypatch.setattr(module, function, noted(by, strength))
            config = AugmentConfig(by=by, copies=2, **{name: strength})
            augment(features, tmp_path / f"{by}{strength}", config, corpus=tiny_corpus)
            values = np.array(drawn[by, strength])
            assert len(values) == 2 * len(features) == len({*values})
            low, high = {
                "noise": (strength, strength + 20.0),
                "pitch": (-strength, strength),
                "stretch": (1.0 / strength, strength),
            }[by]
            assert low <= values.min() < low + 0.1 * (high - low)
            assert high - 0.1 * (high - low) < values.max() <= high
            assert np.median(values) == pytest.approx(
                1.0 if by == "stretch" else (low + high) / 2, abs=0.15 * (high - low)
            )


def test_masks_do_not_depend_on_how_many_are_made_at_once(features, tmp_path, monkeypatch):
    for n in (1024, 5):
        monkeypatch.setattr(module, "CLIPS_AT_ONCE", n)
        augment(features, tmp_path / str(n), AugmentConfig(by="specaugment", mask=0.5))
    assert files(tmp_path / "1024") == files(tmp_path / "5")
    wide = FeatureSet.open(tmp_path / "5").clips() != features.clips()
    assert wide.all(axis=2).sum(axis=1).max() > 16  # bands of a clip of 32: more than two masks of 0.2 could hide
    with pytest.raises(SettingsError, match=r"mask is 0.01, less than one of 32 bands"):
        augment(features, tmp_path / "none", AugmentConfig(by="specaugment", mask=0.01))
    assert not (tmp_path / "none").exists()


def test_windows_are_made_some_at_a_time(features, tiny_corpus, tmp_path, monkeypatch):
    for n in (64, 1):
        monkeypatch.setattr(module, "WINDOWS_AT_ONCE", n)
        augment(features, tmp_path / str(n), AugmentConfig(by="stretch", copies=2), corpus=tiny_corpus)
    assert files(tmp_path / "64") == files(tmp_path / "1")


@pytest.mark.parametrize("short", ["pad", "tile"])
def test_a_recording_that_fills_its_clip_fills_its_copies(tmp_path, short):
    """Of a recording hardly longer than a clip, nothing ends in silence that the real clips have not."""
    corpus = write_corpus(tmp_path / "corpus", seconds=0.26)  # a clip is 0.25 s
    real = features_of(corpus, tmp_path / "real", ClipConfig(n_frames=32, short=short))
    made = augment(real, tmp_path / "out", AugmentConfig(by="stretch", rate=2.0, copies=4), corpus=corpus).features
    silent = made.clips()[:, :, :30] <= np.log(1e-9)
    assert silent.all(axis=1).sum() == 0


def test_site_and_device_stay(tiny_corpus, tmp_path):
    rows = [(path, path.parent.name, path.name[:2]) for path in sorted(tiny_corpus.rglob("*.wav"))]
    lines = [f"{path},{label},{subject},s{k % 2},d{k % 3}" for k, (path, label, subject) in enumerate(rows)]
    (tmp_path / "table.csv").write_text("path,label,subject,site,device\n" + "\n".join(lines) + "\n")
    real = features_of(tmp_path / "table.csv", tmp_path / "real", subject_pattern=None)
    made = augment(real, tmp_path / "out", AugmentConfig(by="noise"), corpus=tmp_path / "table.csv").features
    for name in ("site", "device"):
        assert made.column(name).tolist() == real.column(name).tolist()
        assert len({*made.column(name)}) > 1


def test_augmented_clips_are_no_real_ones(features, tmp_path):
    made = augment(features, tmp_path / "out", AugmentConfig(by="specaugment")).features
    for refused in (
        lambda: augment(made, tmp_path / "again", AugmentConfig(by="specaugment")),
        lambda: make_folds(made, 3),
    ):
        with pytest.raises(
            InputError, match="holds augmented clips, each an altered copy of a real one; expected real"
        ):
            refused()
    assert not (tmp_path / "again").exists()


def test_what_is_made_stays(features, tmp_path):
    config = AugmentConfig(by="specaugment")
    augment(features, tmp_path / "out", config)
    before = files(tmp_path / "out")
    (tmp_path / "out" / PICTURE).unlink()
    assert augment(features, tmp_path / "out", config).already_done
    assert files(tmp_path / "out") == before
    with pytest.raises(InputError, match=r"other settings: copies is 1 there, 2 asked; mask is 0.2 there, 0.3 asked"):
        augment(features, tmp_path / "out", AugmentConfig(by="specaugment", copies=2, mask=0.3))
    with pytest.raises(InputError, match="holds real clips; expected a new folder for the augmented ones"):
        augment(features, features.path, config)


def test_who_comes_second_finds_the_set(features, tmp_path, monkeypatch):
    real, config = module._make, AugmentConfig(by="specaugment")

    def made_by_another_first(*arguments):
        real(*arguments)
        real(*arguments)

    monkeypatch.setattr(module, "_make", made_by_another_first)
    assert augment(features, tmp_path / "out", config).already_done
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("threads", [1, 2])
def test_a_stopped_run_leaves_nothing(features, tiny_corpus, tmp_path, monkeypatch, threads):
    calls = []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return waveform(*arguments)

    waveform = module.waveform
    monkeypatch.setattr(module, "waveform", interrupted)
    with pytest.raises(KeyboardInterrupt):
        augment(features, tmp_path / "out", AugmentConfig(by="noise"), corpus=tiny_corpus, threads=threads)
    assert not list(tmp_path.iterdir())


def test_a_corpus_that_is_not_the_one_is_refused(features, tiny_corpus, tmp_path):
    noise = AugmentConfig(by="noise")
    changed = shutil.copytree(tiny_corpus, tmp_path / "changed")
    (changed / "hum" / "p0_9.wav").write_bytes((changed / "hum" / "p0_0.wav").read_bytes())
    with pytest.raises(InputError, match="another corpus, or files have come, gone or changed their size since"):
        augment(features, tmp_path / "out", noise, corpus=changed)
    spoilt = shutil.copytree(tiny_corpus, tmp_path / "spoilt")
    broken = spoilt / "hum" / "p1_0.wav"
    whole = broken.read_bytes()
    broken.write_bytes(b"x" * broken.stat().st_size)
    with pytest.raises(InputError, match=r"p1_0.wav can no longer be used: .* It could when the features were made"):
        augment(features, tmp_path / "out", noise, corpus=spoilt)
    other = (spoilt / "hum" / "p2_0.wav").read_bytes()  # the sound of another subject, in as many bytes
    for content in (
        other,
        whole[:22] + b"\2\0" + whole[24:32] + b"\4\0" + whole[34:],
    ):  # and two channels of what was one
        broken.write_bytes(content)
        with pytest.raises(InputError, match=r"p1_0.wav does not hold the sound that .* its file was changed since"):
            augment(features, tmp_path / "out", noise, corpus=spoilt)
    assert not (tmp_path / "out").exists()
    hashed = features_of(
        tiny_corpus, tmp_path / "hashed", deidentify_key=read_or_make_key(tmp_path / "key", tmp_path / "o")
    )
    with pytest.raises(InputError, match="has hashes for names"):
        augment(hashed, tmp_path / "out", noise, corpus=tiny_corpus)
    assert len(augment(hashed, tmp_path / "out", AugmentConfig(by="specaugment")).features) == len(hashed)


def test_a_set_that_does_not_tell_how_it_was_cut_is_refused(tmp_path, tiny_corpus):
    foreign = write_features(tmp_path / "foreign", MEL, 32)
    with pytest.raises(InputError, match="does not tell how clips were cut: its clip is None"):
        augment(foreign, tmp_path / "out", AugmentConfig(by="noise"), corpus=tiny_corpus)
    assert len(augment(foreign, tmp_path / "out", AugmentConfig(by="specaugment")).features) == len(foreign)


@pytest.mark.parametrize("by", KINDS)
def test_the_corpus_is_named_where_it_is_needed(features, tiny_corpus, tmp_path, by):
    named = {} if by != "specaugment" else {"corpus": tiny_corpus}
    sentence = "alters sound; expected the corpus that" if by != "specaugment" else "Leave it out"
    with pytest.raises(SettingsError, match=sentence):
        augment(features, tmp_path / "out", AugmentConfig(by=by), **named)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"by": "echo"}, "by is 'echo'; expected 'noise', 'pitch', 'stretch' or 'specaugment'"),
        ({"by": "pitch", "rate": 1.5}, "rate is given beside pitch; expected it with stretch alone. Leave it out"),
        ({"by": "stretch", "rate": 1.0}, "rate is 1.0; expected more than 1"),
        ({"by": "specaugment", "mask": 0.0}, "mask is 0.0; expected more than 0"),
        ({"by": "noise", "copies": 0}, "copies is 0; expected at least 1"),
    ],
)
def test_settings_that_make_no_sense(given, sentence):
    with pytest.raises(SettingsError, match=sentence):
        AugmentConfig(**given)


def test_end_to_end(cli, tiny_corpus, tmp_path):
    """preprocess, augment, split, evaluate: one arm each."""
    features, out = tmp_path / "features", tmp_path / "evaluation"
    clip = ("--n-frames", 32, "--subject-pattern", SUBJECT_PATTERN, "-q")
    mel = ("--sample-rate", 8000, "--n-fft", 256, "--hop-length", 64, "--n-mels", 32)
    assert cli("preprocess", tiny_corpus, features, *mel, *clip).exit_code == 0
    arms = []
    for by in ("noise", "specaugment"):
        named = () if by == "specaugment" else ("--corpus", tiny_corpus)
        result = cli("augment", features, tmp_path / by, "--by", by, *named)
        assert result.exit_code == 0, result.stderr
        n = len(FeatureSet.open(features))
        assert f"{tmp_path / by} is written: {n} clips of 3 labels, altered by {by}\n" in result.stdout
        assert f"next: clinaug-fast split {features}, then clinaug-fast evaluate" in result.stdout
        arms += ["--synthetic", f"{by}={tmp_path / by}"]
        assert result.stdout.endswith(f"evaluate {features} EVALUATION --synthetic {by}={tmp_path / by}\n")
    told = json.loads(
        cli("augment", features, tmp_path / "noise", "--by", "noise", "--corpus", tiny_corpus, "--json").stdout
    )
    assert told["already_done"]
    assert told["strength"] == {"snr_db": 10.0}
    assert "next" not in told
    assert cli("split", features, "--folds", 3).exit_code == 0
    fast = ("--width", 2, "--steps", 3, "--batch-size", 4, "--seeds", 1)
    result = cli("evaluate", features, out, *arms, *fast)
    assert result.exit_code == 0, result.stderr
    assert json.loads((out / "scores.json").read_text())["arms"].keys() == {"none", "noise", "specaugment"}
    assert pq.read_metadata(out / "cells" / "noise" / "fold_0_seed_0.parquet").num_rows > 0
    for command in (("split", tmp_path / "noise"), ("train", tmp_path / "noise", tmp_path / "run")):
        refused = cli(*command)
        assert refused.exit_code == 3
        assert "holds augmented clips" in refused.stderr
    assert (
        cli("augment", features, tmp_path / "x", "--by", "pitch", "--mask", 0.1, "--corpus", tiny_corpus).exit_code == 2
    )
    assert cli("augment", features, tmp_path / "x", "--by", "pitch").exit_code == 2
