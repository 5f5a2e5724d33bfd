"""What pruning of filters removed and what it left, as a value and a text table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

from sparsecore.nn.example import Example
from sparsecore.nn.model_size import layer_sizes, macs_of, parameter_count
from sparsecore.nn.shrink_report import LayerSizes, sizes_table

__all__ = ["FilterReport", "Sizes"]


@dataclass(frozen=True, slots=True)
class Sizes:
    """A model's layers (in, out), parameters, and multiply-accumulates of one run."""

    layers: Mapping[str, tuple[int, int]]
    parameters: int
    macs: int

    @classmethod
    def of(cls, model: nn.Module, example: Example) -> Sizes:
        """Take a model as it is."""
        return cls(layer_sizes(model), parameter_count(model), macs_of(model, example))


@dataclass(frozen=True, slots=True, eq=False)
class FilterReport:
    """The layers, which filters they kept, and the whole model before and after.

    ``str(report)`` is a table.

    Attributes
    ----------
    kept : mapping of str to tuple of int
        Of each pruned layer, the filters that it kept, ascending, numbered as before.
    whole : mapping of str to str
        Layers that were asked for and kept all their filters, and why.
    masks : mapping of str to bool tensor
        Of each parameter that was set to zero in part, in its former shape: True = kept.
    layers : tuple of LayerSizes
        All linear and convolution layers, in the order of ``model.named_modules()``.
    parameters_before, parameters_after : int
        Numbers in all parameters.
    macs_before, macs_after : int
        Multiply-accumulates of one run on the example, of convolutions and matrix products.
    max_error : float
        Largest difference between the outputs of the smaller and of the masked model, relative to
        the largest magnitude of the output tensor; 0 where nothing was taken out.
    reconstruction : mapping of str to float
        By `thinet_`, of each pruned layer: the sum of squares by which the layers that read it miss
        their sampled outputs, relative to that of the outputs.
    """

    kept: Mapping[str, tuple[int, ...]]
    whole: Mapping[str, str]
    masks: Mapping[str, Tensor]
    layers: tuple[LayerSizes, ...]
    parameters_before: int
    parameters_after: int
    macs_before: int
    macs_after: int
    max_error: float
    reconstruction: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def between(
        cls,
        before: Sizes,
        after: Sizes,
        *,
        kept: Mapping[str, tuple[int, ...]],
        whole: Mapping[str, str],
        masks: Mapping[str, Tensor],
        max_error: float,
    ) -> FilterReport:
        """Report on a model from its sizes before and after."""
        return cls(
            kept=kept,
            whole=whole,
            masks=masks,
            layers=tuple(LayerSizes(n, before.layers[n], after.layers[n]) for n in before.layers),
            parameters_before=before.parameters,
            parameters_after=after.parameters,
            macs_before=before.macs,
            macs_after=after.macs,
            max_error=max_error,
        )

    def __str__(self) -> str:
        """Return a table of the layers, what stayed whole and why, and the model's totals."""
        return "\n".join(
            [
                *sizes_table(self.layers),
                "",
                *(f"{name}: whole: {why}" for name, why in self.whole.items()),
                f"parameters: {self.parameters_before} -> {self.parameters_after}",
                f"multiply-accumulates: {self.macs_before} -> {self.macs_after}",
                f"largest relative difference of the outputs: {self.max_error:.1e}",
            ]
        )
