"""The networks: three conditional generators that differ in one module each, and one critic for all of them.

They take and give clips (B, 1, n_mels, n_frames) scaled to [-1, 1], of any size divisible by 16. `cwgan-gp` is after
the convolutional generator of Seibold et al. 2022 (Conditional Generative Data Augmentation for Clinical Audio
Datasets), but for how it up-samples (UpSample); `res-cwgan-gp` adds a residual module after each up-sampling;
`se-cwgan-gp` puts squeeze-and-excitation into it.
"""

from itertools import pairwise
from typing import get_args

import torch
from torch import Tensor, nn

from clinaug_fast.config import GAN_STRIDE, GanConfig, MelConfig, gan_side
from clinaug_fast.errors import InputError, SettingsError
from clinaug_fast.mel import empty_bands
from clinaug_fast.ops import ResidualSE

LABEL_DIM = 32


def check_clip_shape(shape: tuple[int, int], mel: MelConfig | None = None) -> None:
    """Raise InputError, naming sizes that work, also for the contract where it is known, where a side of (n_mels,
    n_frames) is not a multiple of 16."""
    if all(side > 0 and side % GAN_STRIDE == 0 for side in shape):
        return
    near = [max(GAN_STRIDE, round(side / GAN_STRIDE) * GAN_STRIDE) for side in shape]
    if mel is not None and empty_bands(mel.with_changes(n_mels=near[0])):
        near[0] = gan_side(shape[0])
    raise InputError(
        f"clips are {shape[0]} mels x {shape[1]} frames; expected multiples of {GAN_STRIDE}. "
        f"Preprocess again with --n-mels {near[0]} --n-frames {near[1]} (64 and 64 are the paper's)"
    )


class UpSample(nn.Module):
    """Doubles both sides: the nearest neighbour, then a 3x3 convolution (Odena, Dumoulin and Olah 2016, Deconvolution
    and Checkerboard Artifacts), which leaves no grid on what is even, whatever it has learned.

    Sub-pixel convolutions (Shi et al. 2016), though their filters started equal, had grown one after 400 steps: 22 and
    103 times the power of the frequencies beside it, here 0.2, on the demo's sounds and on ESC-10 (width 16, one seed).
    Generated 8x8 patches lay nearer to recordings that were not trained on, too: sliced Wasserstein distance 0.086
    against 0.173 and 0.253 against 0.382, real ones lying 0.056 and 0.131 apart. Bilinear up-sampling stayed too smooth
    for noise-like sounds.

    Both are one transposed convolution of 4x4, computed as such: four samples of an output where a 3x3 convolution of
    the doubled sides reads nine, equal ones among them.
    """

    def __init__(self, channels: int, out_channels: int, bias: bool = False):
        super().__init__()
        self.conv = nn.Conv2d(channels, out_channels, 3, padding=1, bias=bias)
        if bias:
            nn.init.zeros_(self.conv.bias)

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W) -> (B, out_channels, 2H, 2W)
        pad, weight = nn.functional.pad, self.conv.weight.transpose(0, 1).flip(2, 3)
        over_two_rows = pad(weight, (0, 0, 0, 1)) + pad(weight, (0, 0, 1, 0))
        over_two_by_two = pad(over_two_rows, (0, 1)) + pad(over_two_rows, (1, 0))
        return nn.functional.conv_transpose2d(x, over_two_by_two, self.conv.bias, stride=2, padding=1)


class Sum(nn.Module):
    """relu(x + skip): what ResidualSE is without its gate."""

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        return torch.relu(x + skip)


class Residual(nn.Module):
    """conv-bn-relu-conv-bn, joined with its input by `join(x, skip)`: `Sum` or `ResidualSE`."""

    def __init__(self, channels: int, join: nn.Module):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.join = join

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W) -> (B, C, H, W)
        return self.join(self.body(x), x)


class Generator(nn.Module):
    """(latent (B, latent_dim), classes (B,)) -> clips (B, 1, n_mels, n_frames) in (-1, 1).

    The label's embedding is joined to the latent vector. Channels go 8, 4, 2, 1 times `width` while the sides double
    from 1/16 to 1/2; the last doubling makes the clip. Squeeze-and-excitation reduces by 16, with at least one hidden
    unit where a stage has fewer than 16 channels, and adds less than 1 % to the parameters at every width, but for
    latent vectors and clips of the smallest sizes.
    """

    def __init__(self, model: str, clip_shape: tuple[int, int], n_labels: int, width: int, latent_dim: int):
        super().__init__()
        if model not in (models := get_args(GanConfig.model_fields["model"].annotation)):
            raise SettingsError(f"model is {model!r}; expected one of {', '.join(models)}")
        check_clip_shape(clip_shape)
        self.latent_dim, self.n_labels = latent_dim, n_labels
        self.seed_shape = (8 * width, clip_shape[0] // GAN_STRIDE, clip_shape[1] // GAN_STRIDE)
        self.embedding = nn.Embedding(n_labels, LABEL_DIM)
        seed_size = self.seed_shape[0] * self.seed_shape[1] * self.seed_shape[2]
        self.project = nn.Linear(latent_dim + LABEL_DIM, seed_size, bias=False)
        stages: list[nn.Module] = [nn.BatchNorm2d(8 * width), nn.ReLU()]
        for factor in (4, 2, 1):
            channels = factor * width
            stages += [UpSample(2 * channels, channels), nn.BatchNorm2d(channels), nn.ReLU()]
            if model == "res-cwgan-gp":
                stages.append(Residual(channels, Sum()))
            elif model == "se-cwgan-gp":
                stages.append(Residual(channels, ResidualSE(channels, reduction=16)))
        self.stages = nn.Sequential(*stages, UpSample(width, 1, bias=True), nn.Tanh())

    def forward(self, latent: Tensor, classes: Tensor) -> Tensor:
        seed = self.project(torch.cat([latent, self.embedding(classes)], dim=1))
        return self.stages(seed.view(-1, *self.seed_shape))


class Critic(nn.Module):
    """(clips (B, 1, n_mels, n_frames), classes (B,)) -> scores (B,), unbounded.

    Four 4x4 convolutions of stride 2, no normalisation: the penalty is on single clips, and a norm over the batch
    would tie them together. The label enters by projection (Miyato and Koyama 2018): score = w.h + e(label).h. One
    seeded comparison on six labels of ESC-10 (width 8, 500 steps) put generated 8x8 patches nearer to real ones with it
    than with a learned label plane beside the clip (sliced Wasserstein distance 0.172 against 0.198).
    """

    def __init__(self, clip_shape: tuple[int, int], n_labels: int, width: int):
        super().__init__()
        check_clip_shape(clip_shape)
        channels = (1, width, 2 * width, 4 * width, 8 * width)
        layers: list[nn.Module] = []
        for before, after in pairwise(channels):
            layers += [nn.Conv2d(before, after, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Flatten())
        size = 8 * width * (clip_shape[0] // GAN_STRIDE) * (clip_shape[1] // GAN_STRIDE)
        self.score = nn.Linear(size, 1)
        self.embedding = nn.Embedding(n_labels, size)
        nn.init.normal_(self.embedding.weight, std=size**-0.5)

    def forward(self, clips: Tensor, classes: Tensor) -> Tensor:
        features = self.layers(clips)
        return self.score(features).squeeze(1) + (features * self.embedding(classes)).sum(1)


def parameter_count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())
