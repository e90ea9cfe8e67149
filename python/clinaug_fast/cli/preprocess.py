"""`clinaug-fast preprocess`: a corpus of audio becomes a feature set."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clinaug_fast.cli.console import Json, Quiet, stage

if TYPE_CHECKING:
    from clinaug_fast.config import MelConfig
    from clinaug_fast.data.preprocess import PreprocessResult


def _mel(text: str, **more: Any) -> Any:
    return typer.Option(help=text, show_default=False, rich_help_panel="Mel (as the preset says)", **more)


def _clip(text: str, **more: Any) -> Any:
    return typer.Option(help=text, show_default=False, rich_help_panel="Clips (as the preset says)", **more)


def preprocess(
    context: typer.Context,
    corpus: Annotated[
        Path,
        typer.Argument(
            help="A folder of audio (sub-folder = label), or a .csv or .parquet table with the columns "
            "path, label and maybe subject, site, device, start_s, end_s.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Argument(help="The feature set: a new folder.", show_default=False)],
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
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Cut recordings into clips and turn them into log-mels: the feature set that every other command reads."""
    with stage("preprocess", as_json, quiet) as say:
        from clinaug_fast.config import CONVENTIONS, PRESETS, ClipConfig, MelConfig
        from clinaug_fast.data import preprocess as data
        from clinaug_fast.errors import SettingsError
        from clinaug_fast.native import allowed_threads

        if preset not in PRESETS:
            raise SettingsError(f"preset is {preset!r}; expected one of {', '.join(PRESETS)}")
        given = {name: value for name, value in context.params.items() if value is not None}
        conventions = CONVENTIONS.get(like, {"like": like})
        options = {name: given[name] for name in MelConfig.model_fields if name in given}
        mel = PRESETS[preset].mel.with_changes(**conventions | options)
        clip = PRESETS[preset].clip.with_changes(**{name: given.get(name) for name in ClipConfig.model_fields})
        result = data.preprocess(
            corpus,
            out,
            mel,
            clip,
            subject_pattern=subject_pattern,
            threads=threads or allowed_threads(),
            max_bad=max_bad,
            progress=say,
        )
        say.result(_text(result, mel, clip.n_frames), **_fields(result, mel))


def _fields(result: "PreprocessResult", mel: "MelConfig") -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "out": str(result.out),
        "already_done": result.already_done,
        "counts": asdict(result.counts),
        "mel": mel.model_dump(),
        "mel_digest": mel.digest,
    }


def _text(result: "PreprocessResult", mel: "MelConfig", n_frames: int) -> str:
    counts, out = result.counts, result.out
    seconds = mel.n_samples(n_frames) / mel.sample_rate
    rows = [("recordings found", counts.found, ""), ("  kept", counts.kept, f"{counts.audio_seconds / 60:.1f} minutes")]
    bad = counts.found - counts.kept
    rows += [("  rejected", bad, f"reasons in {out / 'rejected.jsonl'}" if bad else "")]
    rows += [(f"    {code}", n, "") for code, n in counts.rejected.items()]
    if counts.ignored:
        suffixes = ", ".join(f"{n} {suffix}" for suffix, n in counts.ignored.items())
        rows += [("other files ignored", sum(counts.ignored.values()), suffixes)]
    rows += [("subjects known", counts.subjects, "")]
    rows += [("clips", sum(counts.clips.values()), f"{mel.n_mels} mels x {n_frames} frames, {seconds:.2f} s each")]
    rows += [(f"  {label}", n, "") for label, n in counts.clips.items()]
    rows += [("quiet clips dropped", counts.quiet_clips, "")]
    width = max(len(name) for name, *_ in rows)
    lines = [f"{out} was made before with these settings: nothing to do"] if result.already_done else [f"{out} is made"]
    lines += [f"mel: {mel.signature}", ""]
    lines += [f"  {name:<{width}}  {n:>7}  {note}".rstrip() for name, n, note in rows]
    return "\n".join([*lines, "", f"next: clinaug-fast split {shlex.quote(str(out))}"])
