"""The pictures of CIFAR-10 that the network is fine-tuned on and tested with."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["Images", "augmented", "from_cifar", "from_digits"]

# Of the training that gave the weights of resnet20.npz.
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)
_PADDING = 4


@dataclass(frozen=True, slots=True)
class Images:
    """Normalised pictures (n, 3, 32, 32), float32, and their classes (n,), int64.

    `source` says where they are from.
    """

    x_train: Tensor
    y_train: Tensor
    x_test: Tensor
    y_test: Tensor
    source: str

    def __str__(self) -> str:
        """Name the source and the numbers of pictures."""
        return f"{self.source}, {len(self.y_train)} to train with, {len(self.y_test)} to test"

    def first(self, train: int, test: int) -> "Images":
        """Return the first of each."""
        return Images(
            self.x_train[:train],
            self.y_train[:train],
            self.x_test[:test],
            self.y_test[:test],
            self.source,
        )


def from_cifar(file: Path) -> Images:
    """Read an ``.npz`` with ``x_train``, ``x_test`` (n, 32, 32, 3), uint8, and ``y_*`` (n,)."""
    with np.load(file) as arrays:
        return Images(
            _normalised(arrays["x_train"]),
            torch.from_numpy(arrays["y_train"]).long(),
            _normalised(arrays["x_test"]),
            torch.from_numpy(arrays["y_test"]).long(),
            "CIFAR-10",
        )


def from_digits() -> Images:
    """Return scikit-learn's 1797 digits, enlarged to 32 x 32: to try the run without CIFAR-10."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    gray = torch.from_numpy(digits.images).float()[:, None] / 8 - 1
    x = F.interpolate(gray, size=(32, 32)).expand(-1, 3, -1, -1).contiguous()
    y = torch.from_numpy(digits.target).long()
    source = "scikit-learn's digits"
    return Images(x[:1400], y[:1400], x[1400:], y[1400:], source)


def augmented(x: Tensor, generator: torch.Generator) -> Tensor:
    """Return pictures shifted by up to 4 pixels, zeros beyond the edge, half of them mirrored."""
    n, _, height, width = x.shape
    padded = F.pad(x, (_PADDING,) * 4)
    tops = torch.randint(2 * _PADDING + 1, (n,), generator=generator).tolist()
    lefts = torch.randint(2 * _PADDING + 1, (n,), generator=generator).tolist()
    mirrored = torch.rand(n, generator=generator) < 0.5
    cut = torch.stack(
        [padded[i, :, tops[i] : tops[i] + height, lefts[i] : lefts[i] + width] for i in range(n)]
    )
    return torch.where(mirrored[:, None, None, None], cut.flip(-1), cut)


def _normalised(pixels: npt.NDArray[np.uint8]) -> Tensor:
    mean, std = (torch.tensor(numbers).view(3, 1, 1) for numbers in (_MEAN, _STD))
    return (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255 - mean) / std
