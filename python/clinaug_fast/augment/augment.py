"""Altered copies of every clip of a feature set, as a feature set of its own.

Takes real FEATURES and, but for specaugment, the corpus that they were made of; leaves as many altered clips of each
real one as asked, each with the recording, subject and label of that one, and `real_above_augmented.png`. It may come
before or after the split: `evaluate` gives a fold the clips of its training recordings alone.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import product
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np

from clinaug_fast import native
from clinaug_fast.augment.sources import Source, Sources, cut_again, sources_of, waveform
from clinaug_fast.augment.transforms import librosa_version, masked, pitch_shifted, stretched, widest, with_noise
from clinaug_fast.config import AugmentConfig, whole_number
from clinaug_fast.errors import InputError, SettingsError
from clinaug_fast.features.feature_set import FeatureSet, new_feature_set
from clinaug_fast.features.lineage import altered_id, augmented_lineage
from clinaug_fast.features.pictures import save_real_above, to_show
from clinaug_fast.runs import AnyPath, Progress, Silent, made_once, refuse_changed
from clinaug_fast.seeds import derived_seed

RECIPE = 1  # counts up where a change of ours changes what is drawn or done to a clip
BUILD = ("recipe", "arithmetic")  # of a lineage: what is not the user's to set
PICTURE = "real_above_augmented.png"
NOISE_RANGE_DB = 20.0
CLIPS_AT_ONCE = 1024  # altered ones that specaugment makes
FIRST_CLIPS_AT_ONCE = 64  # of recordings, by which their files are known
WINDOWS_AT_ONCE = 64  # whose sound is held
AHEAD = 2  # recordings a thread that are begun before their turn
OF_SOURCE = ("recording", "subject", "site", "device", "label", "start_s")  # what an altered clip has from the real one

Made = tuple[np.ndarray, np.ndarray]  # rows of real clips (n,), their altered copies (copies, n, n_mels, n_frames)


@dataclass(frozen=True)
class AugmentResult:
    """What `augment` left."""

    features: FeatureSet  # the altered clips
    picture: Path
    already_done: bool  # the same set was there before


def augment(
    features: FeatureSet,
    out: AnyPath,
    config: AugmentConfig,
    *,
    corpus: AnyPath | None = None,
    threads: int = 1,
    progress: Progress | None = None,
) -> AugmentResult:
    """Write `config.copies` altered clips of each clip of `features` to `out`, in its log-mel units.

    noise, pitch and stretch alter the sound: `corpus` is decoded again, a whole recording at a time on each of
    `threads`, and each clip's part of it is altered and cut as preprocess cut it. specaugment alters the log-mels.
    What is drawn for a clip follows from seed, its id and the number of the copy alone. The same settings give the same
    bytes, with any number of threads; a set that was made so before is left as it is.

    Raises SettingsError where `corpus` is missing or not needed, librosa is not installed, or a mask is less than a
    band or frame; InputError where the corpus is not the one of `features`, a recording cannot be read any more, or
    `out` was made otherwise.
    """
    out, progress, threads = Path(out), progress or Silent(), whole_number("threads", threads, least=1)
    made_with = {"by": config.by, config.strength: getattr(config, config.strength), "recipe": RECIPE}
    made_with |= {"copies": config.copies, "seed": config.seed}
    if config.by in ("pitch", "stretch"):
        made_with["librosa"] = librosa_version()
    sources = _sources(features, config, corpus)
    if sources is not None:
        made_with["arithmetic"] = native.ARITHMETIC
    lineage = augmented_lineage(features, made_with)

    def make() -> AugmentResult:
        _make(features, sources, out, config, lineage, threads, progress)
        return AugmentResult(FeatureSet.open(out), out / PICTURE, already_done=False)

    return made_once(out / "features.json", make, lambda: _standing(features, out, lineage))


def _sources(features: FeatureSet, config: AugmentConfig, corpus: Path | None) -> Sources | None:
    features.refuse_made("Augment the set that they were made from")
    if config.by == "specaugment":
        if corpus is not None:
            raise SettingsError(f"corpus is {corpus} beside specaugment, which alters log-mels. Leave it out")
        return None
    if corpus is None:
        raise SettingsError(
            f"{config.by} alters sound; expected the corpus that {features.path} was made of. Name it with --corpus"
        )
    return sources_of(features, Path(corpus))


def _standing(features: FeatureSet, out: Path, lineage: Mapping[str, Any]) -> AugmentResult:
    """What is at `out`, which an earlier or another process made; InputError where it was made otherwise."""
    made = FeatureSet.open(out)
    made.refuse_all_but("augmented")
    settings = ({key: of[key] for key in {*of} - {*BUILD, "librosa"}} for of in (made.lineage, lineage))
    refuse_changed(out, *settings)
    theirs, ours = (of.get("librosa") for of in (made.lineage, lineage))  # none where an earlier build made it
    if any(made.lineage.get(key) != lineage.get(key) for key in BUILD) or (ours and not theirs):
        raise InputError(
            f"{out} was made by a build or on a processor whose altered clips are others; expected the same one. Name "
            "another output folder, or remove it"
        )
    if theirs != ours:
        raise InputError(
            f"{out} was made with librosa {theirs}; expected {ours}, which is installed. Install the other, name "
            "another output folder, or remove it"
        )
    made.refuse_lost_shards()
    if not (out / PICTURE).exists():
        shown, ids = _shown(features), features.column("id")
        place = {name: row for row, name in enumerate(made.column("id"))}
        first = {row: made.clips([place[altered_id(lineage["by"], 0, ids[row])]])[0] for rows in shown for row in rows}
        _draw(features, shown, first, out / PICTURE)
    return AugmentResult(made, out / PICTURE, already_done=True)


def _make(
    features: FeatureSet,
    sources: Sources | None,
    out: Path,
    config: AugmentConfig,
    lineage: Mapping[str, Any],
    threads: int,
    progress: Progress,
) -> None:
    ids, shown = features.column("id"), _shown(features)
    columns = {name: features.column(name) for name in OF_SOURCE}
    first = {row: None for rows in shown for row in rows}
    progress.start(f"augmenting by {config.by}, clips", len(features) * config.copies)
    with new_feature_set(out, features.mel, features.clip_shape[1], features.labels, lineage) as writer:
        # Closed, or a stopped run would go through all recordings.
        with closing(_parts(features, sources, config, threads)) as parts:
            for rows, copies in parts:
                for number, row in enumerate(rows.tolist()):
                    about = {name: column[row] for name, column in columns.items()}
                    for copy, clips in enumerate(copies):
                        writer.add(clips[number], id=altered_id(config.by, copy, ids[row]), **about)
                    if row in first:
                        first[row] = copies[0][number].copy()
                progress.advance(len(rows) * config.copies)
        _draw(features, shown, first, writer.folder / PICTURE)


def _parts(features: FeatureSet, sources: Sources | None, config: AugmentConfig, threads: int) -> Iterator[Made]:
    if sources is None:
        yield from _masked(features, config)
        return
    stopped = threading.Event()
    with ThreadPoolExecutor(threads) as pool:  # a recording at a time, in order
        waiting: deque[Future[Made]] = deque()  # of few: what is made waits in memory for its turn
        try:
            for source, first_clip in _with_first_clips(features, sources):
                waiting.append(pool.submit(_copies_of, features, sources, config, stopped, source, first_clip))
                if len(waiting) > AHEAD * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            stopped.set()
            for begun in waiting:
                begun.cancel()


def _with_first_clips(features: FeatureSet, sources: Sources) -> Iterator[tuple[Source, np.ndarray]]:
    """Read some at once: a shard is mapped anew for each reading, which takes longer than a short recording's sound."""
    for begin in range(0, len(sources.each), FIRST_CLIPS_AT_ONCE):
        some = sources.each[begin : begin + FIRST_CLIPS_AT_ONCE]
        yield from zip(some, features.clips([source.rows[0] for source in some]), strict=True)


def _masked(features: FeatureSet, config: AugmentConfig) -> Iterator[Made]:
    ids = features.column("id")
    for what, size in zip(("bands", "frames"), features.clip_shape, strict=True):
        if not widest(config.mask, size):
            raise SettingsError(
                f"mask is {config.mask:g}, less than one of {size} {what}; expected a share of at least one. "
                "Raise --mask, or take another kind"
            )
    at_once = max(1, CLIPS_AT_ONCE // config.copies)
    for first in range(0, len(features), at_once):
        rows = np.arange(first, min(first + at_once, len(features)))
        clips = features.clips(rows)
        copies = np.empty((config.copies, *clips.shape), np.float32)
        for copy in range(config.copies):
            for number, row in enumerate(rows):
                copies[copy, number] = masked(clips[number], config.mask, _rng(config, ids[row], copy))
        yield rows, copies


def _copies_of(
    features: FeatureSet,
    sources: Sources,
    config: AugmentConfig,
    stopped: threading.Event,
    source: Source,
    first_clip: np.ndarray,
) -> Made:
    settings = sources.settings
    mel, length = settings.mel, settings.length
    samples, ids = waveform(source, first_clip, sources, features), features.index.column("id")
    copies = np.empty((config.copies, len(source.rows), *features.clip_shape), np.float32)
    windows = np.empty((min(WINDOWS_AT_ONCE, len(source.rows)), length), np.float32)
    for copy, first in product(range(config.copies), range(0, len(source.rows), len(windows))):
        if stopped.is_set():
            break
        some = range(first, min(first + len(windows), len(source.rows)))
        for number in some:
            rng = _rng(config, ids[int(source.rows[number])].as_py(), copy)
            alter, needed = _alteration(config, rng, mel.sample_rate, length, len(samples))
            start = source.windows[number] * settings.stride
            windows[number - first] = cut_again(samples, start, length, settings.clip.short, alter, needed)
        native.log_mel(windows[: len(some)], mel, out=copies[copy, some.start : some.stop])
    return source.rows, copies


def _alteration(
    config: AugmentConfig, rng: np.random.Generator, sample_rate: int, length: int, n_samples: int
) -> tuple[Callable[[np.ndarray], np.ndarray], int]:
    """What is done to a clip, all that is random in it drawn, and how many samples a clip of `length` is made of: of a
    recording of `n_samples`, which is not stretched so much faster that it would no longer fill a clip."""
    if config.by == "noise":
        return partial(with_noise, snr_db=config.snr_db + rng.uniform(0.0, NOISE_RANGE_DB), rng=rng), length
    if config.by == "pitch":
        semitones = rng.uniform(-config.semitones, config.semitones)
        return partial(pitch_shifted, sample_rate=sample_rate, semitones=semitones), length
    rate = config.rate ** rng.uniform(-1.0, 1.0)
    if n_samples >= length:
        rate = min(rate, n_samples / length)
    return partial(stretched, sample_rate=sample_rate, rate=rate), ceil(length * rate) + 1


def _rng(config: AugmentConfig, clip_id: str, copy: int) -> np.random.Generator:
    return np.random.default_rng(derived_seed(f"{config.by} of {clip_id}", config.seed, copy))


def _shown(features: FeatureSet) -> list[list[int]]:
    """For each label the rows of the clips that the picture shows, of different recordings as far as there are."""
    recordings, shown = features.column("recording"), []
    for number in range(len(features.labels)):
        rows = np.flatnonzero(features.classes == number)
        shown.append(rows[to_show(recordings[rows])].tolist())
    return shown


def _draw(
    features: FeatureSet, shown: Sequence[Sequence[int]], altered: Mapping[int, np.ndarray | None], path: Path
) -> None:
    """Each clip that is shown, and below them its first altered copy."""
    real = [features.clips(rows) for rows in shown]
    below = [[altered[row] for row in rows] for rows in shown]
    save_real_above(path, real, below, features.labels, features.mel, "augmented")
