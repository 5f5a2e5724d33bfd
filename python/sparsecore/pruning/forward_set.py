"""Top-KAST's two sets in one weight: A, which the forward pass sees, within B, which is trained."""

from __future__ import annotations

import torch
from torch import Tensor

from sparsecore.pruning._arrays import checked_scores, top_of_rows
from sparsecore.pruning.sparse_weight import SparseWeight
from sparsecore.pruning.zeroing import write_zeros

__all__ = ["ForwardSet"]


class ForwardSet:
    """A of one weight, whose entries are B; and the numbers that rest while A's are in the weight.

    Between steps the parameter has A's numbers and zeros elsewhere, so that the forward pass needs
    no hook and no other weight; around a step it has all of them.
    """

    def __init__(self, name: str, weight: SparseWeight, share: float) -> None:
        self._name, self.weight, self._share = name, weight, share
        # Of the parameter's shape; everything before the first `rest`.
        self.active = torch.ones_like(weight.parameter, dtype=torch.bool)
        # The parameter's own numbers outside of A, row-major.
        self.resting = weight.parameter.detach()[~self.active]

    @property
    def count(self) -> int:
        """How many entries A has: the share of B, and one at least."""
        entries = self.weight.entries
        return min(entries, max(1, round(self._share * entries)))

    @torch.no_grad()
    def largest(self) -> Tensor:
        """Return A anew, in the parameter's shape: the largest magnitudes of B."""
        outside = self.weight.outside()
        values = self.weight.values()
        scores = checked_scores(values.abs(), name=f"TopKAST: values of {self._name}")
        active = top_of_rows(scores[None], self.count)[0]
        return active if outside is None else (~outside).masked_scatter_(~outside, active)

    @torch.no_grad()
    def rest(self, active: Tensor) -> None:
        """Take what is A from now on; set everything else aside, and zeros there."""
        parameter = self.weight.parameter
        self.active, self.resting = active, parameter.detach().masked_select(~active)
        write_zeros([parameter], active)

    @torch.no_grad()
    def wake(self) -> None:
        """Put back what rests."""
        parameter = self.weight.parameter
        self.active, self.resting = self.active.to(parameter.device), self.resting.to(parameter)
        parameter.masked_scatter_(~self.active, self.resting)

    @torch.no_grad()
    def put_back_outside(self) -> None:
        """Give what is outside of B the numbers again that it had before the step."""
        outside = self.weight.outside()
        if outside is not None:
            waiting = self.resting.masked_select(outside.masked_select(~self.active))
            self.weight.parameter.masked_scatter_(outside, waiting)

    @torch.no_grad()
    def penalize(self, gradient: Tensor | None, strength: float, scale: Tensor | None) -> None:
        """Add the penalty's gradient, times a scale, to that of B, and leave none outside of it.

        The penalty is ``strength * (sum |w| over A + sum |w| / D over B minus A)``, D being the
        density of A in the weight.
        """
        if gradient is not None and strength:
            values = self.weight.parameter.detach()
            inverse = self.weight.size / max(1, self.count)
            # The product first: the inverse alone may be beyond float16.
            penalty = torch.full_like(values, strength * inverse)
            penalty.masked_fill_(self.active, strength).mul_(values.sign())
            gradient.add_(penalty if scale is None else penalty.mul_(scale))
        self.weight.confine_gradient()
