"""The picture of real clips above generated or augmented ones, label by label, on one colour scale."""

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font

from clinaug_fast.config import MelConfig
from clinaug_fast.mel import band_edges_hz
from clinaug_fast.runs import atomic_file
from clinaug_fast.shown import is_obeyed

CLIPS_A_LABEL = 2  # of each kind
LABELS_A_BAND = 6  # labels beside each other; more go below
MOST_LABELS = 24  # of more, these many are shown: hundreds would take minutes to draw and be too small to see
TITLE_WIDTH, TITLE_LINES = 13.2, 3  # that a column has room for; the width in heights of the font
UNIT = {"ln": "ln {}", "log10": "log10 {}", "db": "{}, dB"}


def to_show(recordings: np.ndarray) -> list[int]:
    """Which clips of a label to show, given the recording of each: the first ones of different recordings, as far as
    there are."""
    _, first = np.unique(recordings, return_index=True)
    return [*np.sort(first), *np.setdiff1d(np.arange(len(recordings)), first)][:CLIPS_A_LABEL]


def save_real_above(
    path: Path,
    real: Sequence[np.ndarray],
    made: Sequence[np.ndarray],
    labels: Sequence[str],
    mel: MelConfig,
    what: str = "generated",
) -> None:
    """One column a label: its real clips (k, n_mels, n_frames), then the made ones, called `what`, k of one label as of
    another or fewer. Of more than MOST_LABELS labels the first are shown. Equal clips, equal bytes."""
    n_labels = len(labels)
    real, made, labels = real[:MOST_LABELS], made[:MOST_LABELS], labels[:MOST_LABELS]
    columns = min(len(labels), LABELS_A_BAND)
    bands = -(-len(labels) // columns)
    n_real, n_made = max(map(len, real)), max(map(len, made))
    rows = n_real + n_made
    # The look is fixed here, whatever the user's matplotlibrc says.
    with matplotlib.rc_context(matplotlib.rcParamsDefault | {"font.size": 8}):
        figure = Figure(figsize=(1.7 * columns + 1.6, (1.35 * rows + 0.6) * bands), dpi=120, layout="constrained")
        FigureCanvasAgg(figure)
        figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0.02, hspace=0.02)
        axes = figure.subplots(rows * bands, columns, squeeze=False)
        for ax in axes.flat:
            ax.set_axis_off()
        limits = np.quantile(np.concatenate(real), [0.001, 0.999])
        for number, label in enumerate(labels):
            column, top = number % columns, number // columns * rows
            for kind, clips, start in (("real", real[number], top), (what, made[number], top + n_real)):
                for row, clip in enumerate(clips, start):
                    image = _show(axes[row, column], clip, mel, limits)
                    axes[row, column].tick_params(labelleft=column == 0, labelbottom=row == top + rows - 1)
                    if column == 0:
                        axes[row, 0].set_ylabel(f"{kind}\nmel frequency (kHz)")
            axes[top, column].set_title(_title(label), parse_math=False)
            axes[top + rows - 1, column].set_xlabel("time (s)")
        if n_labels > len(labels):
            figure.suptitle(f"the first {len(labels)} of {n_labels} labels")
        quantity = UNIT[mel.log].format("mel power" if mel.power == 2 else "mel magnitude")
        figure.colorbar(image, ax=axes, label=quantity, extend="both", shrink=0.6, aspect=40, pad=0.01)
        with atomic_file(path) as draft:
            figure.savefig(draft, format="png", metadata={"Software": None})


def _title(label: str) -> str:
    """In lines that a column has room for, broken at separators where there are some; a long one without its middle."""
    lines: list[str] = [""]
    for word in re.findall(r"[^\s_-]*[\s_-]?", label):
        units = _printable_units(word)
        if _width(lines[-1] + "".join(units).rstrip()) > TITLE_WIDTH and lines[-1]:
            lines.append("")
        for unit in units:
            if _width(lines[-1] + unit) > TITLE_WIDTH:
                lines.append("")
            lines[-1] += unit
    return "\n".join(lines if len(lines) <= TITLE_LINES else [lines[0], "…", lines[-1]])


def _width(text: str) -> float:
    """In heights of the font: capitals take half as much again as other letters."""
    font = get_font(findfont("DejaVu Sans"))
    font.set_size(100.0, 72.0)
    return sum(font.load_char(ord(letter)).linearHoriAdvance for letter in text) / 65536.0 / 100.0


def _printable_units(text: str) -> list[str]:
    """Letters with their accents; those that matplotlib's own font has not as numbers: an empty box tells nothing."""
    font = get_font(findfont("DejaVu Sans"))
    units: list[str] = []
    for character in text:
        code = ord(character)
        number = f"\\u{code:04x}" if code < 1 << 16 else f"\\U{code:08x}"
        is_drawn = font.get_char_index(code) and not is_obeyed(character)
        shown = character if is_drawn else number
        if units and unicodedata.combining(character):
            units[-1] += shown
        else:
            units.append(shown)
    return units


def _frequencies(mel: MelConfig) -> list[tuple[float, float]]:
    """(place in bands, Hz) of round frequencies that are not too near to each other, the highest first."""
    centres_hz = band_edges_hz(mel)[1:-1]
    ticks: list[tuple[float, float]] = []
    for hz in (digit * 10.0**power for power in range(5, -1, -1) for digit in (5, 2, 1)):
        place = float(np.interp(hz, centres_hz, np.arange(mel.n_mels), left=np.nan, right=np.nan)) + 0.5
        if hz == mel.f_max:  # behind the last centre
            place = mel.n_mels
        if not np.isnan(place) and (not ticks or ticks[-1][0] - place > mel.n_mels / 8):
            ticks.append((place, hz))
    return ticks or [(mel.n_mels - 0.5, round(centres_hz[-1])), (0.5, round(centres_hz[0]))]


def _show(ax, clip: np.ndarray, mel: MelConfig, limits: np.ndarray):
    ax.set_axis_on()
    seconds = clip.shape[1] * mel.hop_length / mel.sample_rate
    ticks = _frequencies(mel)
    ax.set_yticks([place for place, _ in ticks], [f"{hz / 1000:g}" for _, hz in ticks])
    return ax.imshow(
        clip,
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        cmap="magma",
        vmin=limits[0],
        vmax=limits[1],
        extent=(0, seconds, 0, mel.n_mels),
    )
