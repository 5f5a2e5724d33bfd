"""ResNet-50 for 224 x 224 pixels and ResNet-20 for CIFAR's 32 x 32, both for inference."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["ResNet20", "ResNet50"]

_CLASSES = 1000
_CIFAR_CLASSES = 10


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)


class _Bottleneck(nn.Module):
    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = 4 * width
        self.conv1, self.bn1 = _conv(inputs, width, 1), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = _conv(width, width, 3, stride), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = _conv(width, outputs, 1), nn.BatchNorm2d(outputs)
        self.downsample: nn.Module = nn.Identity()
        if inputs != outputs:
            shortcut = _conv(inputs, outputs, 1, stride)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return F.relu(y + self.downsample(x))


class ResNet50(nn.Module):
    """The variant with the stride in the 3 x 3 convolutions, which torchvision has.

    25,557,032 parameters, 4.09 GMAC an image.

    References
    ----------
    He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, table 1.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv(3, 64, 7, 2), nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        stages, inputs = [], 64
        for width, blocks, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
            for block in range(blocks):
                stages.append(_Bottleneck(inputs, width, 1 if block else stride))
                inputs = 4 * width
        self.blocks = nn.Sequential(*stages)
        self.fc = nn.Linear(inputs, _CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, 3, 224, 224) to (n, 1000)."""
        x = self.blocks(self.maxpool(F.relu(self.bn1(self.conv1(x)))))
        logits: Tensor = self.fc(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))
        return logits


class _Subsampled(nn.Module):
    """The shortcut without parameters: every second pixel, new channels of zeros on both sides."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.side = (outputs - inputs) // 2

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.side, self.side))


class _Basic(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        stride = 1 if inputs == outputs else 2
        self.conv1, self.bn1 = _conv(inputs, outputs, 3, stride), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = _conv(outputs, outputs, 3), nn.BatchNorm2d(outputs)
        self.shortcut = nn.Identity() if stride == 1 else _Subsampled(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class ResNet20(nn.Module):
    """CIFAR-10's, with shortcuts of option A; named as in akamaster/pytorch_resnet_cifar10.

    269,722 parameters, 40.6 MMAC an image.

    References
    ----------
    He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, section 4.2.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv(3, 16, 3), nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(*(_Basic(16, 16) for _ in range(3)))
        self.layer2 = nn.Sequential(_Basic(16, 32), _Basic(32, 32), _Basic(32, 32))
        self.layer3 = nn.Sequential(_Basic(32, 64), _Basic(64, 64), _Basic(64, 64))
        self.linear = nn.Linear(64, _CIFAR_CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, 3, 32, 32) to (n, 10)."""
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        logits: Tensor = self.linear(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))
        return logits
