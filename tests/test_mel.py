"""The mel scale and filter bank against librosa; empty bands found, and the advice works."""

import re

import librosa
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinaug_fast.config import MelConfig
from clinaug_fast.errors import SettingsError
from clinaug_fast.mel import (
    ON_EDGE,
    _bins_inside,
    advise_bands,
    empty_bands,
    filter_bank,
    hz_to_mel,
    mel_to_hz,
    refuse_empty_bands,
)

contracts = st.builds(
    lambda sample_rate, n_fft, n_mels, mel_scale, norm, f_min: MelConfig(
        sample_rate=sample_rate, n_fft=n_fft, n_mels=n_mels, mel_scale=mel_scale, norm=norm, f_min=f_min
    ),
    st.sampled_from([2000, 8000, 22050, 44100]),
    st.integers(16, 2048),
    st.integers(1, 200),
    st.sampled_from(["slaney", "htk"]),
    st.sampled_from(["slaney", "none"]),
    st.floats(0.0, 900.0),
)


@pytest.mark.filterwarnings("ignore:Empty filters")
@given(contracts)
def test_the_filter_bank_is_librosas(mel: MelConfig):
    theirs = librosa.filters.mel(
        sr=mel.sample_rate,
        n_fft=mel.n_fft,
        n_mels=mel.n_mels,
        fmin=mel.f_min,
        fmax=mel.f_max,
        htk=mel.mel_scale == "htk",
        norm="slaney" if mel.norm == "slaney" else None,
        dtype=np.float64,
    )
    ours = filter_bank(mel)
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12 * max(1.0, theirs.max()))


@given(st.floats(0.0, 48000.0), st.sampled_from(["slaney", "htk"]))
def test_the_scale_inverts(hz: float, mel_scale: str):
    np.testing.assert_allclose(mel_to_hz(hz_to_mel(hz, mel_scale), mel_scale), hz, rtol=1e-12, atol=1e-9)


@given(contracts)
def test_empty_bands_are_the_rows_of_zeros(mel: MelConfig):
    heights = filter_bank(mel.with_changes(norm="none")).max(axis=1)
    assert empty_bands(mel) == np.flatnonzero(heights <= ON_EDGE).tolist()


@pytest.mark.parametrize(
    "contract",
    [
        {"sample_rate": 16000, "n_fft": 256, "n_mels": 64, "f_min": 62.5, "f_max": 8000.0, "mel_scale": "htk"},
        {"sample_rate": 8000, "n_fft": 256, "n_mels": 64, "f_min": 62.5, "f_max": 2000.0, "mel_scale": "htk"},
    ],
)
def test_a_bin_on_an_edge_fills_no_band(contract):
    """By rounding it weighs 1e-15, of which the logarithm is the floor."""
    mel = MelConfig(**contract)
    assert 0 < filter_bank(mel)[0].max() < 1e-12
    assert empty_bands(mel) == empty_bands(mel.with_changes(f_min=62.5 + 1e-6)) == [0]
    with pytest.raises(SettingsError, match="1 of 64 mel bands are empty: 0 "):
        refuse_empty_bands(mel)


@given(contracts)
def test_what_is_refused_comes_with_settings_that_work(mel: MelConfig):
    empty = empty_bands(mel)
    if not empty:
        refuse_empty_bands(mel)
        return
    with pytest.raises(SettingsError) as caught:
        refuse_empty_bands(mel)
    sentence, advice = str(caught.value).split(". Use ")
    assert f"{len(empty)} of {mel.n_mels} mel bands are empty: {empty[0]} (" in sentence
    advised = {name: int(value) for name, value in re.findall(r"(n_mels|n_fft) (\d+)", advice)}
    for name, value in advised.items():
        assert not empty_bands(mel.with_changes(**{name: value}))
    fewer = (n for n in range(mel.n_mels - 1, 0, -1) if not empty_bands(mel.with_changes(n_mels=n)))
    assert advised.get("n_mels") == next(fewer, None)


@pytest.mark.parametrize(("f_max", "wider"), [(8000.0, "a lower f_min"), (7900.5, "a higher f_max")])
def test_a_range_too_narrow_for_any_size_is_to_be_widened_where_it_can(f_max: float, wider: str):
    with pytest.raises(SettingsError, match=f"Use {wider}$"):
        refuse_empty_bands(MelConfig(sample_rate=16000, n_fft=64, n_mels=1, f_min=f_max - 0.5, f_max=f_max))


def test_a_range_that_cannot_be_widened_wants_a_larger_n_fft():
    with pytest.raises(SettingsError, match=r"Use a far larger n_fft$"):
        refuse_empty_bands(MelConfig(sample_rate=22050, n_fft=2, n_mels=64))


def test_a_bin_beside_an_edge_is_inside_and_one_on_it_but_for_rounding_is_not():
    for share, inside in ((1e-5, 1), (1e-9, 0)):
        for place in (share * 100.0, 200.0 - share * 100.0):
            assert _bins_inside(np.array([0.0, 100.0, 200.0]), np.array([place])).tolist() == [inside]


def test_the_largest_fft_is_advised_where_only_it_will_do():
    narrow = MelConfig(sample_rate=1 << 21, n_fft=4, n_mels=1, f_min=1.0, f_max=3.0)
    assert advise_bands(narrow).smallest_n_fft == 1 << 20
