"""The picture of a set of many labels shows the first ones, and says so; that of near pairs names both."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from clinaug_fast.config import MelConfig
from clinaug_fast.evaluate import quality
from clinaug_fast.features import pictures
from clinaug_fast.features.feature_set import FeatureSet
from clinaug_fast.features.pictures import save_real_above, to_show
from clinaug_fast.mel import band_edges_hz

MEL = MelConfig(sample_rate=8000, n_fft=64, n_mels=8)


def drawn(path: Path, n_labels: int, monkeypatch: pytest.MonkeyPatch) -> Figure:
    """The figure that was saved, of one real and one generated clip a label."""
    figures = []

    class Noted(Figure):
        def savefig(self, *x, **how):
            figures.append(self)
            super().savefig(*x, **how)

    monkeypatch.setattr(pictures, "Figure", Noted)
    clips = [np.random.default_rng(k).normal(size=(1, 8, 10)).astype(np.float32) for k in range(n_labels)]
    save_real_above(path, clips, clips, [f"label {k}" for k in range(n_labels)], MEL)
    (figure,) = figures
    return figure


@pytest.mark.parametrize(
    ("n_labels", "said"), [(2, ""), (3, "the first 2 of 3 labels"), (9, "the first 2 of 9 labels")]
)
def test_of_many_labels_the_first_are_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_labels: int, said: str):
    monkeypatch.setattr(pictures, "MOST_LABELS", 2)
    figure = drawn(tmp_path / "picture.png", n_labels, monkeypatch)
    images = [axes for axes in figure.axes if axes.images]
    assert len(images) == 2 * 2
    assert [axes.get_title() for axes in images if axes.get_title()] == ["label 0", "label 1"]
    assert figure.get_suptitle() == said
    assert (tmp_path / "picture.png").stat().st_size > 0


def test_the_colours_are_those_of_the_clips_that_are_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pictures, "MOST_LABELS", 1)
    quiet, loud = np.linspace(0, 1, 80, dtype=np.float32).reshape(1, 8, 10), np.full((1, 8, 10), 99, np.float32)
    for name, second in (("one.png", quiet), ("other.png", loud)):
        save_real_above(tmp_path / name, [quiet, second], [quiet, second], ["a", "b"], MEL)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "other.png").read_bytes()


def test_what_turns_text_round_is_told_as_a_number():
    assert pictures._title("rtl\u202egnp") == "rtl\\u202egnp"


def test_titles_in_capitals_do_not_run_into_each_other():
    assert pictures._title("AORTIC STENOSIS SEVERE") == "AORTIC STENOSIS \nSEVERE"
    assert pictures._title("aortic stenosis severe") == "aortic stenosis severe"
    assert pictures._title("W" * 20) == "W" * 13 + "\n" + "W" * 7


def test_hundreds_of_labels_are_not_drawn():
    assert 6 <= pictures.MOST_LABELS <= 60


def test_the_nearest_pairs_are_named_by_both_labels_where_they_differ(
    tmp_path: Path, tiny_features: FeatureSet, monkeypatch: pytest.MonkeyPatch
):
    titles = []
    monkeypatch.setattr(quality, "save_real_above", lambda path, real, made, labels, mel, kind: titles.extend(labels))
    ids, labels = tiny_features.column("id"), tiny_features.column("label")
    other = int(np.flatnonzero(labels != labels[0])[0])
    pairs = [{"real": ids[0], "id": ids[0], "ratio": 0.5}, {"real": ids[0], "id": ids[other], "ratio": 0.123}]
    quality._draw(tiny_features, tiny_features, pairs, tmp_path / "pairs.png")
    assert titles == [f"ratio 0.50, {labels[0]}", f"ratio 0.12, {labels[0]} above {labels[other]}"]


def test_a_clip_lies_at_its_seconds_and_frequencies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A band's centre is in the middle of its row, the lowest at the bottom."""
    figure = drawn(tmp_path / "picture.png", 1, monkeypatch)
    image = figure.axes[0].images[0]
    assert (image.get_extent(), image.origin) == ([0, 10 * 16 / 8000, 0, 8], "lower")
    centres = dict(enumerate(band_edges_hz(MEL)[1:-1]))
    for place, hz in pictures._frequencies(MEL):
        if hz < MEL.f_max:
            below, part = divmod(place - 0.5, 1)
            assert hz == pytest.approx(centres[below] + part * (centres[below + 1] - centres[below]))


def test_made_clips_of_all_labels_lie_beside_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    places, show = [], pictures._show

    def noted(ax, *x):
        places.append((ax.get_subplotspec().colspan.start, ax.get_subplotspec().rowspan.start))
        return show(ax, *x)

    monkeypatch.setattr(pictures, "_show", noted)
    one, two = (np.random.default_rng(0).normal(size=(n, 8, 10)) for n in (1, 2))
    save_real_above(tmp_path / "picture.png", [one, two], [two, one], ["a", "b"], MEL)
    assert places == [(0, 0), (0, 2), (0, 3), (1, 0), (1, 1), (1, 2)]


@pytest.mark.parametrize(("recordings", "shown"), [("aab", [0, 2]), ("baac", [0, 1]), ("aaa", [0, 1]), ("a", [0])])
def test_the_first_clips_of_different_recordings_are_shown(recordings: str, shown: list[int]):
    assert to_show(np.array(list(recordings), dtype=object)) == shown


def test_the_colours_of_all_clips_are_those_of_the_real_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    limits, show = [], pictures._show

    def noted(*x):
        image = show(*x)
        limits.append(image.get_clim())
        return image

    monkeypatch.setattr(pictures, "_show", noted)
    real = np.linspace(0, 1, 80, dtype=np.float32).reshape(1, 8, 10)
    save_real_above(tmp_path / "picture.png", [real], [real / 2 - 9], ["a"], MEL)
    assert limits == [pytest.approx((0.001, 0.999), abs=1e-6)] * 2
