"""What a feature set is made with, as flat fields: how a draft, a part and a finished set are compared."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clinaug_fast.errors import InputError
from clinaug_fast.features.feature_set import FeatureSet
from clinaug_fast.runs import refuse_changed


def flat_settings(made_with: Mapping[str, Any]) -> dict[str, Any]:
    """A key a field: mel.n_mels, clip.n_frames, subject_pattern, ..., the corpus."""
    fields = {f"{part}.{key}": value for part in ("mel", "clip") for key, value in made_with.get(part, {}).items()}
    fields |= {key: made_with.get(key) for key in ("subject_pattern", "max_hours", "deidentified", "device")}
    fields["arithmetic, which CLINAUG_ISA and the build choose,"] = made_with.get("arithmetic")
    return fields | {"the corpus's fingerprint": made_with["lineage"].get("corpus")}


def refuse_other_set(out: Path, *settings: Mapping[str, Any]) -> FeatureSet:
    """The feature set that stands at `out`; InputError where it is none, or was made with other than these settings."""
    if not (out / "features.json").exists():
        raise InputError(f"{out} exists and is no feature set; expected a new folder. Name another, or remove it")
    features = FeatureSet.open(out)
    for asked in settings:
        refuse_changed(out, flat_settings(features.about), asked)
    return features
