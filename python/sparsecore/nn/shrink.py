"""Removal of what pruning left dead: filters, channels and hidden units."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from sparsecore.nn.cutting import attempt, check_max_error, restore, state_of
from sparsecore.nn.dead_units import Kept, Removal, constant_units, survey
from sparsecore.nn.dependencies import import_torch_pruning, units_of
from sparsecore.nn.example import Example
from sparsecore.nn.model_size import layer_sizes, macs_of, parameter_count
from sparsecore.nn.shrink_report import DeadUnits, LayerSizes, ShrinkReport
from sparsecore.nn.taint import Layer, Untraceable, constant_inputs
from sparsecore.nn.uncuttable import check_model

__all__ = ["shrink_"]


def shrink_(
    model: nn.Module, example_inputs: Any, *, max_error: float | None = None
) -> ShrinkReport:
    """Remove the dead filters, channels and hidden units of a pruned model, in place.

    A unit, that is, a filter of a convolution or a row of a linear layer, is removed with all that
    depends on it (BatchNorm, depthwise convolutions, the other layers of a residual sum, columns
    behind a flattened picture) where every layer that reads it

    - has only zeros for it, or
    - gets a constant from it, which its bias takes. This is what a unit gives whose weights are all
      zero: its bias, through BatchNorm and activations. A convolution that pads with zeros reads
      something else at the edge, so there the constant must be zero.

    Then everything is looked at again, since what is removed leaves others dead, until nothing is
    left to remove. That a constant is one, and that nothing else depends on a unit, is not taken
    from numbers seen in a run: the model runs on NaN, and what stays finite does not depend on it.
    Every step is checked on the example and undone where the outputs differ.

    The result is an ordinary, smaller model in which the outputs in evaluation mode are the same
    but for rounding, for inputs of the example's shapes in any batch. Training goes on as with the
    pruned model, except that constants are those of evaluation mode. Layers that lost something
    have new Parameters: make the optimizer after `shrink_`. Call it before `sparsify_`. A layer
    that had no bias gets one where it takes a constant.

    Dead units stay, and the report says why, where the model's output has them; where they are
    added to units that live; where their constant is not zero and a convolution pads; where a layer
    depends on all units together, as LayerNorm and attention do (heads of attention stay, since
    their number is written in the model); in convolutions with groups, except depthwise ones;
    where a weight is tied, parametrized or still masked; where the model's Python counts on a
    number of channels; and the last unit of a layer.

    Parameters
    ----------
    model : torch.nn.Module
        Exact zeros are what pruning left. Its training modes, buffers, ``requires_grad`` and
        torch's random state are afterwards as before. Activations must be finite.
    example_inputs : tensor, tuple or dict
        What the model is called with: one argument, several, or keyword arguments. Never edited.
    max_error : float, optional
        The largest difference allowed between the outputs after and before, relative to the largest
        magnitude of each. If not given, what rounding explains: the sum over the layers with n
        inputs that lost some of ``(n + 2) eps(accumulator) + eps(dtype)``.

    Returns
    -------
    ShrinkReport
        ``print(report)`` shows a table.

    Raises
    ------
    ImportError
        If torch-pruning is not installed (extra ``structured``).
    ValueError
        If the model has sparse or fused layers, or no values; cannot be traced; or acts on values
        in Python; if `max_error` is no number of at least 0.
        It has not changed then.
    TypeError
        If `model` is no module; if `example_inputs` is not a tensor, tuple or dict.

    References
    ----------
    Li et al., "Pruning Filters for Efficient ConvNets", ICLR 2017, section 3 (what goes with a
    filter); Fang et al., "DepGraph: Towards Any Structural Pruning", CVPR 2023 (the graph).

    Examples
    --------
    >>> import torch
    >>> model = torch.nn.Sequential(
    ...     torch.nn.Linear(8, 6), torch.nn.ReLU(), torch.nn.Linear(6, 2)
    ... )
    >>> with torch.no_grad():
    ...     _ = model[0].weight[1].zero_()  # always relu(bias)
    ...     _ = model[2].weight[:, 4].zero_()  # nobody reads it
    >>> x = torch.rand(3, 8)
    >>> before = model(x)
    >>> report = shrink_(model, x)
    >>> model[0], report.parameters_before, report.parameters_after
    (Linear(in_features=8, out_features=4, bias=True), 68, 46)
    >>> torch.allclose(model(x), before, atol=1e-6)
    True
    """
    example = Example.of(example_inputs, caller="shrink_")
    check_model("shrink_", model)
    check_max_error("shrink_", max_error)
    import_torch_pruning()
    with torch.inference_mode(False), torch.no_grad():
        work = _Shrinking(model, example, max_error)
        try:
            while work.round():
                pass
        except BaseException:
            work.undo_all()
            raise
    return work.report()


class _Shrinking:
    """A model on its way, and how to get back."""

    def __init__(self, model: nn.Module, example: Example, max_error: float | None) -> None:
        self.model, self.example, self.max_error = model, example, max_error
        self.reference = example.output(model)
        self.before = layer_sizes(model), parameter_count(model), macs_of(model, example)
        self.saved = state_of(model)
        self.allowed = self.error = 0.0
        self.refused: dict[nn.Module, str] = {}
        self.kept: list[Kept] = []

    def round(self) -> bool:
        """Remove what can be removed now; return whether there was anything."""
        units = units_of(self.model, self.example)
        layers = [m for m in self.model.modules() if isinstance(m, Layer)]
        constant = constant_units(self.model)
        try:
            inputs = constant_inputs(self.model, self.example, layers, constant)
        except Untraceable as error:
            msg = f"shrink_: what the model computes cannot be followed: {error}"
            raise ValueError(msg) from error
        found, self.kept = survey(self.model, units, inputs, constant)
        bundles: dict[nn.Module, list[Removal]] = {}
        for removal in found:
            bundles.setdefault(removal.unit.layer, []).append(removal)
        for layer in bundles.keys() & self.refused.keys():
            self.kept += [Kept(r.unit, self.refused[layer]) for r in bundles.pop(layer)]
        return bool(bundles) and self._remove(bundles)

    def _remove(self, bundles: Mapping[nn.Module, Sequence[Removal]]) -> bool:
        """Remove all that is found; where this fails, find out what fails alone, for next time."""
        if self._try([removal for bundle in bundles.values() for removal in bundle]) is None:
            return True
        for layer, bundle in bundles.items():
            why = self._try(bundle)
            if why is None:
                return True
            self.refused[layer] = why
        return self.round()

    def _try(self, removals: Sequence[Removal]) -> str | None:
        """Remove units, or say why they stay and change nothing."""
        done = attempt(
            self.model,
            self.example,
            removals,
            self.reference,
            allowed=self.allowed,
            max_error=self.max_error,
        )
        if done.why is None:
            self.allowed, self.error = done.allowed, done.error
        return done.why

    def undo_all(self) -> None:
        """Make the model what it was."""
        restore(self.saved)

    def report(self) -> ShrinkReport:
        """Say what became of the model."""
        sizes, parameters, macs = self.before
        names = {module: name for name, module in self.model.named_modules()}
        after = layer_sizes(self.model)
        left: dict[tuple[str, str], set[int]] = {}
        for kept in self.kept:
            left.setdefault((names[kept.unit.layer], kept.why), set()).add(kept.unit.index)
        return ShrinkReport(
            layers=tuple(LayerSizes(name, sizes[name], after[name]) for name in sizes),
            left=tuple(
                DeadUnits(name, tuple(sorted(units)), why) for (name, why), units in left.items()
            ),
            parameters_before=parameters,
            parameters_after=parameter_count(self.model),
            macs_before=macs,
            macs_after=macs_of(self.model, self.example),
            max_error=self.error,
        )
