"""The gradients of a product, in terms of two further products; and of a convolution.

With Y = A X * scale + bias + residual: the gradient of A's values is the sampled product of the
scaled dY and X at the stored positions, that of X is A^T times the scaled dY. Nothing dense of A's
shape ever exists.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from sparsecore import dense


@dataclass(frozen=True, slots=True)
class Backward:
    """What a recorded product is taken back by.

    Attributes
    ----------
    transposed, by_rows : bool
        As of the product; where `by_rows`, X and dY are a layer's, (..., k) and (..., m).
    multiply : ``multiply(X, transposed)``
        The matrix, or its transpose, times X.
    sample : ``sample(U, V)``
        ``U @ V.T`` at the stored positions, as the values lie.
    """

    transposed: bool
    by_rows: bool
    multiply: Callable[[Tensor, bool], Tensor]
    sample: Callable[[Tensor, Tensor], Tensor]

    def gradients(
        self,
        dY: Tensor,
        X: Tensor,
        scale: Tensor | None,
        needs: Sequence[bool],
        dtypes: Sequence[Any],
    ) -> list[Tensor | None]:
        """Return the gradients of values, X, scale, bias and residual; None where not needed.

        `dtypes` are those of the values, the bias and the residual.
        """
        scaled = dY if scale is None else (dY * self._along_rows(scale, dY)).to(dY.dtype)
        found: list[Tensor | None] = [None] * 5
        if needs[0]:
            u, v = (X, scaled) if self.transposed else (scaled, X)
            found[0] = self.sample(self._columns(u), self._columns(v)).to(dtypes[0])
        if needs[1]:
            found[1] = self.multiply(scaled, not self.transposed)
        if scale is not None and needs[2]:
            product = self.multiply(X, self.transposed)
            found[2] = self._summed(dY * product).to(scale.dtype)
        if needs[3]:
            found[3] = self._summed(dY).to(dtypes[1])
        if needs[4]:
            found[4] = dY.to(dtypes[2])
        return found

    def _columns(self, x: Tensor) -> Tensor:
        """Return an operand with a column for each product."""
        if not self.by_rows or x.ndim == 1:
            return x
        columns: Tensor = dense.flattened(x).t()
        return columns

    def _along_rows(self, factors: Tensor, dY: Tensor) -> Tensor:
        return factors if self.by_rows or dY.ndim == 1 else factors[:, None]

    def _summed(self, d: Tensor) -> Tensor:
        """Return the sum over all products: one number for each row of the matrix."""
        if d.ndim == 1:
            return d
        return d.sum(dim=tuple(range(d.ndim - 1)) if self.by_rows else 1)


@dataclass(frozen=True, slots=True)
class ConvBackward:
    """What a recorded convolution is taken back by.

    Attributes
    ----------
    convolve : the convolution alone, of x
    to_images : ``to_images(dY)``
        The gradient of the images.
    to_values : ``to_values(dY, x)``
        The gradient of the values.
    """

    convolve: Callable[[Tensor], Tensor]
    to_images: Callable[[Tensor], Tensor]
    to_values: Callable[[Tensor, Tensor], Tensor]

    def gradients(
        self,
        dY: Tensor,
        x: Tensor,
        scale: Tensor | None,
        needs: Sequence[bool],
        dtypes: Sequence[Any],
    ) -> list[Tensor | None]:
        """Return what `Backward.gradients` does."""
        scaled = dY if scale is None else (dY * scale[:, None, None]).to(dY.dtype)
        found: list[Tensor | None] = [None] * 5
        if needs[0]:
            found[0] = self.to_values(scaled, x).to(dtypes[0])
        if needs[1]:
            found[1] = self.to_images(scaled)
        if scale is not None and needs[2]:
            found[2] = (dY * self.convolve(x)).sum(dim=(0, 2, 3)).to(scale.dtype)
        if needs[3]:
            found[3] = dY.sum(dim=(0, 2, 3)).to(dtypes[1])
        if needs[4]:
            found[4] = dY.to(dtypes[2])
        return found
