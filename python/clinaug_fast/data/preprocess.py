"""Corpus to feature set: decode, cut into clips of one length, log-mel.

Takes a corpus and the settings; leaves a feature set with `rejected.jsonl` beside the index. Recordings are worked on
by several threads and collected in the corpus's order, so neither the bytes nor the memory depend on how many.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from clinaug_fast import native
from clinaug_fast.config import ClipConfig, MelConfig
from clinaug_fast.data.audio import Rejected, decode
from clinaug_fast.data.corpus import Corpus, Recording, read_corpus
from clinaug_fast.data.feature_set import FeatureSet, FeatureSetWriter, new_feature_set
from clinaug_fast.errors import InputError, RejectedError, SettingsError
from clinaug_fast.mel import refuse_empty_bands
from clinaug_fast.runs import Progress, Silent, refuse_changed, write_json_lines


@dataclass(frozen=True)
class Counts:
    """Every file accounted for: `found` = `kept` + the sum of `rejected`."""

    found: int  # recordings (files, or rows of a table)
    kept: int
    rejected: dict[str, int]  # by code
    ignored: dict[str, int]  # files that are not audio, by suffix
    unlabelled: int  # audio files outside any label's sub-folder
    clips: dict[str, int]  # by label
    quiet_clips: int  # dropped
    subjects: int  # known ones
    without_subject: int  # kept recordings
    file_rates: dict[str, int]  # kept recordings by their file's sample rate in Hz
    audio_seconds: float  # kept


@dataclass(frozen=True)
class PreprocessResult:
    """What `preprocess` left in `out`."""

    out: Path
    counts: Counts
    already_done: bool


@dataclass(frozen=True)
class _Clips:
    """The clips of one recording."""

    mels: np.ndarray  # (n, n_mels, n_frames) float32
    numbers: list[int]  # their windows' places in the recording; quiet ones are left out
    quiet: int
    seconds: float
    file_rate: int


def preprocess(
    corpus: Path,
    out: Path,
    mel: MelConfig,
    clip: ClipConfig,
    *,
    subject_pattern: str | None = None,
    threads: int = 1,
    max_bad: float = 0.05,
    progress: Progress = Silent(),
) -> PreprocessResult:
    """Make the feature set `out` of a corpus (see `read_corpus`); nothing is done where it stands already.

    Raises SettingsError (empty mel bands), InputError (no corpus, fewer than two labels, `out` made with other
    settings) with nothing written, and RejectedError where more than the fraction `max_bad` of the recordings cannot be
    used: after writing the others, or with nothing written where none is left.
    """
    if threads < 1:
        raise SettingsError(f"threads is {threads}; expected at least 1")
    if not 0.0 <= max_bad <= 1.0:
        raise SettingsError(f"max_bad is {max_bad}; expected a fraction from 0 to 1, such as 0.05")
    refuse_empty_bands(mel)
    mel.n_samples(clip.n_frames)  # refuses a length that no window has
    source, out = read_corpus(corpus, subject_pattern), Path(out)
    made_with = {"clip": clip.model_dump(), "subject_pattern": subject_pattern}
    lineage = {"kind": "corpus", "corpus": source.fingerprint}
    already_done = out.exists()
    if already_done:
        if not (out / "features.json").exists():
            raise InputError(f"{out} exists and is no feature set; expected a new folder. Name another, or remove it")
        about = FeatureSet.open(out).about
        refuse_changed(out, _flat(about), _flat(made_with | {"mel": mel.model_dump(), "lineage": lineage}))
        counts = Counts(**about["counts"])
    else:
        with new_feature_set(out, mel, clip.n_frames, [], lineage) as writer:
            counts = _write(writer, source, mel, clip, threads, progress)
            writer.about |= made_with | {"labels": sorted(counts.clips), "counts": asdict(counts)}
    _warn(counts, source, mel, progress)
    _refuse_too_many_bad(counts, max_bad, out)
    return PreprocessResult(out, counts, already_done)


def _write(
    writer: FeatureSetWriter, corpus: Corpus, mel: MelConfig, clip: ClipConfig, threads: int, progress: Progress
) -> Counts:
    """Every recording into the writer, the rejected ones into rejected.jsonl."""
    stride_s = clip.stride_frames * mel.hop_length / mel.sample_rate
    rejected: list[dict[str, Any]] = []
    kept: list[Recording] = []
    codes, clips_of_label, file_rates = Counter(), Counter(), Counter()
    quiet, seconds = 0, 0.0

    def work(recording: Recording) -> _Clips | Rejected:
        try:
            return _clips(recording, mel, clip)
        except Rejected as reason:
            return reason

    progress.start("preprocess", len(corpus.recordings))
    with ThreadPoolExecutor(threads) as pool:
        results = _in_order(pool, work, corpus.recordings, ahead=2 * threads)
        for recording, result in zip(corpus.recordings, results, strict=True):
            progress.advance()
            about = {"start_s": recording.start_s, "end_s": recording.end_s}
            if isinstance(result, Rejected):
                codes[result.code] += 1
                reason = {"code": result.code, "reason": result.reason}
                rejected.append({"path": recording.relative} | about | reason)
                continue
            kept.append(recording)
            clips_of_label[recording.label] += len(result.numbers)
            file_rates[str(result.file_rate)] += 1
            quiet += result.quiet
            seconds += result.seconds
            for number, clip_mel in zip(result.numbers, result.mels, strict=True):
                writer.add(
                    clip_mel,
                    id=f"{recording.id}#{number}",
                    recording=recording.relative,
                    subject=recording.subject,
                    site=recording.site,
                    device=recording.device,
                    label=recording.label,
                    start_s=(recording.start_s or 0.0) + number * stride_s,
                )
    _refuse_too_little(corpus, kept, rejected)
    write_json_lines(writer.folder / "rejected.jsonl", rejected)
    return Counts(
        found=len(corpus.recordings),
        kept=len(kept),
        rejected=dict(sorted(codes.items())),
        ignored=corpus.ignored,
        unlabelled=len(corpus.unlabelled),
        clips=dict(sorted(clips_of_label.items())),
        quiet_clips=quiet,
        subjects=len({r.subject for r in kept if r.subject is not None}),
        without_subject=sum(r.subject is None for r in kept),
        file_rates=dict(sorted(file_rates.items(), key=lambda item: int(item[0]))),
        audio_seconds=round(seconds, 3),
    )


def _clips(recording: Recording, mel: MelConfig, clip: ClipConfig) -> _Clips:
    """Decode one recording, cut it, leave the quiet windows out, log-mel."""
    waveform = decode(recording, mel.sample_rate, clip.min_seconds)
    windows = cut(waveform.samples, mel.n_samples(clip.n_frames), clip.stride_frames * mel.hop_length, clip.short)
    loud = loud_windows(windows, clip.quiet_db)
    mels = native.log_mel(windows if len(loud) == len(windows) else windows[loud], mel)
    seconds = len(waveform.samples) / mel.sample_rate
    return _Clips(mels, loud.tolist(), len(windows) - len(loud), seconds, waveform.file_rate)


def cut(samples: np.ndarray, length: int, stride: int, short: str) -> np.ndarray:
    """(T,) -> (n, length): windows every `stride` samples, a view; what is left at the end is dropped.

    A waveform shorter than one window gives one: padded with zeros behind (`short` pad) or repeated (tile).
    """
    if len(samples) < length:
        padded = np.zeros(length, samples.dtype)
        padded[: len(samples)] = samples
        samples = np.resize(samples, length) if short == "tile" else padded
    return np.lib.stride_tricks.sliding_window_view(samples, length)[::stride]


def loud_windows(windows: np.ndarray, quiet_db: float) -> np.ndarray:
    """Numbers of the windows whose RMS is at most `quiet_db` below that of the loudest; all of them in silence."""
    rms = np.array([np.sqrt(np.mean(np.square(window, dtype=np.float32))) for window in windows])
    return np.flatnonzero(rms >= rms.max() * 10.0 ** (-quiet_db / 20.0))


def _in_order(
    pool: Executor, work: Callable[[Recording], _Clips | Rejected], recordings: Iterable[Recording], ahead: int
) -> Iterator[_Clips | Rejected]:
    """`work` of each recording, in order; the pool is never more than `ahead` recordings further."""
    pending: deque[Future[_Clips | Rejected]] = deque()
    for recording in recordings:
        pending.append(pool.submit(work, recording))
        if len(pending) > ahead:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


def _refuse_too_little(corpus: Corpus, kept: list[Recording], rejected: list[dict[str, Any]]) -> None:
    """Nothing is worth writing without recordings of two labels."""
    first = "; ".join(f"{row['path']}: {row['code']}, {row['reason']}" for row in rejected[:3])
    if not kept:
        raise RejectedError(
            f"all {len(rejected)} recordings of {corpus.path} were rejected, nothing was written. The first reasons: "
            f"{first}. Repair the files, or check that the table's paths start at its folder"
        )
    labels = {recording.label for recording in kept}
    if len(labels) < 2:
        raise InputError(
            f"only the label {labels.pop()!r} of {corpus.path} has recordings that can be used; expected two or more. "
            f"The first reasons: {first}. Repair the files"
        )


def _refuse_too_many_bad(counts: Counts, max_bad: float, out: Path) -> None:
    bad = counts.found - counts.kept
    if bad > max_bad * counts.found:
        by_code = ", ".join(f"{n} {code}" for code, n in counts.rejected.items())
        raise RejectedError(
            f"{bad} of {counts.found} recordings were rejected ({by_code}); expected at most {max_bad:.1%}. The others "
            f"are in {out}; {out / 'rejected.jsonl'} gives each reason. Repair the files and name a new output folder, "
            "or raise --max-bad"
        )


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What a feature set is made with, a key a field: mel.n_mels, clip.n_frames, subject_pattern, the corpus."""
    fields = {f"{part}.{key}": value for part in ("mel", "clip") for key, value in settings.get(part, {}).items()}
    corpus = settings["lineage"].get("corpus")
    return fields | {"subject_pattern": settings.get("subject_pattern"), "the corpus's fingerprint": corpus}


def _warn(counts: Counts, corpus: Corpus, mel: MelConfig, progress: Progress) -> None:
    if corpus.unlabelled:
        named = ", ".join(corpus.unlabelled[:5]) + (" ..." if len(corpus.unlabelled) > 5 else "")
        progress.warn(f"{len(corpus.unlabelled)} audio files lie in no label's sub-folder and are left out: {named}")
    if counts.without_subject:
        progress.warn(
            f"the subject of {counts.without_subject} of {counts.kept} recordings is not known, so clips of one "
            "patient may land on both sides of a split. Give --subject-pattern, or a table with a subject column"
        )
    low = {int(rate): n for rate, n in counts.file_rates.items() if int(rate) / 2 < mel.f_max}
    if low:
        progress.warn(
            f"{sum(low.values())} of {counts.kept} recordings were sampled below {2 * mel.f_max:g} Hz, so their mel "
            f"bands above {min(low) / 2:g} Hz hold nothing. Try --sample-rate {min(low)} or another --preset"
        )
