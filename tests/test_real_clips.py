"""log_mel on real recordings, under both libraries' conventions: librosa's numbers and torch's accuracy."""

import librosa
import numpy as np
import pytest
import soundfile
import torch

from clinaug_fast import MelConfig, native, ops
from clinaug_fast.config import PRESETS
from tolerance import FLOAT32_DB, worst

SIZES = {"heart": (8000, 512, 128, 64), "esc10": (44100, 2048, 512, 64)}
# The level in the log that corresponds to 60 dB of power above the floor of 1e-10, in dB.
HIGH_DB = -100.0 + 60.0


@pytest.mark.corpus
@pytest.mark.parametrize("like", ["librosa", "torchaudio"])
@pytest.mark.parametrize("corpus", SIZES)
def test_real_clips(corpora, corpus, like):
    rate, n_fft, hop, n_mels = SIZES[corpus]
    config = MelConfig(like=like, sample_rate=rate, n_fft=n_fft, hop_length=hop, n_mels=n_mels)
    paths = sorted(path for path in (corpora / corpus).glob("*/*") if path.suffix in (".wav", ".ogg"))
    for path in paths[:: len(paths) // 20]:
        x, found = soundfile.read(path, dtype="float32")
        assert found == rate
        ours = native.log_mel(x, config)
        exact = native.log_mel(x.astype(np.float64), config)
        power = librosa.feature.melspectrogram(
            y=x.astype(np.float64),
            sr=rate,
            n_fft=n_fft,
            hop_length=hop,
            n_mels=n_mels,
            pad_mode=config.pad_mode,
            htk=config.mel_scale == "htk",
            norm=None if config.norm == "none" else "slaney",
            dtype=np.float64,
        )
        theirs = ops.log_mel_reference(torch.from_numpy(x), config).numpy()
        assert worst(exact, librosa.power_to_db(power, top_db=None)) < 1e-6
        high = exact >= HIGH_DB
        assert high.any()
        assert worst(ours, exact) < FLOAT32_DB
        assert worst(ours[~high], exact[~high]) <= worst(theirs[~high], exact[~high])


@pytest.mark.corpus
def test_under_the_heart_preset_no_clip_is_further_off_than_torch(corpora):
    """Its bands are one or two bins wide, so that the rounding of a bin is that of a band."""
    config = PRESETS["heart"].mel
    in_db = 10.0 / np.log(10.0)
    for path in sorted((corpora / "heart").glob("*/*.wav")):
        x, _ = soundfile.read(path, dtype="float32")
        exact = native.log_mel(x.astype(np.float64), config)
        theirs = worst(ops.log_mel_reference(torch.from_numpy(x), config).numpy(), exact) * in_db
        assert worst(native.log_mel(x, config), exact) * in_db < min(theirs, FLOAT32_DB)
