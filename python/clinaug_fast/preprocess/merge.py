"""Parts to the feature set that one machine would have made, to the byte; shards are moved, not copied."""

import errno
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from clinaug_fast.errors import InputError, RejectedError
from clinaug_fast.features.card import write_lost_card
from clinaug_fast.features.settings import flat_settings, refuse_other_set
from clinaug_fast.features.verify import verify
from clinaug_fast.preprocess.assemble import Counts, assemble
from clinaug_fast.preprocess.draft import is_of_merge, open_draft, remove_left, with_a_name
from clinaug_fast.preprocess.judgement import judge
from clinaug_fast.preprocess.parts import MERGED, part_files, read_part
from clinaug_fast.runs import AnyPath, Progress, Silent, names

MOST_NAMED = 50


def merge(parts: Sequence[AnyPath], out: AnyPath, progress: Progress = Silent()) -> Counts:
    """Join all parts of one feature set into `out`; the parts are used up. May be repeated after a kill.

    Raises InputError, before anything is moved, for a missing, doubled, foreign or incomplete part, naming it; and
    RejectedError, once the set is there, where more recordings were rejected than the strictest part's `max_bad`. What
    is left of the parts stays then, so that a repeated merge says so again.
    """
    parts, out = [Path(part) for part in parts], with_a_name(Path(out))
    _refuse_a_place_inside(parts, out)
    made_before = out.exists()
    if made_before:  # maybe by a merge that was killed at its very end
        remove_left(out)
        parts = list({part.resolve(): part for part in parts if part.exists()}.values())
    elif missing := [part for part in parts if not part.exists()]:
        raise InputError(
            f"{missing[0]} does not exist; expected a part, as preprocess --shard I/N leaves it. A merge uses its "
            "parts up: was it merged already?"
        )
    abouts = [read_part(part) for part in parts if not (made_before and _is_empty(part))]
    if not made_before:
        _refuse_misfits(parts, abouts)
        _refuse_other_disks(parts, out)
        parts, abouts = zip(*sorted(zip(parts, abouts, strict=True), key=lambda pair: pair[1]["number"]), strict=True)
        _warn_of_other_files(parts, abouts, progress)
        _join(parts, abouts, out, progress)
    features = refuse_other_set(out, *(flat_settings(about["made_with"]) for about in abouts))
    if "counts" not in features.about:
        raise InputError(f"{out} holds clips that no corpus gave; expected a set that merge made. Name another output")
    if made_before:
        write_lost_card(out, features.about)
        _refuse_to_lose(parts, out, progress)
    labels = abouts[0]["made_with"]["corpus"]["labels"] if abouts else ()
    try:
        judge(out, features.about, min((about["max_bad"] for about in abouts), default=1.0), progress, labels)
    except RejectedError as error:
        anew = "and make the parts anew, once what is left of them is removed"
        raise RejectedError(f"{error} {anew}; where {out} will do as it is, remove that alone") from None
    for part in parts:
        _remove(part)
    return Counts(**features.about["counts"])


def _refuse_a_place_inside(parts: Sequence[Path], out: Path) -> None:
    """Of a part, which is removed in the end."""
    for part in parts:
        is_part = (part / "part.json").exists()
        if is_part and part.resolve() in (out.resolve(), *out.resolve().parents):
            raise InputError(f"{out} lies in {part}, a part, which is used up. Name an output folder beside the parts")


def _refuse_to_lose(parts: Sequence[Path], out: Path, progress: Progress) -> None:
    """Of parts that still have shards a damaged set can be made again; one that a merge used up has none."""
    full = [part for part in parts if any(name.endswith(".npy") for name in names(part_files(part).shards))]
    if full and not (report := verify(out, progress=progress)).whole:
        raise InputError(
            f"{out} was made before and is damaged ({', '.join(report.damaged)}); the parts, {full[0]} among them, are "
            f"left as they are. Remove {out} and merge again"
        )


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())


def _remove(part: Path) -> None:
    """part.json goes last: what a kill leaves is still known for a part."""
    link, part = part, part.resolve()
    for path in sorted(part.iterdir(), key=lambda path: path.name == "part.json"):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    part.rmdir()
    if link.is_symlink():
        link.unlink()


def _join(parts: Sequence[Path], abouts: Sequence[dict[str, Any]], out: Path, progress: Progress) -> None:
    made_with, n_blocks = abouts[0]["made_with"], abouts[0]["n_blocks"]
    settings = flat_settings(made_with) | {"shard": MERGED, "block": abouts[0]["block"]}
    with open_draft(out, settings) as draft:
        if draft is None:
            return
        files = draft.files(sidecars_stay=False)
        sources = {about["number"]: part_files(part) for part, about in zip(parts, abouts, strict=True)}
        for number in range(n_blocks):
            source = sources[number % len(parts)]
            if files.about(number).exists():
                continue
            if not source.about(number).exists():
                raise _lacking(source.shards.parent, number)
            if damage := source.damage(number, files, (made_with["mel"]["n_mels"], made_with["n_frames"])):
                raise InputError(f"{damage}. Remove {source.shards.parent} and make this part anew")
        progress.start("merge", n_blocks)
        for number in range(n_blocks):
            if not files.about(number).exists():
                try:
                    files.move_from(sources[number % len(parts)], number)
                except OSError as error:
                    if error.errno != errno.EXDEV:
                        raise
                    raise _other_disk(sources[number % len(parts)].shards, out) from None
            progress.advance()
        assemble(draft.set, files, n_blocks, made_with, "the corpus")
        draft.publish()
        draft.remove()


def _lacking(part: Path, number: int) -> InputError:
    for draft in part.resolve().parent.glob(".*.draft"):
        if is_of_merge(draft) and (draft / f"blocks/{number:05d}.json").exists():
            begun = f"a merge into {draft.name[1 : -len('.draft')]!r}, which has moved it"
            return InputError(f"{part} lacks block {number}: {begun}, was begun. Repeat that merge")
    return InputError(
        f"{part} lacks block {number}; expected it. Make this part anew, unless a merge was begun elsewhere"
    )


def _refuse_other_disks(parts: Sequence[Path], out: Path) -> None:
    """As far as can be seen before anything is moved."""
    place = next(folder for folder in out.absolute().parents if folder.exists())
    for part in parts:
        shards = part_files(part).shards
        if shards.exists() and shards.stat().st_dev != place.stat().st_dev:
            raise _other_disk(shards, out)


def _other_disk(shards: Path, out: Path) -> InputError:
    return InputError(
        f"{out} is on another disk than its parts ({shards}), and shards are moved, not copied. Name an output folder "
        "beside the parts, all of which have to be on one disk"
    )


def _refuse_misfits(parts: Sequence[Path], abouts: Sequence[dict[str, Any]]) -> None:
    count = abouts[0]["count"]
    mine = _described(abouts[0])
    for part, about in zip(parts, abouts, strict=True):
        other = _described(about)
        fields = sorted(key for key in mine if mine[key] != other.get(key))
        if fields:
            listed = "; ".join(f"{key} is {other.get(key)!r} there, {mine[key]!r} in {parts[0]}" for key in fields)
            raise InputError(
                f"{part} is a part of another feature set: {listed}. Leave it out, or remove the older one and make it "
                "anew"
            )
    doubled = [number for number, n in Counter(about["number"] for about in abouts).items() if n > 1]
    if doubled:
        names = [str(part) for part, about in zip(parts, abouts, strict=True) if about["number"] == doubled[0]]
        raise InputError(f"{' and '.join(names)} are both part {doubled[0]}/{count}. Give each part once")
    there = {about["number"] for about in abouts}
    missing = list(islice((number for number in range(count) if number not in there), MOST_NAMED + 1))
    if missing:
        named = ", ".join(f"{number}/{count}" for number in missing[:MOST_NAMED])
        named += " and more" if len(missing) > MOST_NAMED else ""
        what, them = ("part {} is", "it") if len(missing) == 1 else ("the parts {} are", "them")
        raise InputError(
            f"{what.format(named)} missing; expected all {count}. Make {them} with --shard, or name {them}"
        )


def _warn_of_other_files(parts: Sequence[Path], abouts: Sequence[dict[str, Any]], progress: Progress) -> None:
    """They are no part of the corpus's fingerprint, since they change no clip."""
    seen = [about["made_with"]["corpus"] for about in abouts]
    differing = [part for part, of in zip(parts, seen, strict=True) if of != seen[0]]
    if differing:
        progress.warn(
            f"{differing[0]} saw other files beside the recordings than {parts[0]} did, whose counts the feature set "
            "tells; the clips are not concerned"
        )


def _described(about: Mapping[str, Any]) -> dict[str, Any]:
    """What the parts of one set have in common."""
    return flat_settings(about["made_with"]) | {"number of parts": about["count"], "block": about["block"]}
