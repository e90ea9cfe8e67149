"""The dataset card: `README.md` in a feature set's folder, so that whoever opens the folder knows what it holds.

Takes what features.json says; leaves Markdown. It tells nothing that features.json does not and no times, so equal sets
have equal cards.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from clinaug_fast.config import MelConfig
from clinaug_fast.runs import write_in_draft, write_text
from clinaug_fast.shown import counted, shown

CARD = "README.md"
MIXED = " Peak, clipping and silence are those of all channels, levels those of their mean."


def write_card(folder: Path, about: Mapping[str, Any]) -> None:
    """Write the card of the feature set whose draft is `folder` and whose features.json is `about`, with counts and
    corpus_facts."""
    write_in_draft(folder / CARD, _card(about))


def write_lost_card(folder: Path, about: Mapping[str, Any]) -> None:
    """Of a set that stands."""
    if not (folder / CARD).exists():
        write_text(folder / CARD, _card(about))


def _card(about: Mapping[str, Any]) -> str:
    parts = [_head, _counts, _facts, _rejected, _opening, _reminder]
    return "\n\n".join(make(about) for make in parts) + "\n"


def _head(about: Mapping[str, Any]) -> str:
    mel = MelConfig(**about["mel"])
    counts, clip = about["counts"], about["clip"]
    seconds = mel.n_samples(about["n_frames"]) / mel.sample_rate
    n_clips = sum(counts["clips"].values())
    quiet = f"{counts['quiet_clips']} dropped, {clip['quiet_db']:g} dB below the loudest of their recording"
    privacy = (
        "Paths, subjects, sites and devices are keyed hashes; the key is kept elsewhere."
        if about.get("deidentified")
        else "Paths, subjects, sites and devices are as the corpus has them: they may identify patients."
    )
    rows = [
        ("Mel contract", f"`{mel.signature}`"),
        ("Clip", f"{mel.n_mels} mels x {about['n_frames']} frames, {seconds:.2f} s, float32"),
        ("Cut", f"a clip every {clip['stride_frames']} frames; short recordings: {clip['short']}"),
        ("In no clip", f"{counts['unused_seconds'] / 3600:.3f} hours, behind the last clip or between clips"),
        ("Quiet clips", quiet),
        ("Subjects", f"{counts['subjects']} known; {counted(counts['without_subject'], 'recording')} without one"),
        ("Made from", ", ".join(f"{key} `{value}`" for key, value in about["lineage"].items())),
        ("Fingerprint of the set", f"`{about['fingerprint']}`"),
    ]
    return (
        "# Log-mel feature set\n\n"
        f"{counted(n_clips, 'clip')} of {counted(counts['kept'], 'recording')} with "
        f"{counted(len(about['labels']), 'label')}, made by `clinaug-fast preprocess`. {privacy}\n\n"
        + _table(("", ""), rows, "ll")
    )


def _counts(about: Mapping[str, Any]) -> str:
    counts, facts = about["counts"], about["corpus_facts"]
    rows = []
    for label, n_clips in counts["clips"].items():
        of = facts["by_label"][label]
        level, silent = f"{of['median_rms_db']:.1f}", f"{of['silent_share']:.1%}"
        measured = (f"{of['median_seconds']:.2f}", level, of["clipped_recordings"], silent)
        rows.append((_escape(label), of["recordings"], n_clips, f"{of['hours']:.3f}", *measured))
    total = ("**all**", facts["recordings"], sum(counts["clips"].values()), f"{facts['hours']:.3f}")
    spread = (f"{facts['seconds']['median']:.2f}", f"{facts['rms_db']['median']:.1f}")
    rows.append((*total, *spread, facts["clipped_recordings"], f"{facts['silent_share']:.1%}"))
    head = (
        "label",
        "recordings",
        "clips",
        "hours",
        "median length, s",
        "median level, dB",
        "recordings clipped",
        "samples silent",
    )
    return "## By label\n\n" + _table(head, rows, "lrrrrrrr")


def _facts(about: Mapping[str, Any]) -> str:
    facts = about["corpus_facts"]
    names = ("min", "p5", "median", "p95", "max")
    rows = [
        (title, *(f"{facts[key][name]:.{digits}f}" for name in names))
        for title, key, digits in (
            ("duration, s", "seconds", 2),
            ("level (RMS), dB of full scale", "rms_db", 1),
            ("peak, full scale 1", "peak", 3),
            ("share of samples clipped", "clipped_share", 4),
        )
    ]
    rates = ", ".join(f"{n} at {rate} Hz" for rate, n in facts["file_rates"].items())
    channels = ", ".join(f"{n} with {c}" for c, n in facts["channels"].items())
    origins = facts["origins"] | ({"format": facts["formats"]} if "formats" in facts else {})
    return (
        "## The audio\n\n"
        f"Recordings by sample rate: {rates}. By channels: {channels}.\n"
        f"Silent are samples below {facts['silence_below_db']:g} dB of full scale; "
        f"{counted(facts['mostly_silent_recordings'], 'recording is', 'recordings are')} so for more than half."
        f"{'' if set(facts['channels']) == {'1'} else MIXED}{_cancelled(facts)}\n\n"
        + _table(("of a recording", "least", "5 %", "median", "95 %", "most"), rows, "lrrrrr")
        + "\n\n"
        + _shortcut(facts["shortcut"], about["counts"])
        + "\n\n"
        + "\n\n".join(_origins(kind, found) for kind, found in origins.items())
        + "\n\n"
        + _copies(facts["copies"])
    )


def _cancelled(facts: Mapping[str, Any]) -> str:
    if not (lost := facts.get("cancelled")):
        return ""
    each = ", ".join(f"{_escape(label)} {n}" for label, n in lost.items())
    return (
        f" Of {counted(sum(lost.values()), 'recording')} next to nothing is left where the channels are mixed: {each}."
    )


def _shortcut(found: Mapping[str, Any], counts: Mapping[str, Any]) -> str:
    if found["macro_f1"] is None:
        return "**Shortcut check.** Not done: fewer than two labels come from two subjects or recordings."
    together = "a subject's recordings left out together"
    if counts["without_subject"] == counts["kept"]:
        together = "one by one, since no subject is known: recordings of one patient raise it"
    elif counts["without_subject"]:
        together += ", those of unknown subjects one by one"
    text = (
        "**Shortcut check.** From duration, level and peak alone, the label is predicted with a macro-F1 of "
        f"{found['macro_f1']:.2f}; chance is {found['chance']:.2f} (nearest neighbours, cross-validated over "
        f"{found['recordings']} of {counts['kept']} recordings, {together}; from duration "
        f"{found['by']['duration']:.2f}, from level {found['by']['level']:.2f})."
    )
    if found["labels_left_out"]:
        text += f" Left out, with one subject or recording: {', '.join(map(_escape, found['labels_left_out']))}."
    return text + (f"\n\n> **Warning:** {found['warning']}." if found["warning"] else "")


def _origins(kind: str, found: Mapping[str, Any]) -> str:
    title = f"**{kind.capitalize()}s.** "
    if not found["known"]:
        return title + f"No {kind} is known, so whether it gives the label away was not checked."
    if kind == "format" and found["different"] == 1:
        return title + "All recordings have one sample rate and number of channels."
    each = []
    for label, of in found["by_label"].items():
        listed = [f"{n} from {_escape(name)}" for name, n in of["named"].items()]
        listed += [f"{of['others']} from others"] if of["others"] else []
        each.append(f"{_escape(label)}: {', '.join(listed) or 'none known'}")
    text = title + f"Recordings by {kind}, of {found['known']} whose {kind} is known. {'; '.join(each)}."
    return text + (f"\n\n> **Warning:** {_escape(found['warning'])}." if found["warning"] else "")


def _copies(found: Mapping[str, Any]) -> str:
    if not found["sounds"]:
        return "**Copies.** No two recordings agree in length, level, peak and silence to the last digit."
    pairs = "; ".join(" and ".join(map(_escape, pair)) for pair in found["examples"])
    return (
        f"**Copies.** {found['recordings']} recordings hold the same samples as another, as far as length, level, "
        f"peak and silence tell, such as {pairs}. Different sounds among them: {found['sounds']}; under more than one "
        f"label: {found['of_several_labels']}; under one label, but not of one known subject: "
        f"{found['of_one_label_and_several_subjects']}."
    )


def _rejected(about: Mapping[str, Any]) -> str:
    counts = about["counts"]
    text = (
        f"## Nothing is lost\n\n{counted(counts['found'], 'recording')} found = {counts['kept']} kept + "
        f"{sum(counts['rejected'].values())} rejected"
    )
    if counts["rejected"]:
        text += " (`rejected.jsonl` says which):\n\n" + _table(("code", "recordings"), counts["rejected"].items(), "lr")
    else:
        text += "."
    if counts["ignored"] or counts["unlabelled"]:
        ignored = ", ".join(f"{n} {_escape(suffix)}" for suffix, n in counts["ignored"].items()) or "none"
        text += f"\n\nOther files seen: {ignored}. Audio outside any label's folder: {counts['unlabelled']}."
    return text + (
        "\n\n`clinaug-fast verify` on this folder recomputes every checksum and count. How fast the run was is in "
        "`FOLDER.receipt.json` beside it: times are never the same twice, the bytes of this folder are."
    )


def _opening(about: Mapping[str, Any]) -> str:
    first = about["shards"][0]["file"]
    return (
        "## How to open it\n\n"
        "```python\n"
        "import json, numpy as np, pyarrow.parquet as pq\n"
        'about = json.load(open("features.json"))      # the mel contract, counts, facts, lineage\n'
        'index = pq.read_table("index.parquet")        # a row a clip: label, subject, start_s, shard, row\n'
        f'clips = np.load("{first}", mmap_mode="r")  # (clips, mels, frames), of shard 0\n'
        "```\n\n"
        "A clip is row `row` of the shard at place `shard` in `about['shards']`."
    )


def _reminder(about: Mapping[str, Any]) -> str:
    return (
        "## Before you share it\n\n"
        "Log-mels of people are patient data: speech can be made from them again, and a voice recognised. The licence "
        "and the consent of the recordings hold for this folder too. Split by subject before training anything "
        "(`clinaug-fast split`)."
    )


def _table(head: Iterable[Any], rows: Iterable[Iterable[Any]], align: str) -> str:
    """A Markdown table; `align` has l or r a column."""
    rule = ["---:" if side == "r" else "---" for side in align]
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in [head, rule, *rows])


def _escape(text: str) -> str:
    """`text` as Markdown shows it, also in a table."""
    return shown("".join("\\" + c if c in "\\`*_[]<>|#~&" else " " if c in "\r\n" else c for c in text))
