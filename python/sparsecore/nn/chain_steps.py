"""What a chain of layers consists of."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparsecore.conv import ConvPlan
from sparsecore.formats import CSR

__all__ = ["Operation", "Pooled", "Step", "Subsampled"]


@dataclass(frozen=True, slots=True)
class Subsampled:
    """Some pixels of an image, with channels of zeros before and after its own.

    The shortcut without parameters of residual networks, "option A" of He et al., "Deep Residual
    Learning for Image Recognition", 2016, section 4.2. It is a convolution, too: 1 x 1, its weights
    an identity with rows of zeros around it.
    """

    stride: tuple[int, int]
    before: int
    after: int

    def __call__(self, x: Tensor) -> Tensor:
        """Return (n, before + channels + after, h', w')."""
        down, right = self.stride
        return F.pad(x[:, :, ::down, ::right], (0, 0, 0, 0, self.before, self.after))

    def plan(self, channels: int, dtype: torch.dtype) -> ConvPlan:
        """Return the convolution that does the same to images of so many channels."""
        ones = torch.ones(channels, dtype=dtype)
        indptr = torch.arange(-self.before, channels + self.after + 1).clamp(0, channels)
        shape = (self.before + channels + self.after, channels)
        matrix = CSR((ones, torch.arange(channels), indptr), shape=shape)
        return ConvPlan(matrix, kernel_size=1, stride=self.stride)


@dataclass(frozen=True, slots=True)
class Pooled:
    """The largest of each window of an image: ``F.max_pool2d``."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]

    @classmethod
    def of(
        cls,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: Any = False,
        return_indices: Any = False,
    ) -> Self | None:
        """Take the options of ``F.max_pool2d``; None where not every window meets the image."""
        kernel, margin = _pair(kernel_size), _pair(padding)
        step = kernel if stride is None else _pair(stride)
        is_plain = _pair(dilation) == (1, 1) and not (ceil_mode or return_indices)
        if kernel is None or step is None or margin is None or not is_plain:
            return None
        fits = all(k >= 1 and 0 <= 2 * p <= k for p, k in zip(margin, kernel, strict=True))
        return cls(kernel, step, margin) if fits and min(step) >= 1 else None

    @classmethod
    def of_module(cls, pool: nn.MaxPool2d) -> Self | None:
        """Take the options that a module has now."""
        return cls.of(
            pool.kernel_size,
            pool.stride,
            pool.padding,
            pool.dilation,
            pool.ceil_mode,
            pool.return_indices,
        )

    def __call__(self, x: Tensor) -> Tensor:
        """Return (n, channels, h', w')."""
        return F.max_pool2d(x, self.kernel, self.stride, self.padding)


def _pair(value: Any) -> tuple[int, int] | None:
    """Return a number for both axes, or one for each; None for what is known only at run time."""
    both = tuple(value) if isinstance(value, Sequence) else (value, value)
    return (both[0], both[1]) if list(map(type, both)) == [int, int] else None


# A module, by its name in the module that the chain is bound to, or what needs none.
Operation: TypeAlias = str | Subsampled | Pooled


@dataclass(frozen=True, slots=True)
class Step:
    """One call. Values are numbered: the chain's inputs, then each step's result."""

    operation: Operation
    input: int
    residual: int | None

    def reads(self) -> tuple[int, ...]:
        """Return the numbers of the values that it reads."""
        return (self.input,) if self.residual is None else (self.input, self.residual)

    def run(self, operation: Any, values: list[Any]) -> Any:
        """Call the operation, or the module that it names."""
        return operation(*[values[number] for number in self.reads()])
