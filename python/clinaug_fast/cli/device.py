"""The device that `train`, `evaluate` and `quality` compute on."""

from clinaug_fast.errors import SettingsError


def refuse_absent(device: str) -> None:
    """Raise SettingsError where torch cannot compute on `device`."""
    import torch

    if device not in ("cpu", "cuda"):
        raise SettingsError(f"device is {device!r}; expected cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise SettingsError("device is cuda, but torch sees no CUDA device here. Use --device cpu")
