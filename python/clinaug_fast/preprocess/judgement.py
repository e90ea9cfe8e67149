"""What a finished feature set is judged by, whether one run made it or a merge.

Takes the set's features.json; leaves warnings, or RejectedError for too many rejected files.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clinaug_fast.config import GAN_STRIDE, MelConfig, gan_side
from clinaug_fast.corpus import copies
from clinaug_fast.corpus.facts import warning_of_cancelled
from clinaug_fast.corpus.recordings import some_of
from clinaug_fast.errors import RejectedError
from clinaug_fast.mel import advise_bands, empty_bands
from clinaug_fast.preprocess.assemble import Counts, cure
from clinaug_fast.runs import Progress

RATES = 5  # that are told


def warn_of_odd_clips(mel: MelConfig, n_frames: int, progress: Progress) -> None:
    """Warn of clips that `train` does not take, before hours go into them."""
    shape = mel.n_mels, n_frames
    if odd := [side for side in shape if side % GAN_STRIDE]:
        fitting = " and ".join(
            f"--{name} {gan_side(side)}"
            for name, side in zip(("n-mels", "n-frames"), shape, strict=True)
            if side in odd
        )
        wanted = mel.with_changes(n_mels=gan_side(mel.n_mels))
        if empty_bands(wanted) and (n_fft := advise_bands(wanted).smallest_n_fft):
            fitting += f", with --n-fft {n_fft}"
        progress.warn(
            f"clips of {shape[0]} mels x {shape[1]} frames are none for clinaug-fast train, which takes multiples of "
            f"{GAN_STRIDE}. If they are to be trained on, give {fitting}"
        )


def judge(
    out: Path,
    about: Mapping[str, Any],
    max_bad: float,
    progress: Progress,
    labels: Sequence[str],
    unlabelled: Sequence[str] = (),
) -> None:
    """Warn of what makes the set `out`, of the features.json `about`, less than it seems; RejectedError where more than
    the fraction `max_bad` of its recordings was rejected.

    labels: the corpus's; unlabelled: as in `Corpus`, where it is known.
    """
    counts = Counts(**about["counts"])
    if lost := sorted(set(labels) - set(about["labels"])):
        progress.warn(
            f"no clip of {some_of(lost)} is left: all recordings of such a label were rejected or quiet, and the set "
            f"has {len(about['labels'])} labels, not {len(labels)}. {_where_told(out, about)}"
        )
    mel = MelConfig(**about["mel"])
    _warn(counts, unlabelled, mel, progress)
    _warn_of_short_recordings(about, mel, progress)
    if warning := about["corpus_facts"]["shortcut"]["warning"]:
        progress.warn(warning)
    facts = about["corpus_facts"]
    if warning := warning_of_cancelled(facts):
        progress.warn(warning)
    for origins in (*facts.get("origins", {}).values(), facts.get("formats")):  # none: an older build made the set
        if origins and origins["warning"]:
            progress.warn(origins["warning"])
    found = facts.get("copies")
    if found and (warning := copies.warning(found)):
        progress.warn(warning)
    _refuse_too_many_bad(counts, max_bad, out, _where_told(out, about))


def _where_told(out: Path, about: Mapping[str, Any]) -> str:
    if about.get("deidentified") is None:
        return f"{out / 'rejected.jsonl'} gives each reason"
    return (
        f"{out / 'rejected.jsonl'} gives each code; a run without --deidentify, into another output folder, gives "
        "names and reasons"
    )


def _refuse_too_many_bad(counts: Counts, max_bad: float, out: Path, told: str) -> None:
    bad = counts.found - counts.kept
    if bad > max_bad * counts.found:
        by_code = ", ".join(f"{n} {code}" for code, n in counts.rejected.items())
        raise RejectedError(
            f"{bad} of {counts.found} recordings were rejected ({by_code}); expected at most {max_bad:.1%}. The others "
            f"are in {out}; {told}. {cure(counts.rejected)} and name a new output folder, or raise --max-bad"
        )


def _warn_of_short_recordings(about: Mapping[str, Any], mel: MelConfig, progress: Progress) -> None:
    clip_s = mel.n_samples(about["n_frames"]) / mel.sample_rate
    median_s = about["corpus_facts"]["seconds"]["median"]
    if median_s < clip_s / 2:
        how = "repeated" if about["clip"]["short"] == "tile" else "followed by zeros"
        fitting = gan_side(int(median_s * mel.sample_rate / mel.hop_length))
        progress.warn(
            f"half of the recordings are no longer than {_seconds(median_s)} s, and a clip is {_seconds(clip_s)} s "
            f"long: they are {how} to that length, so most of what a clip holds is no sound of its own"
            + (f". Try --n-frames {fitting}" if fitting < about["n_frames"] else "")
        )


def _seconds(seconds: float) -> str:
    return f"{seconds:.3g}" if seconds < 1000 else f"{seconds:.0f}"


def _warn(counts: Counts, unlabelled: Sequence[str], mel: MelConfig, progress: Progress) -> None:
    if counts.unlabelled:
        named = f": {some_of(unlabelled)}" if unlabelled else ""
        lost = "1 audio file lies in no label's sub-folder and is left out"
        if counts.unlabelled > 1:
            lost = f"{counts.unlabelled} audio files lie in no label's sub-folder and are left out"
        progress.warn(lost + named)
    if counts.without_subject:
        give = "Give --subject-pattern, or a table with a subject column; clinaug-fast audit finds what is alike"
        if counts.without_subject < counts.kept:
            give = "Fill in the subject column where it is empty"
        progress.warn(
            f"the subject of {counts.without_subject} of {counts.kept} recordings is not known, so clips of one "
            f"patient may land on both sides of a split. {give}"
        )
    low = {int(rate): n for rate, n in counts.file_rates.items() if int(rate) / 2 < mel.f_max}
    if low:
        commonest, *others = sorted(low, key=lambda rate: (-low[rate], rate))
        told = f"their mel bands above {commonest / 2:g} Hz hold nothing"
        if others:
            by_rate = ", ".join(f"{low[rate]} at {rate} Hz" for rate in [commonest, *others][:RATES])
            more = " and others at still other rates" if len(low) > RATES else ""
            told = f"their mel bands above half their rate hold nothing: {by_rate}{more}"
        progress.warn(
            f"{sum(low.values())} of {counts.kept} recordings were sampled below {2 * mel.f_max:g} Hz, so {told}. "
            f"Try {_settings_for(commonest, mel)}"
        )


def _settings_for(rate: int, mel: MelConfig) -> str:
    """Of recordings of a lower rate: frames about as long as before, and as many bands as none is empty of."""
    smaller = 1 << round(math.log2(mel.sample_rate / rate))
    sizes = {"n_fft": max(16, mel.n_fft // smaller), "hop_length": max(1, mel.hop_length // smaller)}
    if mel.win_length < mel.n_fft:
        sizes["win_length"] = max(1, mel.win_length // smaller)
    lower = {"sample_rate": rate, "f_max": rate / 2, "win_length": sizes["n_fft"]} | sizes
    most = None
    if mel.f_min < rate / 2:
        most = advise_bands(mel.with_changes(**lower)).largest_n_mels
    if most is None:
        return "another --preset"
    if most < mel.n_mels:
        sizes["n_mels"] = min(most, gan_side(most))
    options = " ".join(f"--{name.replace('_', '-')} {size}" for name, size in sizes.items())
    return f"--sample-rate {rate} --f-max {rate / 2:g} {options}, or another --preset"
