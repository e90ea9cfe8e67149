"""Settings: defaults that follow, sentences for what is wrong, frames and samples that invert each other."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from clinaug_fast.config import CONVENTIONS, PRESETS, ClipConfig, MelConfig, whole_number
from clinaug_fast.errors import SettingsError
from clinaug_fast.native import log_mel

contracts = st.builds(
    lambda n_fft, hop_length, center: MelConfig(n_fft=n_fft, hop_length=hop_length, center=center, n_mels=4),
    st.integers(2, 600),
    st.integers(1, 700),
    st.booleans(),
)


@given(contracts, st.integers(1, 300))
def test_n_samples_is_the_shortest_waveform_with_exactly_n_frames(mel: MelConfig, n_frames: int):
    assume(n_frames > 1 or mel.hop_length > 1 or not mel.center or mel.n_fft % 2)
    n_samples = mel.n_samples(n_frames)
    assert mel.n_frames(n_samples) == n_frames
    assert mel.n_frames(n_samples - 1) < n_frames
    with pytest.raises(SettingsError, match="n_frames is 0; expected at least 1"):
        mel.n_samples(0)


@given(contracts, st.integers(1, 5000))
def test_n_frames_counts_the_frames_that_fit(mel: MelConfig, n_samples: int):
    padded = n_samples + (2 * (mel.n_fft // 2) if mel.center else 0)
    starts = [f * mel.hop_length for f in range(padded) if f * mel.hop_length + mel.n_fft <= padded]
    assert mel.n_frames(n_samples) == len(starts)


def test_no_waveform_has_one_centred_frame_a_sample():
    with pytest.raises(SettingsError, match="n_frames is 1; expected at least 2"):
        MelConfig(hop_length=1, n_fft=256).n_samples(1)


def test_defaults_follow_the_fields_that_are_given():
    mel = MelConfig(sample_rate=16000, n_fft=400)
    assert (mel.win_length, mel.hop_length, mel.f_max) == (400, 100, 8000.0)
    changed = mel.with_changes(n_fft=200, sample_rate=4000, f_min=None)
    assert (changed.win_length, changed.hop_length, changed.f_max, changed.f_min) == (200, 50, 2000.0, 0.0)
    kept = MelConfig(n_fft=400, win_length=300, hop_length=80).with_changes(n_fft=800)
    assert (kept.win_length, kept.hop_length) == (300, 80)
    assert ClipConfig().with_changes(n_frames=32).stride_frames == 32
    assert ClipConfig(stride_frames=10).with_changes(n_frames=32).stride_frames == 10


@pytest.mark.parametrize("library", CONVENTIONS)
def test_like_gives_the_conventions_that_are_not_given(library: str):
    mel = MelConfig(like=library, floor=1e-6)
    assert mel.floor == 1e-6
    for name, value in CONVENTIONS[library].items():
        assert name == "floor" or getattr(mel, name) == value


def test_presets_keep_their_sizes():
    sizes = {
        name: (preset.mel.sample_rate, preset.mel.n_fft, preset.mel.hop_length, preset.mel.n_mels, preset.clip.n_frames)
        for name, preset in PRESETS.items()
    }
    assert sizes == {"surgical": (44100, 2048, 512, 64, 64), "heart": (8000, 512, 128, 64, 64)}
    bands = {name: (preset.mel.f_min, preset.mel.f_max) for name, preset in PRESETS.items()}
    assert bands == {"surgical": (0.0, 22050.0), "heart": (20.0, 1000.0)}


@pytest.mark.parametrize("preset", PRESETS)
def test_a_contract_survives_json(preset: str):
    mel = PRESETS[preset].mel
    assert MelConfig(**mel.model_dump(mode="json")) == mel
    assert MelConfig(**mel.model_dump()).digest == mel.digest


def test_the_digest_names_the_contract():
    mel = MelConfig()
    changes = [
        {"sample_rate": 48000},
        {"n_fft": 1024},
        {"win_length": 100},
        {"hop_length": 100},
        {"window": "hamming"},
        {"n_mels": 32},
        {"f_min": 1.0},
        {"f_max": 9.0},
        {"mel_scale": "htk"},
        {"norm": "none"},
        {"power": 1},
        {"center": False},
        {"pad_mode": "edge"},
        {"log": "db"},
        {"floor": 1e-5},
    ]
    assert {key for change in changes for key in change} == set(MelConfig.model_fields)
    digests = {mel.with_changes(**change).digest for change in changes}
    assert len(digests | {mel.digest}) == len(changes) + 1


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"hop_length": 0}, "hop_length is 0; expected at least 1. Change it"),
        ({"n_fft": 1}, "n_fft is 1; expected at least 2"),
        ({"hop_length": 1 << 63}, "hop_length is 9223372036854775808; expected at most 2147483647. Change it"),
        ({"sample_rate": 1 << 31}, "sample_rate is 2147483648; expected at most 2147483647"),
        ({"n_fft": 256, "win_length": 512}, "win_length is 512; expected at most n_fft = 256"),
        ({"sample_rate": 8000, "f_max": 5000}, "f_max is 5000 Hz; expected at most the Nyquist frequency 4000 Hz"),
        ({"f_min": 300, "f_max": 300}, "f_min is 300 Hz; expected below f_max = 300 Hz"),
        ({"f_max": float("nan")}, "f_max is nan; expected"),
        ({"mel_scale": "bark"}, "mel_scale is 'bark'; expected 'slaney' or 'htk'"),
        ({"like": "kaldi"}, "like is 'kaldi'; expected one of librosa, torchaudio"),
        ({"like": ["librosa"]}, r"like is \['librosa'\]; expected one of librosa, torchaudio"),
        ({"floor": 1e-310}, "floor is 1e-310; expected at least 2.22507e-308, since the kernels take no logarithm of"),
        ({"hop": 3}, "hop is not a setting"),
        ({"n_mels": 0, "power": 3}, "n_mels is 0; expected at least 1.*; power is 3; expected 1 or 2"),
    ],
)
def test_wrong_settings_are_told_in_a_sentence(settings: dict, sentence: str):
    with pytest.raises(SettingsError, match=sentence) as caught:
        MelConfig(**settings)
    assert "factory" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_equal_contracts_have_one_digest():
    assert MelConfig(f_min=-0.0) == MelConfig()
    assert MelConfig(f_min=-0.0).digest == MelConfig().digest


@pytest.mark.parametrize("name", ["n_frames", "stride_frames"])
def test_clips_beyond_all_counting_are_told_in_a_sentence(name: str):
    with pytest.raises(SettingsError, match=f"{name} is {1 << 63}; expected at most 2147483647"):
        ClipConfig(**{name: 1 << 63})


def test_a_copy_with_other_fields_has_a_contract_of_its_own():
    mel = MelConfig(n_mels=12)
    changed = mel.model_copy(update={"log": "db", "n_fft": 4096})
    assert changed == MelConfig(n_mels=12, log="db", n_fft=4096)
    assert changed.contract == mel.with_changes(log="db", n_fft=4096).contract
    assert changed.digest != mel.digest
    assert changed.win_length == 4096
    assert mel.model_copy() == mel.model_copy(deep=True) == mel
    assert changed.model_copy(update={"n_fft": None}) == MelConfig(n_mels=12, log="db")
    with pytest.raises(SettingsError, match="n_mels is 0"):
        mel.model_copy(update={"n_mels": 0})


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("log", ["db", "log10", "ln"])
def test_ten_times_the_sound_is_20_db_in_any_unit(log: str, power: int):
    mel = MelConfig(sample_rate=8000, n_fft=256, n_mels=8, log=log, power=power)
    quiet = 0.01 * np.random.default_rng(0).standard_normal(mel.n_samples(4)).astype(np.float32)
    difference = log_mel(10 * quiet, mel) - log_mel(quiet, mel)
    np.testing.assert_allclose(difference * mel.unit_db, 20.0, rtol=1e-4)


def test_numbers_of_numpy_do_not_overflow():
    mel = MelConfig(sample_rate=8000, n_fft=1024, hop_length=256, n_mels=8)
    assert mel.n_frames(np.int16(32_000)) == mel.n_frames(32_000)
    assert mel.n_samples(np.int16(400)) == mel.n_samples(400)


def test_short_heart_sounds_are_repeated_and_others_are_not():
    assert {name: preset.clip.short for name, preset in PRESETS.items()} == {"surgical": "pad", "heart": "tile"}


def test_true_is_no_number():
    with pytest.raises(SettingsError, match="folds is True; expected a whole number"):
        whole_number("folds", True)
