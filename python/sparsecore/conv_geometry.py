"""Where a convolution's kernel meets an image."""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from sparsecore import _core

__all__ = ["ConvGeometry"]

Pair: TypeAlias = tuple[int, int]


@dataclass(frozen=True, slots=True)
class ConvGeometry:
    """Where a kernel meets an image, as torch's ``conv2d``: (vertical, horizontal) each.

    Examples
    --------
    >>> ConvGeometry.of(3, padding=1).padding
    (1, 1)
    """

    kernel_size: Pair
    stride: Pair
    padding: Pair
    dilation: Pair
    groups: int

    @classmethod
    def of(
        cls,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: Any = 1,
    ) -> "ConvGeometry":
        """Take an int for both axes, or a pair.

        Raises
        ------
        TypeError
            If an argument is neither.
        """
        return cls(
            _pair(kernel_size, "kernel_size"),
            _pair(stride, "stride"),
            _pair(padding, "padding"),
            _pair(dilation, "dilation"),
            _integer(groups, "groups", "an int"),
        )

    def check(self, shape: Pair) -> None:
        """Raise a ValueError where weights of a shape do not fit, or a number is out of range."""
        _core.check_conv2d(
            shape, self.kernel_size, self.stride, self.padding, self.dilation, self.groups
        )


def _pair(value: Any, name: str) -> Pair:
    if isinstance(value, tuple | list):
        if len(value) == 2:
            return (_integer(value[0], name), _integer(value[1], name))
        msg = f"conv2d: {name} has {len(value)} numbers, expected an int or a pair"
        raise TypeError(msg)
    both = _integer(value, name)
    return (both, both)


def _integer(value: Any, name: str, expected: str = "an int or a pair of them") -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        msg = f"conv2d: {name} is {value!r}, expected {expected}"
        raise TypeError(msg)
    if not -(2**63) <= value < 2**63:
        msg = f"conv2d: {name} is {value}, expected 64 bits at most"
        raise ValueError(msg)
    return int(value)
