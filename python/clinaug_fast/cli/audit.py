"""`clinaug-fast audit`: which recordings are of one source, before a split parts them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clinaug_fast.cli.console import Json, Quiet, Threads, quoted, some_path, stage
from clinaug_fast.shown import counted, name_column, padded, shown

if TYPE_CHECKING:
    import numpy as np

    from clinaug_fast.audit.sources import Audit

OVER_LINES = "Name a .parquet table, or correct {them}"
EXAMPLES = 5  # pairs that are named


def audit(
    corpus: Annotated[
        Path,
        typer.Argument(
            metavar="CORPUS", help="A folder or a table, as for preprocess.", show_default=False, parser=some_path
        ),
    ],
    table: Annotated[
        Path | None,
        typer.Argument(
            metavar="TABLE",
            help="A new .csv or .parquet: the corpus for preprocess, recordings that are alike under one subject.",
            show_default=False,
            parser=some_path,
        ),
    ] = None,
    subject_pattern: Annotated[
        str | None,
        typer.Option(metavar="REGEX", help="As for preprocess: what tells the subjects known.", show_default=False),
    ] = None,
    at_least: Annotated[
        float,
        typer.Option(
            metavar="SCORE",
            help="The correlation from which on two recordings count as alike: 0.2 to 1 (the same sound). Lower finds "
            "more, some of it by chance.",
        ),
    ] = 0.35,
    threads: Threads = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Find recordings that share a stretch of sound or come from one session: compare each with each.

    It cannot tell that two recordings are of one patient: give the subjects that are known.
    """
    with stage("audit", as_json, quiet) as say:
        from clinaug_fast.audit.sources import audit as compare
        from clinaug_fast.audit.sources import counts_of
        from clinaug_fast.audit.table import refuse_target, write_subjects
        from clinaug_fast.native import allowed_threads

        if table is not None:
            refuse_target(table)
        found = compare(corpus, subject_pattern, at_least, threads or allowed_threads(), progress=say)
        if table is not None:
            left_out = write_subjects(found, table)
            for ids, why, mend in (
                (left_out.unnamed, "no table can name {them}", "Rename {them}"),
                (left_out.over_lines, "{its} label, subject, site or device goes over several lines", OVER_LINES),
            ):
                words = {"them": "it", "its": "its"} if len(ids) == 1 else {"them": "them", "its": "their"}
                if ids:
                    these, more = counted(len(ids), "recording is", "recordings are"), " ..." * (len(ids) > 1)
                    told = f"{these} not in {table}, since {why.format(**words)}: {shown(ids[0])}{more}"
                    say.warn(f"{told}. {mend.format(**words)}")
        labels, subjects = found.between("label"), found.between("subject")
        if found.not_compared:
            n, codes = sum(found.not_compared.values()), counts_of(found.not_compared)
            say.warn(
                f"{counted(n, 'recording')} could not be compared, and stay with their subject or file alone: {codes}"
            )
        if labels.any():
            say.warn(f"{_of(found, labels)} between labels: chance, or one of the labels is wrong")
        if subjects.any():
            say.warn(f"{_of(found, subjects)} between subjects: chance, or one patient under two names")
        lines = _lines(found)
        if table is not None:
            lines += ["", f"{table} is written", f"next: clinaug-fast preprocess {quoted(table)} FEATURES"]
        say.result("\n".join(lines), out=None if table is None else str(table), **_fields(found, labels, subjects))


def _named(found: "Audit", number: int) -> tuple[str, str, str]:
    """Score and names of a pair."""
    ids = found.corpus.table.column("id")
    one, other = (ids[int(rows[number])].as_py() for rows in (found.pairs.first, found.pairs.second))
    return f"{found.pairs.score[number]:.3f}", shown(one), shown(other)


def _of(found: "Audit", chosen: "np.ndarray") -> str:
    """How many pairs, and the one that is most alike."""
    import numpy as np

    number = int(np.argmax(np.where(chosen, found.pairs.score, -1.0)))
    score, one, other = _named(found, number)
    n = int(np.count_nonzero(chosen))
    return f"{n} pair{'s are' if n > 1 else ' is'} alike, such as {one} and {other} ({score}),"


def _lines(found: "Audit") -> list[str]:
    import numpy as np

    from clinaug_fast.audit.sources import counts_of

    n, pairs, groups = len(found.corpus), len(found.pairs.score), found.groups
    largest, unnamed = max(map(len, groups), default=0), found.subjects.count(None)
    rows = [
        ("recordings", n, ""),
        ("  not compared", sum(found.not_compared.values()), counts_of(found.not_compared)),
        ("pairs alike", pairs, f"a correlation of {found.at_least:g} or more"),
        (
            "in groups",
            sum(map(len, groups)),
            f"{len(groups)} group{'s' * (len(groups) > 1)}, the largest of {largest} recordings" if groups else "",
        ),
        (
            "sources told apart",
            len(np.unique(found.sources)),
            "" if not groups else "groups, known subjects and files count once, other recordings each",
        ),
        ("without a subject", unnamed, "alike to none; fill in those that you know" if unnamed else ""),
    ]
    width = name_column([*map(shown, found.corpus.labels), *(name for name, *_ in rows)])
    lines = [f"{name:<{width}}  {count:>8}  {note}".rstrip() for name, count, note in rows]
    lines += ["", f"{'label':<{width}}  {'recordings':>10}  {'sources':>8}"]
    for label, counts in found.by_label.items():
        lines.append(f"{padded(shown(label), width)}  {counts['recordings']:>10}  {counts['sources']:>8}")
    if pairs:
        most = np.argsort(-found.pairs.score, kind="stable")[:EXAMPLES]
        lines += ["", "most alike:", *("  " + "  ".join(_named(found, int(number))) for number in most)]
    return lines


def _fields(found: "Audit", labels: "np.ndarray", subjects: "np.ndarray") -> dict[str, Any]:
    import numpy as np

    ids = found.corpus.table.column("id")
    return {
        "recordings": len(found.corpus),
        "not_compared": found.not_compared,
        "at_least": found.at_least,
        "pairs": len(found.pairs.score),
        "pairs_between_labels": int(np.count_nonzero(labels)),
        "pairs_between_subjects": int(np.count_nonzero(subjects)),
        "sources": len(np.unique(found.sources)),
        "labels": found.by_label,
        "groups": [[ids[int(row)].as_py() for row in rows] for rows in found.groups],
    }
