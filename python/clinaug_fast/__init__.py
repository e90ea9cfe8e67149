"""clinaug-fast: log-mel features, conditional GAN augmentation and honest evaluation for small clinical audio corpora.

Names are resolved when they are first used, so that `clinaug_fast.native` comes without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clinaug_fast import native, ops
    from clinaug_fast.config import MelConfig
    from clinaug_fast.ops import LogMel, ResidualSE

_HOME = {
    "MelConfig": "clinaug_fast.config",
    "LogMel": "clinaug_fast.ops",
    "ResidualSE": "clinaug_fast.ops",
    "native": "clinaug_fast.native",
    "ops": "clinaug_fast.ops",
}

__all__ = ["LogMel", "MelConfig", "ResidualSE", "native", "ops"]


if not TYPE_CHECKING:  # who checks types should see the names above, not that any name may be there

    def __getattr__(name):
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module = import_module(_HOME[name])
        return module if name in ("native", "ops") else getattr(module, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__} - {"TYPE_CHECKING", "import_module"})
