"""What a forward does with the tensors that a model stores, seen where torch runs its operators.

One run shows which weight goes into which product, how often, along which axis, whether it was
computed on the way, and by what: a mask is whatever consists of zeros and ones and is multiplied
with a weight. Hooks, parametrizations and forwards written by hand all look alike here, and names
say nothing.
"""

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from sparsecore.diagnosis import operators
from sparsecore.diagnosis.counting import Counts
from sparsecore.diagnosis.facts import LayerUse
from sparsecore.diagnosis.operator_uses import uses_of
from sparsecore.diagnosis.origins import Origin, Origins, axis_of, tensors_in
from sparsecore.diagnosis.tensor_counts import count_tensor

__all__ = ["Effective", "Recorder", "Seen", "record"]


@dataclass(frozen=True, slots=True)
class Effective:
    """A weight as a product met it, where it was computed from what is stored.

    Attributes
    ----------
    shape : tuple of int
    dtype : torch.dtype
    counts : Counts
    operator : str
        What computed it last.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    counts: Counts
    operator: str


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of the stored tensors.

    Attributes
    ----------
    uses : mapping of str to LayerUse
        By the name of the tensor, in the order of the forward; all calls together.
    masked : mapping of str to str
        Of weights that a mask is applied to, the operator that does so.
    effective : mapping of str to Effective
        Of weights that are computed in forward.
    packed : tuple of str
        Operators that multiply by weights that are no tensors.
    """

    uses: Mapping[str, LayerUse]
    masked: Mapping[str, str]
    effective: Mapping[str, Effective]
    packed: tuple[str, ...] = ()


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes what becomes of stored tensors; ``seen()`` returns it.

    Parameters
    ----------
    stored : mapping of str to tensor
        Parameters, buffers and other tensors that a model holds.
    """

    def __init__(self, stored: Mapping[str, Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._origins = Origins(stored)
        self._shapes = {name: tuple(tensor.shape) for name, tensor in stored.items()}
        self._uses: dict[str, LayerUse] = {}
        self._masked: dict[str, str] = {}
        self._masks: set[str] = set()
        self._effective: dict[str, Effective] = {}
        self._packed: dict[str, None] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Keep torch from importing its compiler, which takes seconds, to be left out by it."""
        return False

    def seen(self) -> Seen:
        """Return what was noted so far."""
        uses = {name: use for name, use in self._uses.items() if name not in self._masks}
        return Seen(uses, dict(self._masked), dict(self._effective), tuple(self._packed))

    def consume(self, weight: Tensor, use: LayerUse) -> None:
        """Note a use that no operator showed, of a stored tensor or of what comes from one."""
        axis = use.reduction_axis
        if axis is not None:
            axis = axis_of(self._origins.base(weight), weight, axis)
        self._use(weight, replace(use, reduction_axis=axis))

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run an operator, and note what it did with stored tensors."""
        result = func(*args, **(kwargs or {}))
        operands = [*tensors_in(args), *tensors_in((kwargs or {}).values())]
        name = operators.operator_name(func)
        if any(result is operand for operand in operands):  # written in place
            self._note_masks(name, operands)
            self._origins.write(result, operands)
            return result
        found = list(uses_of(self._origins, name, args, operands, result))
        for weight, use in found:
            self._use(weight, use)
        if not found and operators.takes_packed_weights(name):
            self._packed[name] = None
        if self._origins.note(name, operands, result):
            self._note_masks(name, operands)
        return result

    def _note_masks(self, name: str, operands: Sequence[Tensor]) -> None:
        """Note where one operand is a mask of another, which is a weight or computed from one."""
        for mask in _masks_among(name, operands):
            masked = [operand for operand in operands if operand is not mask]
            sources = [source for operand in masked for source in self._origins.sources(operand)]
            names = [source for source in sources if self._is_weight(source)]
            # A mask that was computed from the weight itself, as by a threshold, is one, too.
            own = [s for s in self._origins.sources(mask) if s not in names]
            self._masked.update({s: name for s in names if s not in self._masks})
            self._masks.update(own if names else ())

    def _is_weight(self, name: str) -> bool:
        return len(self._shapes[name]) >= 2

    def _use(self, operand: Tensor, use: LayerUse) -> None:
        """Note one use of a weight."""
        origin, base = self._origins.of(operand), self._origins.base(operand)
        source = None if origin is None else self._main_source(origin, base)
        if origin is None or source is None:
            return
        if origin.operator is None and tuple(base.shape) != self._shapes[source]:
            use = replace(use, reduction_axis=None)  # of a copy whose axes are others
        before = self._uses.get(source)
        self._uses[source] = use if before is None else _together(before, use)
        if origin.operator is not None and source not in self._effective:
            counts = count_tensor(base, use.reduction_axis)
            self._effective[source] = Effective(
                tuple(base.shape), base.dtype, counts, origin.operator
            )

    def _main_source(self, origin: Origin, base: Tensor) -> str | None:
        """Return which stored tensor a weight comes from: of several, the one most like it."""
        names = [s for s in origin.sources if s not in self._masks and self._is_weight(s)]
        if not names:
            return None
        alike = (name for name in names if self._shapes[name] == tuple(base.shape))
        return next(alike, max(names, key=lambda name: math.prod(self._shapes[name])))


def _masks_among(name: str, operands: Sequence[Tensor]) -> list[Tensor]:
    if operators.fills_zeros(name):
        return [x for x in operands if x.dtype == torch.bool and x.ndim >= 2]
    if not operators.is_product_of_entries(name) or len(operands) != 2:
        return []
    one, other = operands
    pairs = ((one, other), (other, one))
    return [x for x, weight in pairs if operators.is_mask(x, tuple(weight.shape))][:1]


def _together(before: LayerUse, use: LayerUse) -> LayerUse:
    """Return both uses as one; a product counts more than a look-up."""
    if before.kind == "lookup" or use.kind == "lookup":
        return use if before.kind == "lookup" else before
    macs = None if before.macs is None or use.macs is None else before.macs + use.macs
    return replace(before, rows=before.rows + use.rows, macs=macs)


def record(stored: Mapping[str, Tensor], run: Callable[[], object]) -> Seen:
    """Run something, and return what it did with stored tensors."""
    recorder = Recorder(stored)
    with _eagerly(), recorder:
        run()
    return recorder.seen()


def _eagerly() -> AbstractContextManager[Any]:
    """Let compiled modules run as they were written, operator by operator."""
    is_loaded = "torch._dynamo" in sys.modules
    set_stance = getattr(torch.compiler, "set_stance", None) if is_loaded else None
    return nullcontext() if set_stance is None else set_stance("force_eager")
