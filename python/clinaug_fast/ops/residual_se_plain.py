"""residual_se in plain PyTorch: what the kernels are held to, and what is differentiated for second derivatives."""

import torch
from torch.nn import functional as F


def gate(x, w1, b1, w2, b2) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """mean (B, C), hidden (B, hidden) before its relu, gate (B, C)."""
    mean = x.mean((2, 3))
    hidden = F.linear(mean, w1, b1)
    return mean, hidden, torch.sigmoid(F.linear(hidden.relu(), w2, b2))


def excite(x, gate, skip, act, slope) -> torch.Tensor:
    y = x * gate[:, :, None, None]
    if skip is not None:
        y = y + skip
    return {"relu": F.relu, "leaky_relu": lambda z: F.leaky_relu(z, slope), "none": lambda z: z}[act](y)


def gradients(grad, x, y, w1, w2, mean, hidden, gate, act, slope) -> tuple[torch.Tensor, ...]:
    """dL/d(x, w1, b1, w2, b2, skip) of dL/dy, differentiable again; the sign of y only says where act is flat."""
    if act != "none":
        grad = torch.where(y.detach() <= 0, grad * (slope if act == "leaky_relu" else 0.0), grad)
    grad_logit = (grad * x).sum((2, 3)) * gate * (1 - gate)
    grad_hidden = torch.where(hidden.detach() <= 0, 0.0, grad_logit @ w2)
    grad_mean = grad_hidden @ w1 / (x.shape[2] * x.shape[3])
    grad_x = grad * gate[:, :, None, None] + grad_mean[:, :, None, None]
    return grad_x, grad_hidden.T @ mean, grad_hidden.sum(0), grad_logit.T @ hidden.relu(), grad_logit.sum(0), grad
