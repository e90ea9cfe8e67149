"""train: the same bytes twice, never a look at a test clip, and no step done again after a kill."""

import errno
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from clinaug_fast.config import GanConfig
from clinaug_fast.errors import InputError, SettingsError
from clinaug_fast.features.feature_set import FeatureSet, new_feature_set
from clinaug_fast.features.folds import Folds, make_folds
from clinaug_fast.gan.models import Generator
from clinaug_fast.gan.run_folder import WEIGHTS, Run
from clinaug_fast.gan.scaling import Scaling
from clinaug_fast.gan.train import (
    BalancedDraw,
    reestimate_batch_norm,
    train,
    train_fold,
    update_average,
    wasserstein_course,
)
from clinaug_fast.json_files import write_json
from clinaug_fast.runs import Silent
from conftest import files

SMALL = GanConfig(width=2, latent_dim=8, steps=3, batch_size=6, n_critic=2, seed=5)


pytestmark = pytest.mark.usefixtures("one_thread")


def without_paths(files: dict[str, bytes]) -> dict[str, bytes]:
    """The same, of a run whose features lie elsewhere."""
    about = json.loads(files["run.json"])
    del about["features_path"]
    return files | {"run.json": json.dumps(about).encode()}


def test_a_run_is_whole_and_repeats_byte_for_byte(tiny_features, tiny_folds, tmp_path):
    state = torch.get_rng_state()
    result = train(tiny_features, tiny_folds, tmp_path / "a", SMALL)
    assert torch.equal(torch.get_rng_state(), state)
    train(tiny_features, tiny_folds, tmp_path / "b", SMALL)
    assert result.trained == result.folds == [0, 1, 2]
    made = files(tmp_path / "a")
    folds = [f"fold_{k}/{name}" for k in range(3) for name in (WEIGHTS, "metrics.jsonl", "state.json")]
    assert sorted(made) == sorted(["folds.json", "run.json", *folds])
    assert made == files(tmp_path / "b")
    assert Run.open(tmp_path / "a").folds == tiny_folds
    assert Run.open(tmp_path / "a").features_path.resolve() == tiny_features.path.resolve()
    rows = result.run.metrics(1)
    assert [row["step"] for row in rows] == [1, 2, 3]
    assert set(rows[0]) >= {"critic_loss", "wasserstein", "gradient_penalty", "gradient_norm"}
    assert result.run.state(1)["clips_per_label"] == [8, 8, 8]
    assert made["fold_0/" + WEIGHTS] != made["fold_1/" + WEIGHTS]


def test_another_seed_gives_another_generator(tiny_features, tiny_folds, tmp_path):
    for seed in (0, 1):
        train(tiny_features, tiny_folds, tmp_path / str(seed), SMALL.with_changes(seed=seed), only_folds=[0])
    a, b = ((tmp_path / str(seed) / "fold_0" / WEIGHTS).read_bytes() for seed in (0, 1))
    assert a != b


@pytest.mark.parametrize("bad", [np.nan, -np.inf])
def test_no_test_clip_is_ever_used(tiny_features, tiny_folds, tmp_path, bad):
    poisoned = tmp_path / "poisoned"
    shutil.copytree(tiny_features.path, poisoned)
    _, test = tiny_folds.rows(tiny_features, 1)
    shard = np.load(poisoned / "shards" / "00000.npy")
    shard[tiny_features.column("row")[test]] = bad
    np.save(poisoned / "shards" / "00000.npy", shard)
    train(tiny_features, tiny_folds, tmp_path / "clean", SMALL, only_folds=[1])
    train(FeatureSet.open(poisoned), tiny_folds, tmp_path / "run", SMALL, only_folds=[1])
    assert without_paths(files(tmp_path / "run")) == without_paths(files(tmp_path / "clean"))
    with pytest.raises(InputError, match="hold NaN or infinity"):
        train(FeatureSet.open(poisoned), tiny_folds, tmp_path / "other", SMALL)
    assert not (tmp_path / "other").exists()


class KilledError(Exception):
    pass


class KillAt(Silent):
    """A Progress that kills the run at a step."""

    def __init__(self, step: int):
        self.left = step

    def advance(self, steps: int = 1, note: str = "") -> None:
        self.left -= steps
        if self.left == 0:
            raise KilledError


def test_a_killed_run_keeps_its_folds_and_ends_as_an_uninterrupted_one(tiny_features, tiny_folds, tmp_path):
    train(tiny_features, tiny_folds, tmp_path / "whole", SMALL)
    with pytest.raises(KilledError):
        train(tiny_features, tiny_folds, tmp_path / "run", SMALL, progress=KillAt(5))  # in the second fold
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["fold_0", "folds.json", "run.json"]
    written = (tmp_path / "run" / "fold_0" / WEIGHTS).stat().st_mtime_ns
    (tmp_path / "run" / "folds.json").unlink()
    result = train(tiny_features, tiny_folds, tmp_path / "run", SMALL)
    assert result.trained == [1, 2]
    assert (tmp_path / "run" / "fold_0" / WEIGHTS).stat().st_mtime_ns == written
    assert files(tmp_path / "run") == files(tmp_path / "whole")
    assert train(tiny_features, tiny_folds, tmp_path / "run", SMALL).trained == []


def test_a_fold_that_another_process_made_meanwhile_is_kept(tiny_features, tiny_folds, tmp_path):
    class Meanwhile(KillAt):
        def advance(self, steps: int = 1, note: str = "") -> None:
            if not (tmp_path / "run/fold_0").exists():
                train(tiny_features, tiny_folds, tmp_path / "run", SMALL, only_folds=[0])

    train(tiny_features, tiny_folds, tmp_path / "whole", SMALL, only_folds=[0])
    train(tiny_features, tiny_folds, tmp_path / "run", SMALL, only_folds=[0], progress=Meanwhile(0))
    assert files(tmp_path / "run") == files(tmp_path / "whole")


def test_a_fold_that_another_process_makes_while_this_one_writes_is_kept(
    tiny_features, tiny_folds, tmp_path, monkeypatch
):
    def slowly(path: Path, rows: list[dict]) -> None:
        monkeypatch.undo()
        shutil.copytree(tmp_path / "whole/fold_0", tmp_path / "run/fold_0")
        write_json_lines(path, rows)

    train(tiny_features, tiny_folds, tmp_path / "whole", SMALL, only_folds=[0, 1])
    module = sys.modules[train.__module__]
    write_json_lines = module.write_json_lines
    monkeypatch.setattr(module, "write_json_lines", slowly)
    assert train(tiny_features, tiny_folds, tmp_path / "run", SMALL, only_folds=[0, 1]).trained == [1]
    assert files(tmp_path / "run") == files(tmp_path / "whole")


def test_a_fold_that_may_not_be_on_disk_is_no_fold_of_another_process(tiny_features, tiny_folds, tmp_path, monkeypatch):
    def failing(path: Path) -> None:
        if path == tmp_path / "run" and (path / "fold_0").exists():
            raise OSError(errno.EIO, "the disk is gone")

    monkeypatch.setattr("clinaug_fast.runs.flush", failing)
    with pytest.raises(OSError, match="the disk is gone"):
        train(tiny_features, tiny_folds, tmp_path / "run", SMALL, only_folds=[0])


def test_changed_settings_are_refused_by_name(tiny_features, tiny_folds, tmp_path):
    train(tiny_features, tiny_folds, tmp_path / "run", SMALL, only_folds=[0])
    with pytest.raises(InputError, match="steps is 3 there, 4 asked; width is 2 there, 3 asked"):
        train(tiny_features, tiny_folds, tmp_path / "run", SMALL.with_changes(steps=4, width=3))
    with pytest.raises(InputError, match="folds is"):
        train(tiny_features, make_folds(tiny_features, 3, seed=9), tmp_path / "run", SMALL)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="holds other things than a run"):
        train(tiny_features, tiny_folds, tmp_path / "notes", SMALL)


def test_folds_of_other_features_and_unknown_folds_are_refused(tiny_features, square_folds, tiny_folds, tmp_path):
    with pytest.raises(InputError, match="the folds are of the feature set"):
        train(tiny_features, square_folds, tmp_path / "run", SMALL)
    with pytest.raises(SettingsError, match="fold is 3; expected 0 to 2"):
        train(tiny_features, tiny_folds, tmp_path / "run", SMALL, only_folds=[3])
    assert not (tmp_path / "run").exists()


def feature_set(path: Path, mel, n_frames: int, clips_of: dict[str, int]) -> FeatureSet:
    """Noise, a recording a clip."""
    rng = np.random.default_rng(0)
    with new_feature_set(path, mel, n_frames, list(clips_of), {"kind": "corpus"}) as writer:
        for label, n in clips_of.items():
            for k in range(n):
                clip = rng.normal(size=(mel.n_mels, n_frames)).astype(np.float32)
                writer.add(clip, id=f"{label}{k}", recording=f"{label}{k}", label=label, start_s=0.0)
    return FeatureSet.open(path)


def test_unusable_features_are_refused(tiny_features, tmp_path):
    mel = tiny_features.mel
    few = feature_set(tmp_path / "few", mel, 32, {"a": 6, "b": 2})
    with pytest.raises(InputError, match="has 1 training clips of 'b'; expected at least 2"):
        train(few, make_folds(few, 2), tmp_path / "run", SMALL)
    odd = feature_set(tmp_path / "odd", mel, 40, {"a": 4, "b": 4})
    with pytest.raises(InputError, match="32 mels x 40 frames; expected multiples of 16"):
        train(odd, make_folds(odd, 2), tmp_path / "run", SMALL)
    one = feature_set(tmp_path / "one", mel, 32, {"a": 4})
    halves = [{"test_groups": [f"recording:a{k}"]} for k in range(2)]
    with pytest.raises(InputError, match="one label, 'a'"):
        train(one, Folds({"features": one.fingerprint, "folds": halves}), tmp_path / "run", SMALL)
    assert not (tmp_path / "run").exists()


def test_a_diverging_training_stops_with_advice(tiny_features, tiny_folds, tmp_path):
    wild = SMALL.with_changes(critic_rate=1e30, steps=20)
    with pytest.raises(SettingsError, match=r"diverged at step \d+.*Lower --generator-rate"):
        train(tiny_features, tiny_folds, tmp_path / "run", wild, only_folds=[0])
    assert not (tmp_path / "run" / "fold_0").exists()


def test_a_training_that_diverges_in_its_last_step_is_not_kept(tiny_features, tiny_folds, tmp_path):
    wild = SMALL.with_changes(generator_rate=1e30, steps=1)
    with pytest.raises(SettingsError, match=r"diverged at step 1: .*weights beyond float32\. Lower --generator-rate"):
        train(tiny_features, tiny_folds, tmp_path / "run", wild, only_folds=[0])
    assert not (tmp_path / "run" / "fold_0").exists()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "it holds nothing"),
        ("[]", r"it holds \[\]"),
        ('{"step": 1}', "its wasserstein is None"),
        ('{"wasserstein": NaN}', "it holds NaN"),
        ('{"wasserstein": 1.0}\n{"wass', "Unterminated string"),
    ],
)
def test_damaged_metrics_are_refused(tiny_features, tiny_folds, tmp_path, text, sentence):
    run = train(tiny_features, tiny_folds, tmp_path / "run", SMALL, only_folds=[0]).run
    assert len(run.metrics(0)) == SMALL.steps
    (tmp_path / "run/fold_0/metrics.jsonl").write_text(text)
    with pytest.raises(InputError, match=rf"metrics\.jsonl is not a trained fold's metrics\.jsonl.*: {sentence}"):
        run.metrics(0)


def test_it_learns_which_label_is_where():
    """Two labels, a bright upper or lower half: generated clips of a label must be brighter there."""
    rng = torch.Generator().manual_seed(0)
    classes = torch.arange(40) % 2
    clips = 0.1 * torch.randn(40, 1, 16, 16, generator=rng) - 0.5
    clips[classes == 0, :, :8] += 1.0
    clips[classes == 1, :, 8:] += 1.0
    config = GanConfig(width=4, latent_dim=8, steps=90, batch_size=16, n_critic=2, ema=0.95)
    generator, _, _ = train_fold(clips, classes, 2, config, 0, device=torch.device("cpu"), on_step=lambda row: None)
    with torch.inference_mode():
        for label in (0, 1):
            made = generator(torch.randn(32, 8, generator=rng), torch.full((32,), label))
            upper, lower = made[:, :, :8].mean(), made[:, :, 8:].mean()
            assert (upper - lower) * (1 - 2 * label) > 0.5


def test_stored_weights_are_the_averaged_generator(tiny_features, tiny_folds, tmp_path):
    result = train(tiny_features, tiny_folds, tmp_path / "run", SMALL, only_folds=[0])
    rows, _ = tiny_folds.rows(tiny_features, 0)
    clips, classes = tiny_features.clips(rows), tiny_features.classes[rows]
    scaling = Scaling.fit(clips, classes)
    averaged, _, _ = train_fold(
        torch.from_numpy(scaling.to_unit(clips)).unsqueeze(1),
        torch.from_numpy(classes),
        3,
        SMALL,
        0,
        device=torch.device("cpu"),
        on_step=lambda row: None,
    )
    stored, stored_scaling = Run.open(tmp_path / "run").generator(0)
    assert stored_scaling == scaling
    assert not stored.training
    for name, tensor in averaged.state_dict().items():
        assert torch.equal(tensor, stored.state_dict()[name]), name
    weights = result.run.folder(0) / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(InputError, match="is not what train left"):
        result.run.generator(0)


def test_the_decay_of_the_average_is_that_of_the_settings():
    clips, classes = torch.randn(8, 1, 16, 16, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 2
    averages = [
        train_fold(
            clips, classes, 2, SMALL.with_changes(ema=ema), 0, device=torch.device("cpu"), on_step=lambda row: None
        )[0]
        for ema in (0.0, 0.999)
    ]
    last, warming_up = (average.project.weight for average in averages)
    assert not torch.equal(last, warming_up)


def test_average_warms_up():
    mean, now = torch.nn.Linear(1, 1, bias=False), torch.nn.Linear(1, 1, bias=False)
    for step, decay in ((0, 0.1), (90, 0.91), (100000, 0.999)):
        torch.nn.init.zeros_(mean.weight)
        torch.nn.init.ones_(now.weight)
        update_average(mean, now, 0.999, step)
        assert mean.weight.item() == pytest.approx(1 - decay, abs=1e-6)


def test_batch_norm_statistics_become_those_of_the_weights():
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        generator = Generator("se-cwgan-gp", (32, 32), 2, 4, 8)
    first = generator.stages[0]
    first.running_mean.fill_(100.0)
    reestimate_batch_norm(generator, 64, torch.Generator().manual_seed(1))
    rng = torch.Generator().manual_seed(2)
    latent, classes = torch.randn(2048, 8, generator=rng), torch.randint(2, (2048,), generator=rng)
    with torch.inference_mode():
        seed = generator.project(torch.cat([latent, generator.embedding(classes)], 1)).view(-1, *generator.seed_shape)
    torch.testing.assert_close(first.running_mean, seed.mean((0, 2, 3)), atol=0.05, rtol=0)
    torch.testing.assert_close(first.running_var, seed.var((0, 2, 3)), atol=0, rtol=0.15)
    assert first.momentum == 0.1


def test_clips_are_drawn_evenly_inside_a_label():
    classes = torch.tensor([1, 0, 1, 1, 0, 1])
    draw = BalancedDraw(classes, torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1]).repeat(2000)
    picked = draw(labels)
    assert torch.equal(classes[picked], labels)
    shares = torch.bincount(picked) / 2000
    torch.testing.assert_close(shares, torch.tensor([0.25, 0.5, 0.25, 0.25, 0.5, 0.25]), atol=0.04, rtol=0)


def test_labels_are_asked_for_alike_however_rare_their_clips_are(monkeypatch):
    def noted(self, labels: torch.Tensor) -> torch.Tensor:
        asked.append(labels)
        return draw(self, labels)

    draw, asked = BalancedDraw.__call__, []
    monkeypatch.setattr(BalancedDraw, "__call__", noted)
    classes = (torch.arange(32) == 5).long()
    clips = torch.zeros(32, 1, 16, 16)
    config = SMALL.with_changes(steps=4, n_critic=4, batch_size=64)
    train_fold(clips, classes, 2, config, 0, device=torch.device("cpu"), on_step=lambda row: None)
    assert len(asked) == 16
    assert torch.cat(asked).double().mean().item() == pytest.approx(0.5, abs=0.06)


def test_scaling_inverts_inside_its_limits_and_refuses_silence():
    clips = np.random.default_rng(0).normal(-8, 3, (20, 16, 16)).astype(np.float32)
    scaling = Scaling.fit(clips, np.arange(20) % 3)
    unit = scaling.to_unit(clips)
    assert unit.min() == -1
    assert unit.max() == 1
    back = np.clip(clips, scaling.low, scaling.high)
    np.testing.assert_allclose(scaling.to_log_mel(unit), back, atol=1e-4)
    with pytest.raises(InputError, match="all -23"):
        Scaling.fit(np.full((3, 16, 16), -23.0), np.arange(3))


def test_scaling_leaves_a_thousandth_of_the_values_outside_on_either_side():
    values = np.arange(100_001, dtype=np.float64)  # 0 to 100 000
    values[-1] = 1e9
    scaling = Scaling.fit(np.random.default_rng(0).permutation(values).reshape(1, 1, -1), np.zeros(1, int))
    assert (scaling.low, scaling.high) == pytest.approx((100.0, 99_900.0))


def test_a_rare_label_keeps_its_levels():
    """Two loud clips beside a thousand quiet ones, or beside silence: drawn as often, they must not be cut off."""
    rng = np.random.default_rng(0)
    loud = rng.normal(10.0, 3.0, (2, 16, 16)).astype(np.float32)
    for quiet in (rng.normal(-20.0, 1.0, (1000, 16, 16)), np.full((1000, 16, 16), -23.0)):
        clips = np.concatenate([quiet.astype(np.float32), loud])
        scaling = Scaling.fit(clips, (np.arange(1002) >= 1000).astype(np.int64))
        assert (loud > scaling.high).mean() < 0.005
        assert (quiet < scaling.low).mean() < 0.005


def test_wasserstein_course_smooths():
    rows = [{"wasserstein": 4.0 if k < 20 else 1.0} for k in range(60)]
    rows[50]["wasserstein"] = 21.0
    assert wasserstein_course(rows) == (4.0, 2.0)
    assert wasserstein_course(rows[:3]) == (4.0, 4.0)


@pytest.mark.parametrize(
    ("name", "changed"),
    [("labels", ["hum", "hiss", "knock"]), ("clip_shape", [32, 64]), ("mel", {"sample_rate": 4000}), ("features", "0")],
)
def test_whatever_a_run_is_told_by_cannot_be_changed(tiny_features, tiny_folds, tmp_path, name, changed):
    run = Run.begin(tmp_path / "run", tiny_features, tiny_folds, GanConfig(width=2, latent_dim=4, steps=1))
    write_json(tmp_path / "run/run.json", run.about | {name: changed})
    with pytest.raises(InputError, match=r"run\.json was changed after it was made"):
        Run.open(tmp_path / "run")
