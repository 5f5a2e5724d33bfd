"""A small ResNeXt: residual blocks with grouped convolutions, for inference."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["ResNeXt"]


class _Block(nn.Module):
    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        half = width // 2
        self.conv1, self.bn1 = nn.Conv2d(width, half, 1, bias=False), nn.BatchNorm2d(half)
        self.conv2 = nn.Conv2d(half, half, 3, padding=1, groups=groups, bias=False)
        self.bn2 = nn.BatchNorm2d(half)
        self.conv3, self.bn3 = nn.Conv2d(half, width, 1, bias=False), nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        return F.relu(self.bn3(self.conv3(y)) + x)


class ResNeXt(nn.Module):
    """Three blocks of one stage at 16 x 16 pixels, after a convolution of stride 2.

    References
    ----------
    Xie et al., "Aggregated Residual Transformations for Deep Neural Networks", CVPR 2017, figure
    3 (c).
    """

    def __init__(self, width: int = 128, groups: int = 8) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.blocks = nn.Sequential(*(_Block(width, groups) for _ in range(3)))
        self.fc = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, 3, 32, 32) to (n, 10)."""
        x = self.blocks(F.relu(self.norm(self.stem(x))))
        logits: Tensor = self.fc(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))
        return logits
