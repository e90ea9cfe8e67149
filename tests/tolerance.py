"""The tolerances of the kernel tests, in one place, with their reasons."""

import numpy as np
import torch

# The plain kernel and the references differ by the order of sums only.
FLOAT64 = 1e-9

# A log-mel of float32 samples, in dB, of any signal: the kernel computes a frame in double precision where single
# precision would be further off.
FLOAT32_DB = 2e-4

# The same where the rounding noise of a loud tone, which is taken for white, falls on few bins of a weak spectrum.
FLOAT32_TONE_DB = 5e-4

# The same beside a library that computes in single precision itself.
FLOAT32_LOG = 1e-3

# The same of noise at full scale, where no band is weak beside another.
FLOAT32_LOUD = 2e-5

# residual_se in float32: one product, one sum and a mean of up to some ten thousand terms.
FLOAT32 = 1e-5

# residual_se in bfloat16: computed in float32 from bfloat16 inputs and rounded once, relative to the largest value.
BFLOAT16 = 2.0**-8


def worst(a: np.ndarray | torch.Tensor, b: np.ndarray | torch.Tensor) -> float:
    """The largest absolute difference; infinite where one is NaN and the other is not, or the shapes differ."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.shape != b.shape or not np.array_equal(np.isnan(a), np.isnan(b)):
        return float("inf")
    return float(np.abs(a - b)[~np.isnan(a)].max(initial=0.0))


def residual_se_tolerance(dtype: torch.dtype) -> float:
    """Of residual_se and its gradients beside the definition in float64, for values of about 1.

    The result is rounded to `dtype` once, dz in the backward kernel before it; sums are in float32.
    """
    return {torch.float64: FLOAT64, torch.float32: FLOAT32, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}[dtype]
