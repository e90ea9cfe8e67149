"""lhotse as a contender of `bench_preprocess`, run by an interpreter of its own, whose environment has lhotse.

`python peer_lhotse.py CORPUS RATE N_FFT HOP N_MELS`: each line on stdin names a new folder, which is filled
with the features of every recording, its own defaults otherwise; then a line is written back.
"""

import sys
from pathlib import Path

import torch
from lhotse import CutSet, MonoCut, NumpyFilesWriter, Recording
from lhotse.cut import Cut
from lhotse.features.kaldi.extractors import Fbank, FbankConfig


def main() -> None:
    corpus, (rate, n_fft, hop, n_mels) = Path(sys.argv[1]), map(int, sys.argv[2:])
    torch.set_num_threads(1)
    config = FbankConfig(sampling_rate=rate, frame_length=n_fft / rate, frame_shift=hop / rate, num_filters=n_mels)
    print("ready", flush=True)
    for line in sys.stdin:
        cuts = CutSet.from_cuts(map(mono_cut, sorted(path for path in corpus.rglob("*") if path.is_file())))
        cuts = cuts.resample(rate)
        cuts.compute_and_store_features(
            Fbank(config), line.strip(), num_jobs=1, storage_type=NumpyFilesWriter, progress_bar=False
        )
        print("done", flush=True)


def mono_cut(path: Path) -> Cut:
    cut = Recording.from_file(path, recording_id=path.as_posix()).to_cut()
    return cut if isinstance(cut, MonoCut) else cut.to_mono(mono_downmix=True)


if __name__ == "__main__":
    main()
