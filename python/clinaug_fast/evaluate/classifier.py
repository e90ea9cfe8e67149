"""The judge of an augmentation: ResNet-18 for one channel, of any width.

Takes log-mel clips, leaves logits. Parameter names are torchvision's, so that its state dicts of the same shapes load.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

BLOCKS_A_STAGE = 2
# Added to the variance of a clip: far below that of any sound, and a silent clip becomes zeros instead of NaN.
VARIANCE_FLOOR = 1e-5


def standardise(clips: Tensor) -> Tensor:
    """Each clip (..., n_mels, n_frames) to zero mean and unit variance over its picture.

    A gain adds a constant to a log-mel. Taking the mean away keeps the loudness of a recording, which follows the
    microphone more than the sound, from serving as a shortcut to its label, but for what lies at the floor whatever the
    gain: zeros behind a short recording, bands above what its rate carries.
    """
    variance, mean = torch.var_mean(clips, dim=(-2, -1), keepdim=True, correction=0)
    return (clips - mean) * torch.rsqrt(variance + VARIANCE_FLOOR)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with a skip: (B, C_in, H, W) to (B, C_out, ceil(H / stride), ceil(W / stride))."""

    def __init__(self, in_channels: int, out_channels: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.downsample: nn.Module | None = None
        if stride != 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        skip = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.relu(self.bn2(self.conv2(x)).add_(skip), inplace=True)


class ResNet18(nn.Module):
    """ResNet-18 (He et al., Deep Residual Learning for Image Recognition, CVPR 2016, table 1) for log-mel clips.

    Takes (B, 1, n_mels, n_frames) float log-mels, standardises each clip (see `standardise`) and returns (B, n_labels)
    logits. `width` is the number of channels of the first stage; they double from stage to stage; 64 is as published.
    """

    def __init__(self, n_labels: int, width: int = 64):
        super().__init__()
        self.conv1 = nn.Conv2d(1, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = _stage(width, width, stride=1)
        self.layer2 = _stage(width, 2 * width, stride=2)
        self.layer3 = _stage(2 * width, 4 * width, stride=2)
        self.layer4 = _stage(4 * width, 8 * width, stride=2)
        self.fc = nn.Linear(8 * width, n_labels)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, clips: Tensor) -> Tensor:
        return self.fc(self.embed(clips))

    def embed(self, clips: Tensor) -> Tensor:
        """(B, 8 width): what the last layer sees of clips (B, 1, n_mels, n_frames)."""
        x = F.relu(self.bn1(self.conv1(standardise(clips))), inplace=True)  # (B, width, n_mels / 2, n_frames / 2)
        x = F.max_pool2d(x, 3, stride=2, padding=1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))  # (B, 8 width, n_mels / 32, n_frames / 32)
        return x.mean(dim=(-2, -1))


def _stage(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    first = BasicBlock(in_channels, out_channels, stride)
    return nn.Sequential(first, *(BasicBlock(out_channels, out_channels, 1) for _ in range(BLOCKS_A_STAGE - 1)))
