"""`clinaug-fast mel diff` and `clinaug-fast mel bands`: what a mel contract means, before it meets a corpus."""

from typing import Annotated, Any

import typer

from clinaug_fast.cli.console import Json, Quiet, stage

mel = typer.Typer(
    name="mel",
    help="Compare mel contracts (diff) and see how well one resolves its bands (bands).",
    no_args_is_help=True,
)

NAMES = "a feature set, its features.json, surgical, heart, librosa or torchaudio"


@mel.command()
def diff(
    a: Annotated[str, typer.Argument(metavar="A", help=f"A contract: {NAMES}.", show_default=False)],
    b: Annotated[
        str,
        typer.Argument(metavar="B", help="Another; librosa and torchaudio take the other's sizes.", show_default=False),
    ],
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Which fields of two mel contracts differ, and by how many dB on a test signal; exit code 3 where any does."""
    with stage("mel diff", as_json, quiet) as say:
        from clinaug_fast.errors import InputError
        from clinaug_fast.mel_diff import mel_diff

        found = mel_diff(a, b)
        say.result(
            _show_diff(a, b, found),
            exit_code=0 if found.equal else InputError.exit_code,
            equal=found.equal,
            a=found.a.signature,
            b=found.b.signature,
            fields={name: list(pair) for name, pair in found.fields.items()},
            largest_db=round(found.largest_db, 4),
            median_db=round(found.median_db, 4),
            by_band=found.by_band,
        )


def _show_diff(a: str, b: str, found: Any) -> str:
    lines = [f"A  {a}: {found.a.signature}", f"B  {b}: {found.b.signature}", ""]
    if found.equal:
        return "\n".join([*lines, "one contract: their log-mels may meet in one data set"])
    width = max(map(len, found.fields))
    lines += [f"  {name:<{width}}  {left!s:>12}  {right!s:>12}" for name, (left, right) in found.fields.items()]
    lines += ["", f"on the test signal: median {found.median_db:.2f} dB apart, at most {found.largest_db:.2f} dB"]
    if "log" in found.fields:
        lines.append(f"(both in dB here; their numbers are {found.a.log} and {found.b.log})")
    if found.by_band is None:
        lines += ["(B's bands interpolated to A's, since their number differs)"]
    else:
        lines += ["", f"  {'band':>4}  {'A at Hz':>8}  {'B at Hz':>8}  {'median, dB':>10}  {'at most, dB':>11}"]
        largest = [band["largest_db"] for band in found.by_band]
        for number in sorted({*_spread(len(largest)), largest.index(max(largest))}):
            band = found.by_band[number]
            lines.append(
                f"  {number:>4}  {band['a_hz']:>8.1f}  {band['b_hz']:>8.1f}  {band['median_db']:>10.2f}  "
                f"{band['largest_db']:>11.2f}"
            )
        lines += ["", "  --json lists every band"]
    return "\n".join(lines)


@mel.command()
def bands(
    contract: Annotated[str, typer.Argument(metavar="CONTRACT", help=f"A contract: {NAMES}.")] = "surgical",
    sample_rate: Annotated[int | None, typer.Option(help="Hz.")] = None,
    n_fft: Annotated[int | None, typer.Option(help="Samples of an FFT.")] = None,
    n_mels: Annotated[int | None, typer.Option(help="Mel bands.")] = None,
    f_min: Annotated[float | None, typer.Option(help="Hz; the lowest band's lower edge.")] = None,
    f_max: Annotated[float | None, typer.Option(help="Hz; the highest band's upper edge.")] = None,
    mel_scale: Annotated[str | None, typer.Option(help="The mel scale.", metavar="slaney|htk")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """The band advisor: largest n_mels, smallest n_fft (a power of two) without empty bands; each band's resolution."""
    with stage("mel bands", as_json, quiet) as say:
        from clinaug_fast.mel import advise_bands
        from clinaug_fast.mel_diff import read_mel

        changes = {"sample_rate": sample_rate, "n_fft": n_fft, "n_mels": n_mels, "f_min": f_min, "f_max": f_max}
        config = _changed(read_mel(contract), changes | {"mel_scale": mel_scale})
        advice = advise_bands(config)
        edges = advice.edges_hz
        rows = [
            {
                "band": m,
                "from_hz": round(float(edges[m]), 2),
                "centre_hz": round(float(edges[m + 1]), 2),
                "to_hz": round(float(edges[m + 2]), 2),
                "width_hz": round(float(edges[m + 2] - edges[m]) / 2, 2),
                "fft_bins": int(advice.bins[m]),
            }
            for m in range(config.n_mels)
        ]
        say.result(
            _show_bands(config, advice, rows),
            mel=config.signature,
            bin_hz=round(advice.bin_hz, 4),
            empty_bands=[row["band"] for row in rows if not row["fft_bins"]],
            largest_n_mels=advice.largest_n_mels,
            smallest_n_fft=advice.smallest_n_fft,
            bands=rows,
        )


def _changed(config: Any, changes: dict[str, Any]) -> Any:
    """The contract with other sizes; lengths and the upper edge that no longer fit follow them."""
    from clinaug_fast.config import MelConfig

    given = {name: value for name, value in changes.items() if value is not None}
    kept = config.model_dump(exclude_unset=True)
    if "n_fft" in given:
        kept = {name: value for name, value in kept.items() if name not in ("win_length", "hop_length")}
    if "sample_rate" in given and kept.get("f_max", 0.0) > given["sample_rate"] / 2:
        del kept["f_max"]
    return MelConfig(**kept | given)


def _show_bands(config: Any, advice: Any, rows: list[dict[str, Any]]) -> str:
    from clinaug_fast.config import GAN_STRIDE, gan_side

    empty = [row["band"] for row in rows if not row["fft_bins"]]
    smallest = advice.smallest_n_fft or "none"
    largest = str(advice.largest_n_mels or "none")
    if (advice.largest_n_mels or 0) >= GAN_STRIDE:
        largest += f" (for train, a multiple of {GAN_STRIDE}: {gan_side(advice.largest_n_mels)})"
    lines = [
        config.signature,
        "",
        f"  FFT bins are {advice.bin_hz:.2f} Hz apart; {len(empty)} of {config.n_mels} bands are empty",
        f"  largest n_mels without empty bands at n_fft {config.n_fft}: {largest}",
        f"  smallest power of two as n_fft without empty bands at n_mels {config.n_mels}: {smallest}",
        "",
        f"  {'band':>4}  {'from, Hz':>9}  {'centre':>9}  {'to':>9}  {'width, Hz':>9}  {'FFT bins':>8}",
    ]
    for number in sorted({*_spread(len(rows)), *empty[:8]}):
        row = rows[number]
        mark = "  empty" if not row["fft_bins"] else ""
        lines.append(
            f"  {number:>4}  {row['from_hz']:>9.1f}  {row['centre_hz']:>9.1f}  {row['to_hz']:>9.1f}  "
            f"{row['width_hz']:>9.1f}  {row['fft_bins']:>8}{mark}"
        )
    lines += [
        "",
        "  width: at half the band's height",
        "  empty: no FFT bin lies inside, so the band is the floor whatever the sound",
        "  --json lists every band",
    ]
    return "\n".join(lines)


def _spread(n: int, most: int = 17) -> list[int]:
    """At most `most` numbers from 0 to n - 1, evenly spread, with both ends."""
    return sorted({round(k * (n - 1) / (min(n, most) - 1)) for k in range(min(n, most))}) if n > 1 else [0]
