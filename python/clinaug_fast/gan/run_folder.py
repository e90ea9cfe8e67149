"""The RUN folder: `run.json`, its split as `folds.json`, and `fold_K/` with each fold's generator.

`train` fills it, `generate` reads it. `run.json` comes first and says what the run is: its settings, its folds and the
fingerprint of its features. A fold's folder appears when its generator is trained, never before.
"""

import errno
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load

from clinaug_fast.computing import as_torch_begins
from clinaug_fast.config import GanConfig
from clinaug_fast.errors import InputError, SettingsError
from clinaug_fast.features.feature_set import FeatureSet
from clinaug_fast.features.folds import Folds
from clinaug_fast.gan.models import Generator
from clinaug_fast.gan.scaling import Scaling
from clinaug_fast.json_files import as_json, read_json_lines, read_record, read_versioned, write_json
from clinaug_fast.runs import AnyPath, begun, claim, fingerprint, fingerprint_file, naming, provenance, refuse_changed

SCHEMA_VERSION = 3  # counts up, too, where a change of ours changes what training or generating gives
ANOTHER_BUILD = "Another build made it: train again, into another folder"
WEIGHTS = "generator.safetensors"
SCALING = "scaling"  # in its metadata
METRICS = "metrics.jsonl"
FINGERPRINTED = ("schema_version", "settings", "features", "folds", "labels", "mel", "clip_shape")  # of run.json
ABOUT = {  # what run.json tells
    "settings": dict,
    "features": str,
    "folds": str,
    "labels": [str],
    "mel": dict,
    "clip_shape": [int],
    "features_path": str,
    "split": dict,
    "fingerprint": str,
}
STATE = {  # of a trained fold
    "run": str,
    "fold": int,
    "weights": str,
    "metrics": str,
    "scaling": {"low": float, "high": float},
    "clips_per_label": [int],
    "generator_parameters": int,
    "critic_parameters": int,
}


@dataclass(frozen=True)
class Run:
    """A RUN folder. `Run.begin` makes it or goes on in it; `Run.open` reads it."""

    path: Path
    about: dict[str, Any]  # run.json

    @classmethod
    def begin(cls, path: Path, features: FeatureSet, folds: Folds, config: GanConfig) -> "Run":
        """Write `run.json`, or find the same one there; InputError, with the keys, where it is of other settings."""
        about = {
            "schema_version": SCHEMA_VERSION,
            "settings": config.model_dump(),
            "features": features.fingerprint,
            "folds": folds.fingerprint,
            "labels": features.labels,
            "mel": features.mel.model_dump(),
            "clip_shape": list(features.clip_shape),
        }
        about["fingerprint"] = _fingerprint(about)
        if not begun(path, "run.json", "other things than a run"):
            path.mkdir(parents=True, exist_ok=True)
            more = {
                "features_path": os.path.relpath(features.path.resolve(), path.resolve()),
                "split": folds.about,
                "provenance": provenance(),
            }
            claim(path / "run.json", as_json(about | more))  # or another process has just begun it
        run = cls.open(path)
        refuse_changed(path, _identity(run.about), _identity(about))
        run.write_folds()
        return run

    def write_folds(self) -> None:
        """folds.json once more, for an evaluation of what the run's generators make."""
        try:
            if Folds.load(self.folds_path).fingerprint == self.folds.fingerprint:
                return
        except InputError:  # it is not there, or was changed
            pass
        try:
            write_json(self.folds_path, self.about["split"])
        except OSError as error:
            if error.errno not in (errno.EROFS, errno.EACCES):  # a finished run may lie where nobody may write
                raise

    @classmethod
    def open(cls, path: AnyPath) -> "Run":
        path = Path(path)
        what = "a run's run.json (clinaug-fast train makes one)"
        run = cls(path, read_versioned(path / "run.json", what, SCHEMA_VERSION, ANOTHER_BUILD, ABOUT))
        try:
            _ = run.config
        except (SettingsError, TypeError) as error:
            raise InputError(f"{path / 'run.json'} has settings that make no run: {error}. Train a new run") from None
        if not run._is_as_it_was_made:
            raise InputError(f"{path / 'run.json'} was changed after it was made. Restore it, or train a new run")
        return run

    @property
    def _is_as_it_was_made(self) -> bool:
        """But for the path of the features, which may have moved."""
        split = self.folds
        return (
            self.fingerprint == _fingerprint(self.about)
            and split.about.get("fingerprint") == self.about["folds"]
            and not split.were_changed
        )

    @property
    def config(self) -> GanConfig:
        return GanConfig(**self.about["settings"])

    @property
    def fingerprint(self) -> str:
        return self.about["fingerprint"]

    @property
    def folds(self) -> Folds:
        """The split that the run was begun with."""
        return Folds(self.about["split"])

    @property
    def folds_path(self) -> Path:
        """The same split as a folds.json."""
        return self.path / "folds.json"

    @property
    def features_path(self) -> Path:
        """Where the features were when the run began, from where the run's folder is once its links are followed."""
        there = os.path.normpath(self.path.resolve() / self.about["features_path"])
        return Path(there if self.path.is_absolute() else os.path.relpath(there))

    def check(self, features: FeatureSet, folds: Folds) -> None:
        """InputError where the run was trained on other features or folds."""
        for what, given, expected in (
            ("feature set", features.fingerprint, self.about["features"]),
            ("split", folds.fingerprint, self.about["folds"]),
        ):
            if given != expected:
                raise InputError(
                    f"{self.path} was trained on the {what} {expected}; this one is {given}. "
                    "Name the one it was trained on, or train a new run"
                )

    def folder(self, fold: int) -> Path:
        return self.path / f"fold_{fold}"

    def _mend(self, fold: int) -> str:
        return f"Restore the file, or remove {self.folder(fold)} and run train again"

    def state(self, fold: int) -> dict[str, Any]:
        """InputError where this run did not leave it for this fold: another's generator may have seen its subjects."""
        path, what = self.folder(fold) / "state.json", "a trained fold's state.json (clinaug-fast train makes one)"
        state = read_record(path, what, STATE, self._mend(fold))
        if (state["run"], state["fold"]) != (self.fingerprint, fold):
            raise InputError(
                f"{path} is of fold {state['fold']} of the run {state['run']}; expected fold {fold} of "
                f"{self.fingerprint}, or its generator may have seen the subjects that are tested. {self._mend(fold)}"
            )
        return state

    def metrics(self, fold: int) -> list[dict[str, float]]:
        """One row a generator step."""
        what = "a trained fold's metrics.jsonl (clinaug-fast train makes one)"
        fields, path = {"wasserstein": (float, int)}, self.folder(fold) / METRICS
        rows = read_json_lines(path, what, fields, self._mend(fold))
        if self.state(fold)["metrics"] != fingerprint_file(path):
            raise InputError(f"{path} is not what train left. {self._mend(fold)}")
        return rows

    def digest(self, fold: int) -> str:
        """Sixteen hex digits that name what a fold's clips follow from beside the settings: its weights and scaling."""
        state = self.state(fold)
        return fingerprint(state["weights"], state["scaling"])

    def trained(self, fold: int) -> tuple[Path, dict[str, Any]]:
        """The file of a fold's weights, and its state; InputError where one of them is not what train left."""
        weights, state = self.folder(fold) / WEIGHTS, self.state(fold)
        if not weights.exists() or fingerprint_file(weights) != state["weights"]:
            raise InputError(f"{weights} is missing or is not what train left. {self._mend(fold)}")
        low, high = state["scaling"]["low"], state["scaling"]["high"]
        scales = f"{self.folder(fold) / 'state.json'} scales clips to {low} to {high}"
        if not low < high:
            raise InputError(f"{scales}; expected low < high. {self._mend(fold)}")
        if (made_for := _scaling_of(weights)) != scaling_text(low, high):
            raise InputError(f"{scales}; expected {made_for}, as the weights tell. {self._mend(fold)}")
        return weights, state

    @as_torch_begins()
    def generator(self, fold: int) -> tuple[Generator, Scaling]:
        """The averaged generator of a fold, ready to generate, and its scaling."""
        weights, state = self.trained(fold)
        config, shape = self.config, tuple(self.about["clip_shape"])
        with torch.device("meta"):  # no first weights are drawn: the stored ones take their place
            generator = Generator(config.model, shape, len(self.about["labels"]), config.width, config.latent_dim)
        try:
            with naming(weights):
                tensors = load(weights.read_bytes())
            for name, wanted in generator.state_dict().items():
                if name in tensors and tensors[name].dtype != wanted.dtype:
                    raise RuntimeError(f"{name} is of {tensors[name].dtype}, expected {wanted.dtype}")
            generator.load_state_dict(tensors, assign=True)
        except (SafetensorError, RuntimeError) as error:
            first = str(error).splitlines()[:2][-1].strip().rstrip(".")  # torch lists each weight under a line
            raise InputError(f"{weights} does not fit {self.path / 'run.json'}: {first}. Train again") from None
        return generator.eval(), Scaling(state["scaling"]["low"], state["scaling"]["high"])


def scaling_text(low: float, high: float) -> str:
    """As the weights' file tells it in its metadata: clips are wrong by as much as their scaling is."""
    return f"{low!r} to {high!r}"


def _scaling_of(weights: Path) -> str | None:
    """None of what is no such file."""
    try:
        with safe_open(weights, "pt") as file:
            return (file.metadata() or {}).get(SCALING)
    except SafetensorError:
        return None
    except (OSError, RuntimeError) as error:  # of a disk that fails, in the words of safetensors
        open(weights, "rb").close()  # which are not always the system's
        raise InputError(f"{weights} cannot be read: {error}. Check its disk") from None


def _fingerprint(about: dict[str, Any]) -> str:
    return fingerprint({key: about.get(key) for key in FINGERPRINTED})


def _identity(about: dict[str, Any]) -> dict[str, Any]:
    """What must not change between two calls of train in one folder, flat, so that a refusal names the setting."""
    return {"features": about["features"], "folds": about["folds"], **about["settings"]}
