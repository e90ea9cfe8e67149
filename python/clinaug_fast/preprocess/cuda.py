"""The GPU's side of `preprocess --device cuda`: pinned buffers, copies and the log-mel on a stream of their own.

The only file of the room that imports torch, and imported only where a GPU is asked for. Each thread that decodes has
two lanes; their copies overlap with decoding and with each other's log-mels.
"""

from collections.abc import Callable

import numpy as np
import torch

from clinaug_fast import _native
from clinaug_fast.computing import chosen_device
from clinaug_fast.config import MelConfig
from clinaug_fast.errors import SettingsError
from clinaug_fast.ops.log_mel import log_mel
from clinaug_fast.preprocess.double_buffer import LANES, Lane, lane_capacity

_DTYPES = {np.dtype(np.int16): torch.int16, np.dtype(np.float32): torch.float32}


def refuse_without_gpu() -> None:
    """Raise SettingsError where no GPU can be used, and say why."""
    chosen_device("cuda")
    if not _native.cuda_compiler:
        raise SettingsError(
            "device is cuda, but this build has no CUDA kernels. Put nvcc on PATH and install clinaug-fast again, or "
            "give --device cpu"
        )


def gpu_arithmetic() -> str:
    """What rounding on the current GPU depends on: what our kernels were compiled with and for, and torch, whose FFT
    takes the n_fft that have no kernel."""
    major, minor = torch.cuda.get_device_capability()
    return f"compute capability {major}.{minor} by {_native.cuda_compiler} and torch {torch.__version__}"


def lanes_of_gpu() -> Callable[[MelConfig, int, tuple[int, int]], list[Lane]]:
    """What makes the lanes of a thread, on a stream of their own of the GPU that is current where this is called: each
    thread has to be told which one."""
    gpu = torch.cuda.current_device()

    def make(mel: MelConfig, length: int, clip_shape: tuple[int, int]) -> list[Lane]:
        with torch.cuda.device(gpu):
            stream = torch.cuda.Stream()
            return [_CudaLane(mel, length, clip_shape, stream) for _ in range(LANES)]

    return make


class _CudaLane:
    """See Lane. The log-mel is that of the operator: the kernel for the n_fft that have one, else torch's FFT."""

    def __init__(self, mel: MelConfig, length: int, clip_shape: tuple[int, int], stream: torch.cuda.Stream):
        self._mel, self._stream, self._done = mel, stream, torch.cuda.Event()
        capacity = lane_capacity(length, clip_shape)
        self._windows = torch.empty((capacity, length), dtype=torch.float32, pin_memory=True)
        self._mels = torch.empty((capacity, *clip_shape), dtype=torch.float32, pin_memory=True)
        self._n = 0

    def windows(self, dtype: np.dtype) -> np.ndarray:
        return self._as(dtype).numpy()

    def _as(self, dtype: np.dtype) -> torch.Tensor:
        """(capacity, length); int16 windows take the first half of the memory."""
        capacity, length = self._windows.shape
        return self._windows.view(-1).view(_DTYPES[dtype])[: capacity * length].view(capacity, length)

    def start(self, n: int, dtype: np.dtype) -> None:
        self._n = n
        # The device first: a stream alone, when it is left, goes back to one that this thread may never have opened.
        with torch.no_grad(), torch.cuda.device(self._stream.device), torch.cuda.stream(self._stream):
            on_gpu = self._as(dtype)[:n].to("cuda", non_blocking=True)
            self._mels[:n].copy_(log_mel(on_gpu, self._mel), non_blocking=True)
            self._done.record()

    def finish(self) -> np.ndarray:
        self._done.synchronize()
        return self._mels[: self._n].numpy()
