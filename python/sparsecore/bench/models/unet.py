"""A small U-Net: what the way down found is concatenated to the way up, for inference."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["UNet"]


def _block(inputs: int, outputs: int) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())


class UNet(nn.Module):
    """Two halvings, one 3 x 3 convolution on each level and way; nearest neighbours on the way up.

    References
    ----------
    Ronneberger et al., "U-Net: Convolutional Networks for Biomedical Image Segmentation", MICCAI
    2015, figure 1.
    """

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.down1, self.down2 = _block(3, width), _block(width, 2 * width)
        self.bottom = _block(2 * width, 4 * width)
        self.up2, self.up1 = _block(6 * width, 2 * width), _block(3 * width, width)
        self.head = nn.Conv2d(width, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, 3, height, width), both multiples of 4, to (n, 2, height, width)."""
        first = self.down1(x)
        second = self.down2(F.max_pool2d(first, 2))
        y = self.bottom(F.max_pool2d(second, 2))
        y = self.up2(torch.cat([F.interpolate(y, scale_factor=2.0), second], 1))
        y = self.up1(torch.cat([F.interpolate(y, scale_factor=2.0), first], 1))
        pixels: Tensor = self.head(y)
        return pixels
