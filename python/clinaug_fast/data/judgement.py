"""What a finished feature set is judged by, whether one run made it or a merge: warnings, and too many rejected files.

Takes its counts; leaves warnings, or RejectedError.
"""

from collections.abc import Sequence
from pathlib import Path

from clinaug_fast.config import MelConfig
from clinaug_fast.data.assemble import Counts
from clinaug_fast.errors import RejectedError
from clinaug_fast.runs import Progress, read_json


def judge(
    out: Path, counts: Counts, mel: MelConfig, max_bad: float, progress: Progress, unlabelled: Sequence[str] = ()
) -> None:
    """Warn of what makes the set `out` less than it seems; RejectedError where more than the fraction `max_bad` of the
    recordings was rejected. unlabelled: names of audio files outside any label's sub-folder, where they are known."""
    _warn(counts, unlabelled, mel, progress)
    if warning := read_json(out / "features.json", "a feature set's")["corpus_facts"]["shortcut"]["warning"]:
        progress.warn(warning)
    _refuse_too_many_bad(counts, max_bad, out)


def _refuse_too_many_bad(counts: Counts, max_bad: float, out: Path) -> None:
    bad = counts.found - counts.kept
    if bad > max_bad * counts.found:
        by_code = ", ".join(f"{n} {code}" for code, n in counts.rejected.items())
        raise RejectedError(
            f"{bad} of {counts.found} recordings were rejected ({by_code}); expected at most {max_bad:.1%}. The others "
            f"are in {out}; {out / 'rejected.jsonl'} gives each reason. Repair the files and name a new output folder, "
            "or raise --max-bad"
        )


def _warn(counts: Counts, unlabelled: Sequence[str], mel: MelConfig, progress: Progress) -> None:
    if counts.unlabelled:
        named = ": " + ", ".join(unlabelled[:5]) + (" ..." if len(unlabelled) > 5 else "") if unlabelled else ""
        progress.warn(f"{counts.unlabelled} audio files lie in no label's sub-folder and are left out{named}")
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
