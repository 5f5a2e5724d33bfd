"""MobileNetV1, by default for 224 x 224 pixels, for inference."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["MobileNetV1"]

# (outputs, stride) of each depthwise-separable pair.
_PAIRS = (
    *((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)),
    *([(512, 1)] * 5),
    *((1024, 2), (1024, 1)),
)


def _block(inputs: int, outputs: int, kernel: int, stride: int, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(
        inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False
    )
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())


class MobileNetV1(nn.Module):
    """Of width 1.0: 4,231,976 parameters, 569 MMAC an image of 224 x 224 pixels.

    References
    ----------
    Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision
    Applications", arXiv:1704.04861, table 1.
    """

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        inputs = int(32 * width)
        blocks = [_block(3, inputs, 3, 2)]
        for full, stride in _PAIRS:
            outputs = int(full * width)
            blocks += [
                _block(inputs, inputs, 3, stride, groups=inputs),
                _block(inputs, outputs, 1, 1),
            ]
            inputs = outputs
        self.features = nn.Sequential(*blocks)
        self.fc = nn.Linear(inputs, 1000)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, 3, height, width) to (n, 1000)."""
        x = F.adaptive_avg_pool2d(self.features(x), 1)
        logits: Tensor = self.fc(torch.flatten(x, 1))
        return logits
