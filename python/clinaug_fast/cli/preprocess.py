"""`clinaug-fast preprocess`: a corpus of audio becomes a feature set."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clinaug_fast.cli.console import Json, Quiet, quoted, some_path, stage
from clinaug_fast.shown import name_column, padded, shown

if TYPE_CHECKING:
    from clinaug_fast.config import MelConfig
    from clinaug_fast.preprocess.pipeline import PreprocessResult

LEAST_UNUSED = 0.01  # of the sound, that is told


def _mel(text: str, **more: Any) -> Any:
    return typer.Option(help=text, show_default=False, rich_help_panel="Mel (as the preset says)", **more)


def _clip(text: str, **more: Any) -> Any:
    return typer.Option(help=text, show_default=False, rich_help_panel="Clips (as the preset says)", **more)


def preprocess(
    context: typer.Context,
    corpus: Annotated[
        Path,
        typer.Argument(
            metavar="CORPUS",
            help="A folder of audio (sub-folder = label), or a .csv or .parquet table with the columns "
            "path, label and maybe subject, site, device, start_s, end_s.",
            show_default=False,
            parser=some_path,
        ),
    ],
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="The feature set: a new folder.", show_default=False, parser=some_path)
    ],
    subject_pattern: Annotated[
        str | None,
        typer.Option(
            metavar="REGEX",
            help="Searched in each path inside the corpus; the group in parentheses is the subject: '/(P[0-9]+)_'.",
            show_default=False,
            rich_help_panel="Data",
        ),
    ] = None,
    max_bad: Annotated[
        float,
        typer.Option(
            metavar="FRACTION", help="More rejected recordings than this end in exit code 4.", rich_help_panel="Data"
        ),
    ] = 0.05,
    on_error: Annotated[
        str,
        typer.Option(
            metavar="skip|fail",
            help="A recording that cannot be used: list it and go on, or end the run (exit code 4).",
            rich_help_panel="Data",
        ),
    ] = "skip",
    max_duration: Annotated[
        float,
        typer.Option(
            metavar="HOURS",
            help="Longer recordings are rejected: a small file may decode to days of silence.",
            rich_help_panel="Data",
        ),
    ] = 24.0,
    deidentify: Annotated[
        Path | None,
        typer.Option(
            metavar="KEYFILE",
            parser=some_path,
            help="Replace paths, subjects, sites and devices by hashes under this key; a new file gets a new key. "
            "Keep it away from OUT.",
            show_default=False,
            rich_help_panel="Data",
        ),
    ] = None,
    preset: Annotated[
        str,
        typer.Option(
            metavar="surgical|heart",
            help="surgical: 44.1 kHz room microphones; heart: 8 kHz stethoscopes.",
            rich_help_panel="Data",
        ),
    ] = "surgical",
    like: Annotated[
        str | None,
        _mel(
            "That library's scale, norm, padding, log and floor, before the options below.",
            metavar="librosa|torchaudio",
        ),
    ] = None,
    sample_rate: Annotated[int | None, _mel("Hz; files of other rates are resampled.")] = None,
    n_fft: Annotated[int | None, _mel("Samples of an FFT.")] = None,
    win_length: Annotated[
        int | None, _mel("Samples of the window, centred in n_fft; n_fft of them if not given.")
    ] = None,
    hop_length: Annotated[int | None, _mel("Samples between frames.")] = None,
    window: Annotated[str | None, _mel("The window's shape.", metavar="hann|hamming|blackman|boxcar")] = None,
    n_mels: Annotated[int | None, _mel("Mel bands.")] = None,
    f_min: Annotated[float | None, _mel("Hz; the lowest band's lower edge.")] = None,
    f_max: Annotated[float | None, _mel("Hz; the highest band's upper edge.")] = None,
    mel_scale: Annotated[str | None, _mel("The mel scale.", metavar="slaney|htk")] = None,
    norm: Annotated[
        str | None, _mel("slaney: bands of equal area; none: of equal height.", metavar="slaney|none")
    ] = None,
    power: Annotated[int | None, _mel("1: magnitudes; 2: powers.", metavar="1|2")] = None,
    center: Annotated[bool | None, _mel("Frames centred on their time, the ends padded.")] = None,
    pad_mode: Annotated[str | None, _mel("Padding of centred frames.", metavar="reflect|constant|edge")] = None,
    log: Annotated[str | None, _mel("The logarithm.", metavar="ln|log10|db")] = None,
    floor: Annotated[float | None, _mel("Smaller band values are raised to this before the logarithm.")] = None,
    n_frames: Annotated[int | None, _clip("Frames of a clip.")] = None,
    stride_frames: Annotated[
        int | None, _clip("Frames between the starts of clips; n_frames, no overlap, if not given.")
    ] = None,
    short: Annotated[
        str | None, _clip("A recording shorter than a clip: followed by zeros, or repeated.", metavar="pad|tile")
    ] = None,
    min_seconds: Annotated[float | None, _clip("Shorter recordings are rejected.")] = None,
    quiet_db: Annotated[float | None, _clip("Clips this far below the loudest of their recording are dropped.")] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            "--threads", "-j", min=1, help="CPU threads.", show_default="all allowed cores", rich_help_panel="Compute"
        ),
    ] = None,
    mem_limit: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="Memory that this process may take, such as 512M or 4G.",
            show_default="2G, or a quarter of the machine",
            rich_help_panel="Compute",
        ),
    ] = None,
    device: Annotated[
        str,
        typer.Option(
            metavar="cpu|cuda",
            help="Where the log-mels are made; files are decoded on the CPU either way.",
            rich_help_panel="Compute",
        ),
    ] = "cpu",
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="I/N|slurm|none",
            help="Make part I (from 0) of N, OUT.part-I-of-N, for clinaug-fast merge; slurm: this task of an array "
            "job; none: the whole set.",
            show_default="in a SLURM array: its task's; else none",
            rich_help_panel="Compute",
        ),
    ] = None,
    dask: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="A Dask scheduler whose workers share the file system; --threads and --mem-limit are each worker's.",
            show_default=False,
            rich_help_panel="Compute",
        ),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Cut recordings into clips and turn them into log-mels: the feature set that every other command reads."""
    with stage("preprocess", as_json, quiet) as say:
        from clinaug_fast.config import PRESETS, ClipConfig, MelConfig
        from clinaug_fast.errors import SettingsError
        from clinaug_fast.native import allowed_threads
        from clinaug_fast.preprocess.deidentify import read_or_make_key
        from clinaug_fast.preprocess.memory import parse_bytes
        from clinaug_fast.preprocess.parts import part_asked_for
        from clinaug_fast.preprocess.pipeline import preprocess as make
        from clinaug_fast.preprocess.receipt import show_receipt

        if preset not in PRESETS:
            raise SettingsError(f"preset is {preset!r}; expected one of {', '.join(PRESETS)}")
        if on_error not in ("skip", "fail"):
            raise SettingsError(f"on_error is {on_error!r}; expected skip or fail")
        given = {name: value for name, value in context.params.items() if value is not None}
        options = {name: given[name] for name in MelConfig.model_fields if name in given}
        mel = PRESETS[preset].mel.with_changes(like=like, **options)
        clip = PRESETS[preset].clip.with_changes(**{name: given.get(name) for name in ClipConfig.model_fields})
        part, found = part_asked_for(shard)
        if found:
            say.note(found, even_if_quiet=True)
        key = None if deidentify is None else read_or_make_key(deidentify, out)
        if key is not None and deidentify.stat().st_mode & 0o077:
            say.warn(
                f"{deidentify} may be read by others than its owner, who could undo the hashes: chmod 600 it, or keep "
                "it on a disk that knows rights"
            )
        if as_json:
            say.note(f"mel: {mel.signature}")
        result = make(
            corpus,
            out,
            mel,
            clip,
            subject_pattern=subject_pattern,
            threads=threads or allowed_threads(),
            memory=None if mem_limit is None else parse_bytes(mem_limit),
            max_hours=max_duration,
            max_bad=max_bad,
            fail_at_first=on_error == "fail",
            part=part,
            device=device,
            dask=dask,
            deidentify_key=key,
            progress=say,
        )
        if result.receipt is not None:
            say.stop()
            say.note(show_receipt(result.receipt))
        say.result(_text(result, mel, clip.n_frames), **_fields(result, mel))


def _fields(result: "PreprocessResult", mel: "MelConfig") -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "out": str(result.out),
        "already_done": result.already_done,
        "counts": None if result.counts is None else asdict(result.counts),
        "receipt": result.receipt,
        "mel": mel.model_dump(),
        "mel_digest": mel.digest,
        "mel_signature": mel.signature,
    }


def _text(result: "PreprocessResult", mel: "MelConfig", n_frames: int) -> str:
    counts, out = result.counts, result.out
    made = f"{out} was made before with these settings: nothing to do" if result.already_done else f"{out} is made"
    if counts is None:
        whole, _, of = str(out).rpartition(".part-")
        parts = f"{quoted(whole)}.part-*-of-{of.rpartition('-')[2]}"
        return f"{made}\nmel: {mel.signature}\n\nnext, with all parts: clinaug-fast merge {parts} {quoted(whole)}"
    seconds = mel.n_samples(n_frames) / mel.sample_rate
    kept = f"{counts.audio_seconds / 60:.1f} minutes"
    if counts.unused_seconds >= LEAST_UNUSED * counts.audio_seconds:
        kept += f", {counts.unused_seconds / 60:.1f} in no clip (a smaller --stride-frames uses more)"
    rows = [("recordings found", counts.found, ""), ("  kept", counts.kept, kept)]
    bad = counts.found - counts.kept
    rows += [("  rejected", bad, f"reasons in {out / 'rejected.jsonl'}" if bad else "")]
    rows += [(f"    {code}", n, "") for code, n in counts.rejected.items()]
    if counts.ignored:
        suffixes = ", ".join(f"{n} {shown(suffix)}" for suffix, n in counts.ignored.items())
        rows += [("other files ignored", sum(counts.ignored.values()), suffixes)]
    rows += [("subjects known", counts.subjects, "")]
    rows += [("clips", sum(counts.clips.values()), f"{mel.n_mels} mels x {n_frames} frames, {seconds:.2f} s each")]
    rows += [(f"  {shown(label)}", n, "") for label, n in counts.clips.items()]
    rows += [("quiet clips dropped", counts.quiet_clips, "")]
    width = name_column(name for name, *_ in rows)
    lines = [made, f"mel: {mel.signature}", ""]
    lines += [f"  {padded(name, width)}  {n:>7}  {note}".rstrip() for name, n, note in rows]
    return "\n".join([*lines, "", f"next: clinaug-fast split {quoted(out)}"])
