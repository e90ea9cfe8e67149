"""What comes between two commands of one folder: another process, a full disk, somebody's hand."""

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from clinaug_fast.config import ClassifierConfig, GanConfig
from clinaug_fast.errors import InputError
from clinaug_fast.evaluate import cross_validation, predictions
from clinaug_fast.evaluate.cross_validation import _warn_of_other_machinery, evaluate
from clinaug_fast.evaluate.predictions import Cell
from clinaug_fast.features.folds import Folds, make_folds, write_folds
from clinaug_fast.gan import run_folder
from clinaug_fast.gan.generate import generate
from clinaug_fast.gan.run_folder import Run
from clinaug_fast.gan.train import train
from clinaug_fast.runs import claim
from conftest import Recorder, files

GAN = GanConfig(width=2, latent_dim=8, steps=3, batch_size=6, n_critic=1)
CLASSIFIER = ClassifierConfig(width=2, steps=2, batch_size=4, seeds=1)
pytestmark = pytest.mark.usefixtures("one_thread")


class Beside(Recorder):
    """Lets another process act at the first step."""

    def __init__(self, meanwhile: Callable[[], object]):
        super().__init__()
        self._meanwhile = meanwhile

    def advance(self, steps: int = 1, note: str = "") -> None:
        if not self.done:
            self._meanwhile()
        super().advance(steps, note)


@pytest.fixture(scope="module")
def trained(one_thread, tiny_features, tiny_folds, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("trained") / "run"
    train(tiny_features, tiny_folds, path, GAN)
    return path


@pytest.fixture
def run(trained, tmp_path) -> Path:
    return shutil.copytree(trained, tmp_path / "run")


def just_before(monkeypatch, module, act) -> None:
    """Another process acts between the look whether a folder was begun and the beginning."""
    begun = module.begun

    def looked(*asked):
        found = begun(*asked)
        monkeypatch.setattr(module, "begun", begun)
        act()
        return found

    monkeypatch.setattr(module, "begun", looked)


def test_the_first_to_claim_a_file_has_it(tmp_path):
    assert claim(tmp_path / "mark", "one")
    assert not claim(tmp_path / "mark", "other")
    assert (tmp_path / "mark").read_text() == "one"
    assert [path.name for path in tmp_path.iterdir()] == ["mark"]


def test_a_file_system_without_links_is_claimed_all_the_same(tmp_path, monkeypatch):
    def no_link(*asked):
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", no_link)
    assert claim(tmp_path / "mark", "one")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["one"]


def test_of_two_runs_that_begin_at_once_the_second_goes_on_or_is_refused(
    tiny_features, tiny_folds, tmp_path, monkeypatch
):
    out, other = tmp_path / "run", GAN.with_changes(steps=2)
    just_before(monkeypatch, run_folder, lambda: Run.begin(out, tiny_features, tiny_folds, other))
    with pytest.raises(InputError, match="steps is 2 there, 3 asked"):
        train(tiny_features, tiny_folds, out, GAN)
    assert Run.open(out).config == other
    just_before(monkeypatch, run_folder, lambda: Run.begin(tmp_path / "same", tiny_features, tiny_folds, GAN))
    assert train(tiny_features, tiny_folds, tmp_path / "same", GAN, only_folds=[1]).trained == [1]


def test_of_two_evaluations_that_begin_at_once_the_second_is_refused(tiny_features, tiny_folds, tmp_path, monkeypatch):
    other = CLASSIFIER.with_changes(steps=1)

    def act():
        evaluate(tiny_features, tiny_folds, {}, tmp_path / "out", other, only_folds=[0])

    just_before(monkeypatch, cross_validation, act)
    recorder = Recorder()
    with pytest.raises(InputError, match="steps is 1 there, 2 asked"):
        evaluate(tiny_features, tiny_folds, {}, tmp_path / "out", CLASSIFIER, progress=recorder)
    assert not recorder.done
    assert evaluate(tiny_features, tiny_folds, {}, tmp_path / "out", other, only_folds=[0]).trained == 0


def test_a_set_that_another_process_generates_meanwhile_is_taken(trained, tiny_features, tiny_folds, tmp_path):
    asked = (trained, tiny_features, tiny_folds)
    generate(*asked, tmp_path / "whole")
    recorder = Beside(lambda: shutil.copytree(tmp_path / "whole", tmp_path / "out"))
    assert generate(*asked, tmp_path / "out", progress=recorder).already_done
    assert files(tmp_path / "out") == files(tmp_path / "whole")
    recorder = Beside(lambda: shutil.copytree(tmp_path / "whole", tmp_path / "other"))
    with pytest.raises(InputError, match="seed is 0 there, 1 asked"):
        generate(*asked, tmp_path / "other", seed=1, progress=recorder)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "out", "whole"]


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: os.truncate(path, 1000)])
def test_a_generated_set_that_has_lost_a_shard_is_not_done(trained, tiny_features, tiny_folds, tmp_path, damage):
    generate(trained, tiny_features, tiny_folds, tmp_path / "out")
    damage(tmp_path / "out/shards/00000.npy")
    with pytest.raises(InputError, match=r"00000\.npy cannot be read: .*make it anew"):
        generate(trained, tiny_features, tiny_folds, tmp_path / "out")


@pytest.mark.parametrize("bound", ["low", "high"])
def test_a_changed_scaling_is_told(run, tiny_features, tiny_folds, tmp_path, bound):
    path = run / "fold_1/state.json"
    state = json.loads(path.read_text())
    low, high = state["scaling"]["low"], state["scaling"]["high"]
    state["scaling"][bound] += {"low": -10.0, "high": 0.001}[bound]
    path.write_text(json.dumps(state))
    told = (
        rf"fold_1/state\.json scales clips to .*; expected {low!r} to {high!r}, as the weights tell\. Restore the file"
    )
    with pytest.raises(InputError, match=told):
        generate(run, tiny_features, tiny_folds, tmp_path / "out")
    with pytest.raises(InputError, match=told):
        train(tiny_features, tiny_folds, run, GAN)


def test_changed_metrics_are_told(run):
    path = run / "fold_2/metrics.jsonl"
    text = path.read_text()
    assert len(Run.open(run).metrics(2)) == GAN.steps
    for changed in (text[: text.rindex("\n", 0, -1) + 1], text.replace('"step": 2', '"step": 7')):
        path.write_text(changed)
        with pytest.raises(InputError, match=r"metrics\.jsonl is not what train left\. Restore the file"):
            Run.open(run).metrics(2)


def test_a_full_disk_is_told_before_a_fold_is_trained(tiny_features, tiny_folds, tmp_path, monkeypatch):
    asked = []

    def full(descriptor: int, begin: int, n_bytes: int) -> None:
        asked.append(n_bytes)
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(os, "posix_fallocate", full)
    recorder = Recorder()
    with pytest.raises(OSError, match="no space left"):
        train(tiny_features, tiny_folds, tmp_path / "run", GAN, progress=recorder)
    assert not recorder.done
    monkeypatch.undo()
    train(tiny_features, tiny_folds, tmp_path / "run", GAN, only_folds=[0])
    held = sum(path.stat().st_size for path in (tmp_path / "run/fold_0").iterdir())
    assert held / 3 < asked[0] < 3 * held  # state and headers are much of so small a one

    def unable(*_: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "not here")

    monkeypatch.setattr(os, "posix_fallocate", unable)
    assert train(tiny_features, tiny_folds, tmp_path / "run", GAN, only_folds=[1]).trained == [1]
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["fold_0", "fold_1", "folds.json", "run.json"]


def test_a_finished_evaluation_is_shown_where_nobody_may_write(tiny_features, tiny_folds, tmp_path, monkeypatch):
    asked = (tiny_features, tiny_folds, {}, tmp_path / "out", CLASSIFIER)
    scores = evaluate(*asked).scores

    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, "read-only")

    monkeypatch.setattr(cross_validation, "write_text", refuse)
    assert evaluate(*asked).scores == scores
    (tmp_path / "out/scores.json").write_text("{}")
    with pytest.raises(OSError, match="read-only"):
        evaluate(*asked)


def test_cells_of_other_machines_are_told_each_time(tiny_features, tiny_folds, tmp_path, monkeypatch):
    asked = (tiny_features, tiny_folds, {}, tmp_path / "out", CLASSIFIER)

    def warned() -> list[str]:
        recorder = Recorder()
        evaluate(*asked, progress=recorder)
        return [text for text in recorder.warnings if "stored cells" in text]

    assert warned() == warned() == []
    Cell("none", 1, 0).path(tmp_path / "out").unlink()
    arithmetic = predictions._arithmetic("1 thread of the CPU")
    monkeypatch.setattr(predictions, "_arithmetic", lambda made_on: "torch 9 on ABACUS")
    (told,) = warned()
    assert f"2 of the 2 stored cells were made on 1 thread of the CPU by {arithmetic}, the others are made on 1" in told
    monkeypatch.undo()
    for _ in range(2):
        (told,) = warned()
        assert "1 of the 3 stored cells were made on 1 thread of the CPU by torch 9 on ABACUS, the others on 1" in told
        assert "Give --threads" not in told  # which no other processor makes


def test_cells_of_several_machines_are_told_one_by_one():
    def told(here: str | None, *stored_on: str) -> str:
        recorder = Recorder()
        _warn_of_other_machinery(stored_on, here, recorder)
        return "".join(recorder.warnings)

    one, two, cuda = "1 thread of the CPU by torch 9 on A", "2 threads of the CPU by torch 9 on A", "cuda by torch 9"
    assert told(one, one, one) == told(None, one, one) == ""
    assert told(one, *(two,) * 3, cuda, one).startswith(
        f"3 of the 5 stored cells were made on {two}, 1 on {cuda}, the others are made on {one}: scores differ by"
    )
    assert told(None, two, one, one, cuda).startswith(
        f"1 of the 4 stored cells were made on {two}, 1 on {cuda}, the others on {one}: scores differ by"
    )
    assert told(one, two).endswith("Give --threads and --device as before to avoid it")


def test_another_split_beside_a_run_gives_way_to_its_own(run, tiny_features, tiny_folds):
    (run / "folds.json").unlink()
    write_folds(make_folds(tiny_features, len(tiny_folds), seed=1), run / "folds.json")
    assert train(tiny_features, tiny_folds, run, GAN).trained == []
    assert Folds.load(run / "folds.json") == tiny_folds
