"""clinaug-fast: log-mel features, conditional GAN augmentation and honest evaluation for small clinical audio corpora.

Names are resolved when they are first used, so that `clinaug_fast.native` comes without torch.
"""

from importlib import import_module
from typing import Any

_HOME = {
    "MelConfig": "clinaug_fast.config",
    "LogMel": "clinaug_fast.ops",
    "ResidualSE": "clinaug_fast.ops",
    "native": "clinaug_fast.native",
    "ops": "clinaug_fast.ops",
}

__all__ = ["LogMel", "MelConfig", "ResidualSE", "native", "ops"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(_HOME[name])
    return module if name in ("native", "ops") else getattr(module, name)
