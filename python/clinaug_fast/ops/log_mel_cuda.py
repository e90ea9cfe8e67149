"""log_mel on a GPU: launches the kernel where there is one for the contract, and tells why where there is none.

Takes CUDA tensors, leaves the log-mel in a tensor that the caller made. A launch goes to the current stream, allocates
nothing and waits for nothing. The tables of a contract are copied to a device at its first call there and stay.
"""

import functools
import sys
import threading

import torch

from clinaug_fast import _native
from clinaug_fast.config import MelConfig

SIZES: tuple[int, ...] = tuple(_native.log_mel_cuda_sizes)  # the n_fft that have a kernel

Plan = tuple["_native.LogMelCudaPlan", torch.Tensor]  # and its tables on the device
_plans: dict[tuple[str, int], Plan] = {}
_making = threading.Lock()
_said: set[str] = set()
_saying = threading.Lock()


@functools.cache
def _shared_bytes(device: int) -> int:
    return torch.cuda.get_device_properties(device).shared_memory_per_block_optin


def why_no_kernel(config: MelConfig, dtype: torch.dtype, device: int) -> str:
    """Why torch's FFT computes the log-mel of a tensor of `dtype` on CUDA device `device`; "" where the kernel does."""
    if not _native.cuda_compiler:
        return "this build has no CUDA kernels. Put nvcc on PATH and install clinaug-fast again"
    if config.n_fft not in SIZES:
        return f"n_fft {config.n_fft} has no CUDA kernel. For speed use one of {', '.join(map(str, SIZES))}"
    if dtype == torch.float64:
        return "the kernel computes in single precision"
    needs = _native.log_mel_cuda_sizes[config.n_fft]
    if needs > _shared_bytes(device):
        return f"n_fft {config.n_fft} needs {needs} bytes of shared memory; cuda:{device} has {_shared_bytes(device)}"
    return ""


def say_once(reason: str) -> None:
    """A line on stderr for a GPU that is not used as well as it could be, whichever threads ask."""
    with _saying:
        if reason in _said:
            return
        _said.add(reason)
    print(f"clinaug-fast: log_mel on the GPU goes through torch's FFT: {reason}", file=sys.stderr)


def _plan(contract: str, device: int) -> Plan:
    """Made once, whichever threads ask, and kept for good: a captured graph may hold the address."""
    key = contract, device
    if key not in _plans:
        with _making:
            if key not in _plans:
                _plans[key] = _make_plan(contract, device)
    return _plans[key]


def _make_plan(contract: str, device: int) -> Plan:
    if torch.cuda.is_current_stream_capturing():
        raise RuntimeError(
            f"log_mel is captured in a CUDA graph before its tables are on cuda:{device}. "
            "Call it once with this contract on this device before the capture"
        )
    plan = _native.LogMelCudaPlan(MelConfig.from_contract(contract).model_dump())
    return plan, torch.frombuffer(bytearray(plan.tables()), dtype=torch.uint8).to(torch.device("cuda", device))


def launch(x: torch.Tensor, out: torch.Tensor, contract: str) -> None:
    """x: (..., T) float32 or int16; out: (..., n_mels, n_frames) float32 or float16, contiguous, on the device of x.

    Rows may lie anywhere; samples that lie apart are brought together first.
    """
    device = x.device.index
    plan, tables = _plan(contract, device)
    rows = x.reshape(-1, x.shape[-1])
    if rows.stride(1) != 1 and rows.shape[1] > 1:
        rows = rows.contiguous()
    with torch.cuda.device(device):
        plan.run(
            tables.data_ptr(),
            rows.data_ptr(),
            x.dtype == torch.int16,
            *rows.shape,
            rows.stride(0),
            out.data_ptr(),
            out.dtype == torch.float16,
            device,
            torch.cuda.current_stream(device).cuda_stream,
        )
