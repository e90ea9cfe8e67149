"""Which clips a distance rests on, and what of the nearest is told: the parts of `quality`, one by one."""

import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from clinaug_fast.config import ClassifierConfig
from clinaug_fast.evaluate import fold_quality as module
from clinaug_fast.evaluate import quality as whole
from clinaug_fast.evaluate.fold_quality import FoldQuality, Part
from clinaug_fast.evaluate.nearest import Nearest
from conftest import MEL, Recorder

CPU = torch.device("cpu")


def numbered(stream: str, *n_of_label: int) -> Part:
    """Clips that hold their place."""
    classes = np.repeat(np.arange(len(n_of_label)), n_of_label)
    return Part(np.arange(len(classes), dtype=np.float32).reshape(-1, 1, 1), classes, np.arange(len(classes)), stream)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The places of what was embedded, set by set."""
    seen = []
    monkeypatch.setattr(module, "_embedded", lambda model, clips, device: seen.append(clips[:, 0, 0].tolist()))
    monkeypatch.setattr(module, "frechet_distance", lambda *x: 0.0)
    monkeypatch.setattr(module, "kernel_distance_by_label", lambda *x: 0.0)
    return seen


def test_clips_are_drawn_at_random_set_by_set_and_label_by_label(drawn: list[list[int]]):
    tested, sets = numbered("a", 40, 9, 40), {"one": numbered("b", 40, 9, 40), "other": numbered("c", 40, 9, 40)}
    n_of_label = np.array([5, 1, 3])
    for seed in (0, 0, 1):
        module._distances(None, tested, sets, n_of_label, seed, CPU)
    first, again, seeded = drawn[:3], drawn[3:6], drawn[6:]
    assert first == again
    assert len({tuple(rows) for rows in first + seeded}) == 6
    for rows in first + seeded:  # none of the label of which one set has a single clip
        assert sum(0 <= row < 40 for row in rows[:5]) == 5
        assert sum(49 <= row < 89 for row in rows[5:]) == 3
        assert len(set(rows)) == 8


@pytest.mark.parametrize("n", [2, 5, 6, 7, 12, 17, 18])
def test_copies_of_one_clip_are_drawn_after_all_other_clips(n: int):
    """Of 18 clips of a label, three copies of each of six."""
    origins = np.repeat(np.arange(12), 3)
    classes, clips = origins // 6, np.arange(36.0).reshape(36, 1, 1)
    part = Part(clips, classes, origins, "copies")
    chosen = module.drawn(part, np.array([n, n]), seed=3)
    assert np.bincount(chosen.classes).tolist() == [n, n]
    times = np.bincount(chosen.origins, minlength=12)
    assert set(times.tolist()) <= {n // 6, -(-n // 6)}
    assert len(np.unique(chosen.clips)) == 2 * n
    assert not np.array_equal(module.drawn(part, np.array([n, n]), seed=4).clips, chosen.clips)


def test_of_a_label_that_cannot_be_compared_nothing_is_drawn():
    part = Part(np.arange(9.0), np.repeat(np.arange(3), 3), np.arange(9), "some")
    assert np.bincount(module.drawn(part, np.array([3, 1, 2]), seed=0).classes, minlength=3).tolist() == [3, 0, 2]


def test_a_label_of_one_clip_is_not_drawn():
    assert module._n_drawn(np.array([3, 1, 2, 0])) == 5


def test_halves_of_a_label_with_one_clip_are_made_in_silence():
    classes, groups = np.array([0] * 8 + [1]), np.repeat(["a", "b", "c"], 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        halves = list(module._halves(classes, groups, 0))
    assert sorted(np.concatenate([unseen for _, unseen in halves]).tolist()) == list(range(9))


def test_of_clips_that_are_as_near_the_first_are_told():
    alike = Nearest(rows=np.arange(100), distances=np.ones(100), ratios=np.tile([0.5, 1.0], 50))
    assert [at for at, _, _ in module._closest(alike, 1.0)] == [0, 2, 4, 6, 8, 10]


def fold_of(ratios: list[float]) -> FoldQuality:
    return FoldQuality({}, {}, {"real": np.zeros(len(ratios), int)}, {"real": np.array(ratios)}, {})


def test_twins_are_counted_and_where_there_are_no_others_the_limit_is_theirs():
    progress = Recorder()
    assert whole._limit([fold_of([0.01, 0.5]), fold_of([0.6])], progress, "subject or recording") == 0.5
    assert [text.split(":")[0] for text in progress.warnings] == [
        "1 of 3 test clips have a twin in the training part of their fold, under another subject or recording"
    ]
    assert whole._limit([fold_of([0.01, 0.02])], Recorder(), "subject") == 0.05
    assert whole._limit([fold_of([0.05, 0.06])], Recorder(), "subject") == 0.05


def test_a_twin_is_another_of_what_the_split_keeps_together(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    units = []
    for name, stub in {
        "check_real": lambda *x: None,
        "admitted_rows": lambda *x: {},
        "fold_quality": lambda *x: None,
        "_summary": lambda found, progress, unit: units.append(unit) or {"arms": {}},
    }.items():
        monkeypatch.setattr(whole, name, stub)
    folds = SimpleNamespace(about={"group_by": "subject, else recording"}, chosen=lambda only: [0], fingerprint="folds")
    real, made = SimpleNamespace(fingerprint="real"), SimpleNamespace(fingerprint="made")
    whole.quality(real, folds, {"made": made}, tmp_path / "out", ClassifierConfig(), progress=Recorder())
    assert units == ["subject or recording"]


def test_a_clip_at_the_limit_is_no_near_copy():
    assert whole._share_below(0.5, np.array([0.4, 0.5, 0.5, 0.6]), np.array([0, 0, 1, 1])) == 0.25


def test_a_picture_tells_both_labels_where_they_differ(monkeypatch: pytest.MonkeyPatch):
    asked = []
    monkeypatch.setattr(whole, "save_real_above", lambda *x: asked.append(x))

    def of(ids: list[str], labels: list[str]) -> SimpleNamespace:
        columns = {"id": np.array(ids, object), "label": np.array(labels, object)}
        return SimpleNamespace(
            column=columns.__getitem__, clips=lambda rows: rows, mel=MEL, lineage={"kind": "generated"}
        )

    pairs = [{"id": "x", "real": "b", "ratio": 0.123}, {"id": "y", "real": "a", "ratio": 0.5}]
    whole._draw(of(["a", "b"], ["hiss", "hum"]), of(["x", "y"], ["hum", "knock"]), pairs, None)
    ((_, real, made, titles, *_),) = asked
    assert titles == ["ratio 0.12, hum", "ratio 0.50, hiss above knock"]
    assert (real, made) == ([[1], [0]], [[0], [1]])


@pytest.mark.parametrize("turned", [False, True])
def test_a_distance_rests_on_what_the_smaller_half_has(monkeypatch: pytest.MonkeyPatch, turned: bool):
    """Six clips of a label, of which one half has two and the other four; one arm has three."""
    labels, n = ["a", "b"], 12
    features = SimpleNamespace(
        groups=np.array([f"s{row}" for row in range(2 * n)], object),
        classes=np.tile([0, 1], n),
        labels=labels,
        column=lambda name: np.array([f"{row}.wav" for row in range(2 * n)], object),
        clips=lambda rows: np.asarray(rows, np.float32).reshape(-1, 1, 1) * np.ones((1, 2, 2), np.float32),
        mel=MEL,
    )
    folds = SimpleNamespace(rows=lambda features, fold: (np.arange(n), np.arange(n, 2 * n)))
    arms = {
        name: SimpleNamespace(
            clips=features.clips,
            classes=features.classes,
            fingerprint=name,
            column=features.column,
            lineage={"kind": "generated"},
        )
        for name in ("many", "three")
    }
    admitted = {"many": np.arange(12), "three": np.arange(6)}
    halves = [(np.arange(4), np.arange(4, 12)), (np.arange(4, 12), np.arange(4))]  # 4 and 2 clips of a label
    monkeypatch.setattr(module, "_halves", lambda *x: halves[::-1] if turned else halves)
    monkeypatch.setattr(module, "train_classifier", lambda *x, **named: None)
    monkeypatch.setattr(module, "_distances", lambda *x: {"real": {"frechet": 0.0}})
    monkeypatch.setattr(module, "nearest", lambda clips, *x, **named: Nearest(*np.zeros((3, len(clips)), int)))
    monkeypatch.setattr(module, "relative_spread", lambda *x: 1.0)
    config = SimpleNamespace(seed=0, steps=1)
    found = module.fold_quality(features, folds, arms, admitted, 0, config, CPU, Recorder())
    assert (found.compared, found.possible, found.with_one) == (4, 4, {"many": 4, "three": 4})
    admitted["three"] = np.arange(4)
    halves[1] = (np.arange(2, 12), np.arange(6))  # 4 and 3
    found = module.fold_quality(features, folds, arms, admitted, 0, config, CPU, Recorder())
    assert (found.compared, found.possible, found.with_one) == (4, 6, {"many": 6, "three": 4})
