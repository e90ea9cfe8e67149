"""The sound that the clips of a feature set were cut from: its corpus again, recording by recording."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from clinaug_fast import native
from clinaug_fast.config import ClipConfig
from clinaug_fast.corpus.audio import as_float, decode
from clinaug_fast.corpus.read_faults import decoded_for_sure
from clinaug_fast.corpus.recordings import Recording, read_corpus
from clinaug_fast.corpus.verdicts import Rejected, Unopened
from clinaug_fast.errors import InputError, SettingsError
from clinaug_fast.features.feature_set import FeatureSet, cut_from
from clinaug_fast.json_files import misfit
from clinaug_fast.preprocess.clips import ClipSettings, cut

MOST_DIGITS = 9  # of a window's number
CUTTING = {"clip": dict, "max_hours": (int, float)}  # what features.json tells of it, beside the contract
ALIKE = 0.01  # in the log-mel's units: what rounding differs by, in the median, between builds and devices
ANEW = "Preprocess the corpus, and augment the set that comes of it"
THE_SAME = "Name it as it was, or preprocess this one and augment the set that comes of it"


@dataclass(frozen=True)
class Source:
    """A recording, and its clips: their rows in the index, in order, and the places of their windows."""

    recording: Recording
    rows: np.ndarray
    windows: np.ndarray


@dataclass(frozen=True)
class Sources:
    """A feature set's recordings, in the order of its index, and how they were cut."""

    each: list[Source]
    settings: ClipSettings


def sources_of(features: FeatureSet, corpus: Path) -> Sources:
    """Reads no sound yet. InputError where the set was not made of this corpus, as it is now, or does not tell how."""
    about = features.about
    problem, pattern = misfit(about, CUTTING), about.get("subject_pattern")
    if not problem and not isinstance(pattern, str | None):
        problem = f"its subject_pattern is {pattern!r}"
    if not problem:
        clip, problem = _clip_config(features)
    if problem:
        raise InputError(f"{features.path / 'features.json'} does not tell how clips were cut: {problem}. {ANEW}")
    if about.get("deidentified"):
        raise InputError(
            f"{features.path} has hashes for names, so that its recordings cannot be found in {corpus}; expected a set "
            "with names. Augment one that was made without --deidentify, or by specaugment, which needs no sound"
        )
    try:
        found = read_corpus(corpus, pattern)
    except SettingsError:  # nobody gives a pattern here
        raise InputError(
            f"{features.path} was made with the subject pattern {pattern!r}, but {corpus} has a subject column; "
            f"expected the corpus that the set was made of. {THE_SAME}"
        ) from None
    if found.fingerprint != features.lineage.get("corpus"):
        raise InputError(
            f"{corpus} has the fingerprint {found.fingerprint}; {features.path} was made of "
            f"{features.lineage.get('corpus')}: another corpus, or files have come, gone or changed their size since, "
            f"or a label, a subject or another entry of its table. {THE_SAME}"
        )
    recordings = {recording.id: recording for recording in found.recordings}
    ids = features.index.column("id")
    names, at = cut_from(ids).to_pylist(), {}
    for row, name in enumerate(names):
        at.setdefault(name, []).append(row)
    windows = [clip_id[len(name) + 1 :] for clip_id, name in zip(ids.to_pylist(), names, strict=True)]
    for name, rows in at.items():
        if name not in recordings or not all(0 < len(windows[row]) <= MOST_DIGITS for row in rows):
            raise InputError(f"{features.path} has clips of {name!r}, which are not windows of {corpus}. {ANEW}")
    each = [
        Source(recordings[name], np.array(rows), np.array([int(windows[row]) for row in rows]))
        for name, rows in at.items()
    ]
    return Sources(each, ClipSettings(features.mel, clip, 3600.0 * about["max_hours"]))


def _clip_config(features: FeatureSet) -> tuple[ClipConfig | None, str]:
    """How clips were cut, or what is wrong with what is told of it."""
    try:
        clip = ClipConfig(**features.about["clip"])
    except (SettingsError, TypeError) as error:
        return None, str(error)
    if clip.n_frames != features.clip_shape[1]:
        return None, f"its clip has {clip.n_frames} frames, its clips {features.clip_shape[1]}"
    return clip, ""


def waveform(source: Source, first_clip: np.ndarray, sources: Sources, features: FeatureSet) -> np.ndarray:
    """(T,) float32 of the whole recording, as preprocess decodes it. InputError where it no longer can be, or its first
    clip is not what it was: of a file that was replaced, or changed in place, the size may be the same."""
    settings, path = sources.settings, source.recording.path
    limits = settings.clip.min_seconds, settings.max_seconds
    try:
        recording = source.recording
        decoded = decoded_for_sure(recording, partial(decode, recording, settings.mel.sample_rate, *limits))
        samples = as_float(decoded.samples)
    except Unopened as reason:
        raise InputError(f"{path} cannot be read: {reason}. Check the path, its rights and its disk") from None
    except Rejected as reason:
        raise InputError(
            f"{path} can no longer be used: {str(reason).rstrip('.')}. It could when the features were made. {ANEW}"
        ) from None
    windows = cut(samples, settings.length, settings.stride, settings.clip.short)
    first = source.windows[0]
    off = np.inf
    if source.windows.max() < len(windows):
        off = np.median(np.abs(native.log_mel(windows[first], settings.mel) - first_clip))
    if not off <= ALIKE:
        raise InputError(
            f"{path} does not hold the sound that {features.path} was made of: its file was changed since. {ANEW}"
        )
    return samples


def cut_again(
    samples: np.ndarray, start: int, length: int, short: str, alter: Callable[[np.ndarray], np.ndarray], needed: int
) -> np.ndarray:
    """(length,) float32: the window from `start` on, of the `needed` samples there, or the last of the recording, as
    `alter` leaves them. Where the whole recording is too short, it is padded or repeated as `short` says."""
    start = max(0, min(start, len(samples) - needed))
    return cut(alter(samples[start : start + needed])[:length], length, 1, short)[0]
