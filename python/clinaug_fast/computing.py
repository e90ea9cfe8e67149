"""Where and how torch computes for `train`, `generate`, `evaluate` and `quality`: as it does when it has just begun.

A default dtype or device, autocast and switched off gradients, which a notebook sets for its own work, change neither
weights nor scores. What torch computes with stays: its threads, its backends, the precision of its products.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch

from clinaug_fast.errors import SettingsError


def chosen_device(device: str | torch.device) -> torch.device:
    """The CPU or a CUDA device that torch sees; SettingsError for any other."""
    try:
        chosen = torch.device(device)
    except (RuntimeError, TypeError):
        chosen = torch.device("meta")
    if chosen.type not in ("cpu", "cuda"):
        raise SettingsError(f"device is {str(device)!r}; expected cpu or cuda")
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise SettingsError(f"device is {chosen}, but torch sees no CUDA device here. Use --device cpu")
    if chosen.type == "cuda" and chosen.index is not None and chosen.index >= torch.cuda.device_count():
        raise SettingsError(f"device is {chosen}; expected a number below {torch.cuda.device_count()}, or cuda alone")
    return chosen


class _SingleByDefault:
    """float32 as the default dtype. That is the process's, not a thread's: who comes first keeps what it was, who goes
    last gives it back, unless somebody has set another meanwhile."""

    def __init__(self) -> None:
        self._lock, self._users, self._before = threading.Lock(), 0, torch.float32

    def __enter__(self) -> None:
        with self._lock:
            if self._users == 0:
                self._before = torch.get_default_dtype()
                torch.set_default_dtype(torch.float32)
            self._users += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0 and torch.get_default_dtype() == torch.float32:
                torch.set_default_dtype(self._before)


_SINGLE_BY_DEFAULT = _SingleByDefault()


def _is_moved() -> bool:
    try:
        return torch.get_default_device().type != "cpu"
    except (RuntimeError, AssertionError):  # a device that is not there, which torch looks for
        return True


@contextmanager
def as_torch_begins() -> Iterator[None]:
    """Within it torch computes as if its caller had set no default, no autocast and no mode without gradients."""
    with (
        _SINGLE_BY_DEFAULT,
        torch.device("cpu") if _is_moved() else nullcontext(),  # it is told of every call, which costs
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autocast("cpu", enabled=False),
        torch.autocast("cuda", enabled=False),
    ):
        yield
