"""The kernels as ordinary torch operators, each with its plain PyTorch reference beside it, and modules on top."""

from clinaug_fast.ops.log_mel import LogMel, log_mel, log_mel_reference
from clinaug_fast.ops.residual_se import ResidualSE, residual_se, residual_se_reference

__all__ = ["LogMel", "ResidualSE", "log_mel", "log_mel_reference", "residual_se", "residual_se_reference"]
