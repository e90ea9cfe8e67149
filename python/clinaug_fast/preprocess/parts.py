"""Parts of a feature set, made by several machines: every N-th block each, joined by `merge`.

A part is a folder with shards, the blocks' sidecars and `part.json`, which says what it is a part of.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clinaug_fast.config import MelConfig, whole_number
from clinaug_fast.errors import InputError, SettingsError
from clinaug_fast.json_files import read_versioned, write_json
from clinaug_fast.preprocess.blocks import BlockFiles, cutting

SCHEMA_VERSION = 5
ABOUT = {  # what part.json tells
    "number": int,
    "count": int,
    "n_blocks": int,
    "block": str,
    "made_with": {
        "mel": dict,
        "n_frames": int,
        "lineage": dict,
        "clip": dict,
        "corpus": {"ignored": dict, "unlabelled": int, "labels": [str]},
    },
    "max_bad": (int, float),
}
MOST_DIGITS = 9
SLURM, WHOLE = "slurm", "none"
MERGED = "all, by merge"  # what a draft of a merge has in place of a part


@dataclass(frozen=True)
class Part:
    """Part `number` (from 0) of `count`."""

    number: int
    count: int

    def __post_init__(self) -> None:
        for name in ("number", "count"):
            object.__setattr__(self, name, whole_number(f"a part's {name}", getattr(self, name), least=0))
        if self.number >= self.count:
            raise SettingsError(f"the part is {self}; expected a number from 0 to the count - 1, such as 0/4")

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    @classmethod
    def parse(cls, text: str) -> "Part":
        """ "2/8", or "slurm": this task of its SLURM array, also of an array of one."""
        if text == SLURM:
            return _of_slurm_array(os.environ)
        number, slash, count = text.partition("/")
        if not (slash and _is_number(number) and _is_number(count) and int(number) < int(count)):
            raise SettingsError(
                f"shard is {text!r}; expected I/N with I from 0 to N - 1, such as 0/4, {SLURM} or {WHOLE}"
            )
        return cls(int(number), int(count))

    def has(self, block: int) -> bool:
        return block % self.count == self.number

    def path(self, out: Path) -> Path:
        """The folder of this part of `out`."""
        return out.with_name(f"{out.name}.part-{self.number}-of-{self.count}")

    def of_other_counts(self, out: Path) -> list[Path]:
        """Parts beside `out` that no merge takes together with this one."""
        of_any = re.compile(re.escape(out.name) + r"\.part-\d+-of-(\d+)")
        named = ((path, of_any.fullmatch(path.name)) for path in sorted(out.absolute().parent.glob("*")))
        return [path for path, match in named if match and match[1] != str(self.count) and path.is_dir()]


def part_asked_for(shard: str | None) -> tuple[Part | None, str]:
    """The part that `--shard` names, and a sentence for the user where it was not named but found; None: the whole set.

    Without `--shard` a task of a SLURM array takes its part of the work. An array of one may be one task repeated of a
    larger array, so it has to say what it is: SettingsError.
    """
    if shard is not None:
        return (None if shard == WHOLE else Part.parse(shard)), ""
    if not os.environ.get("SLURM_ARRAY_TASK_ID"):
        return None, ""
    part = _of_slurm_array(os.environ)
    if part.count == 1:
        raise SettingsError(
            f"this is task {os.environ['SLURM_ARRAY_TASK_ID']} of a SLURM array of one, which does not tell what part "
            f"of the work is meant. Give --shard I/N, or --shard {WHOLE} for the whole set"
        )
    return part, (
        f"shard {part} by SLURM_ARRAY_TASK_ID={os.environ['SLURM_ARRAY_TASK_ID']} and "
        f"SLURM_ARRAY_TASK_COUNT={os.environ['SLURM_ARRAY_TASK_COUNT']}: this task makes part {part.number} of "
        f"{part.count} for clinaug-fast merge (--shard {WHOLE}: the whole set)"
    )


def _of_slurm_array(environment: Mapping[str, str]) -> Part:
    names = ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_MIN")
    task, count, least = (environment.get(name, "") for name in names)
    least = least or "0"
    step = environment.get("SLURM_ARRAY_TASK_STEP") or "1"
    if not all(map(_is_number, (task, count, least, step))):
        raise SettingsError(
            f"shard is {SLURM}, but SLURM_ARRAY_TASK_ID is {task!r} and SLURM_ARRAY_TASK_COUNT is {count!r}; expected "
            "the numbers of an array job. Submit with sbatch --array=0-N, or give I/N"
        )
    number, rest = divmod(int(task) - int(least), max(1, int(step)))
    if rest or not 0 <= number < int(count):
        raise SettingsError(
            f"SLURM_ARRAY_TASK_ID is {task} of {count} tasks from {least} in steps of {step}; expected no gaps. "
            "Submit with sbatch --array=0-N, or give I/N"
        )
    return Part(number, int(count))


def _is_number(text: str) -> bool:
    return text.isdecimal() and len(text) <= MOST_DIGITS


def part_files(folder: Path) -> BlockFiles:
    return BlockFiles(folder / "shards", folder / "blocks")


def write_part(folder: Path, part: Part, n_blocks: int, made_with: Mapping[str, Any], max_bad: float) -> None:
    """Say in `folder` what it is; n_blocks: of the whole set, which `merge` will judge by `max_bad`."""
    about = {"schema_version": SCHEMA_VERSION, "number": part.number, "count": part.count, "n_blocks": n_blocks}
    about |= {"block": cutting(), "made_with": made_with, "max_bad": max_bad}
    write_json(folder / "part.json", about)


def read_part(folder: Path) -> dict[str, Any]:
    what = "a part's part.json (clinaug-fast preprocess --shard I/N makes one)"
    path, mend = folder / "part.json", "Make the part anew, after removing what is there"
    about = read_versioned(path, what, SCHEMA_VERSION, mend, ABOUT)
    if not (0 <= about["number"] < about["count"] and about["n_blocks"] > 0 and 0 <= about["max_bad"] <= 1):
        told = {name: about[name] for name in ("number", "count", "n_blocks", "max_bad")}
        raise InputError(f"{path} tells {told}, which no part is. {mend}")
    MelConfig.stored_in(path, about["made_with"]["mel"], mend)
    return about


def refuse_used_up(folder: Path, about: Mapping[str, Any]) -> None:
    """InputError for a part whose blocks a merge has moved; `about`: its part.json."""
    files = part_files(folder)
    if not all(files.about(number).exists() for number in range(about["number"], about["n_blocks"], about["count"])):
        raise InputError(
            f"{folder} lacks blocks that a merge has moved. Repeat that merge, or remove {folder} and make it anew"
        )
