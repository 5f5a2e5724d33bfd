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
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakIdKeyDictionary

from sparsecore import interop
from sparsecore.diagnosis import operators
from sparsecore.diagnosis.counting import Counts, count
from sparsecore.diagnosis.facts import LayerUse
from sparsecore.diagnosis.operators import operator_name

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


@dataclass(frozen=True, slots=True)
class _Origin:
    """Which stored tensors another one comes from alone, of no input."""

    sources: tuple[str, ...]
    # What computed it; None where it is a stored tensor, or a view of one.
    operator: str | None = None
    # Of a view: what it is a view of.
    base: Tensor | None = field(default=None, compare=False)
    # Whether a product of stored tensors has part in it: a weight, as in W + B @ A, or activations
    # of an input that is a parameter.
    of_product: bool = False


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes what becomes of stored tensors; ``seen()`` returns it.

    Parameters
    ----------
    stored : mapping of str to tensor
        Parameters, buffers and other tensors that a model holds.
    """

    def __init__(self, stored: Mapping[str, Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._origins: Any = WeakIdKeyDictionary()
        for name, tensor in stored.items():
            if tensor not in self._origins:
                self._origins[tensor] = _Origin((name,))
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
        if self._is_stored(weight):
            axis = use.reduction_axis
            if axis is not None:
                axis = _axis_of(self._base(weight), weight, axis)
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
        operands = [*_tensors(args), *_tensors((kwargs or {}).values())]
        name = operator_name(func)
        if isinstance(result, Tensor) and self._origin(result) is not None:
            self._note_mask(name, operands)  # written in place
        else:
            self._note_use(name, args, operands, result)
            self._derive(name, operands, result)
        return result

    # ---- what comes from what ----

    def _origin(self, tensor: object) -> _Origin | None:
        found: _Origin | None = self._origins.get(tensor)
        return found

    def _derive(self, name: str, operands: Sequence[Tensor], result: Any) -> None:
        """Note the origin of a result that no input had a part in."""
        origins = [self._origin(operand) for operand in operands]
        known = [origin for origin in origins if origin is not None]
        if len(known) < len(operands):
            return
        self._note_mask(name, operands)
        sources = tuple(dict.fromkeys(s for origin in known for s in origin.sources))
        is_product = name in operators.MATRIX_OPERANDS or name in operators.CONVOLUTIONS
        of_product = is_product or any(origin.of_product for origin in known)
        for made in _tensors((result,)):
            derived = _derived(made, name, operands, known, sources)
            self._origins[made] = replace(derived, of_product=of_product)

    def _note_mask(self, name: str, operands: Sequence[Tensor]) -> None:
        """Note where one operand is a mask of another, which is a weight or computed from one."""
        for mask in _masks_among(name, operands):
            masked = [operand for operand in operands if operand is not mask]
            names = [s for operand in masked for s in self._sources(operand) if self._is_weight(s)]
            own = self._sources(mask)
            for source in names:
                # A mask that was computed from the weight itself, as by a threshold, is one, too.
                if source not in self._masks:
                    self._masked[source] = name
            self._masks.update(s for s in own if s not in names)

    def _sources(self, tensor: Tensor) -> tuple[str, ...]:
        origin = self._origin(tensor)
        return () if origin is None else origin.sources

    def _is_weight(self, name: str) -> bool:
        return len(self._shapes[name]) >= 2

    # ---- what is used how ----

    def _note_use(self, name: str, args: Sequence[Any], operands: Any, result: Any) -> None:
        """Note the weights of an operator that uses weights."""
        if name in operators.MATRIX_OPERANDS:
            self._note_product(name, args)
        elif name in operators.CONVOLUTIONS:
            self._note_convolution(name, args, result)
        elif name in operators.LOOKUPS:
            if self._is_stored(args[0]) and not all(map(self._is_stored, operands)):
                self._use(args[0], LayerUse("lookup", name, macs=0))
        elif operators.is_fused(name):
            self._note_fused(name, operands)

    def _is_stored(self, tensor: object) -> bool:
        return isinstance(tensor, Tensor) and bool(self._sources(tensor))

    def _is_weight_of_product(self, operand: Tensor, *, is_right: bool) -> bool:
        """Whether an operand of a product is a weight, and not activations of another product."""
        origin = self._origin(operand)
        if origin is None or not origin.sources:
            return False
        return not origin.of_product or (is_right and operand.ndim == 2)

    def _note_product(self, name: str, args: Sequence[Any]) -> None:
        left, right = (args[place] for place in operators.MATRIX_OPERANDS[name])
        is_transposed = name == "aten::linear"
        if self._is_weight_of_product(right, is_right=True):
            axis = right.ndim - 1 if is_transposed else max(right.ndim - 2, 0)
            rows = math.prod(left.shape[:-1]) if right.ndim == 2 else left.shape[-2]
            self._note_matrix(name, right, axis, rows)
        elif self._is_weight_of_product(left, is_right=False):
            rows = math.prod(right.shape) // max(left.shape[-1], 1)
            rows = rows // left.shape[0] if name in operators.BATCHED else rows
            self._note_matrix(name, left, left.ndim - 1, rows)

    def _note_matrix(self, name: str, operand: Tensor, axis: int, rows: int) -> None:
        base = self._base(operand)
        is_batch = name in operators.BATCHED and operand.shape[0] > 1
        use = LayerUse(
            "batched" if is_batch else "linear",
            name,
            _axis_of(base, operand, axis),
            rows=(rows,),
            macs=rows * operand.numel(),
        )
        self._use(operand, use)

    def _note_convolution(self, name: str, args: Sequence[Any], result: Tensor) -> None:
        x, weight = args[0], args[1]
        if not self._is_stored(weight):
            return
        is_transposed, groups = bool(args[6]), int(args[8])
        pixels = x.numel() // x.shape[1] if is_transposed else result.numel() // result.shape[1]
        use = LayerUse(
            "convolution",
            name,
            reduction_axis=0 if is_transposed else 1,
            groups=groups,
            kernel_size=tuple(weight.shape[2:]),
            transposed=is_transposed,
            rows=(pixels,),
            macs=pixels * weight.numel(),
        )
        self._use(weight, use)

    def _note_fused(self, name: str, operands: Sequence[Tensor]) -> None:
        data = next((x for x in operands if not self._is_stored(x)), None)
        weights = [x for x in operands if self._is_stored(x) and x.ndim >= 2]
        if data is None:
            return
        if not weights and any(word in name for word in ("::linear", "::conv")):
            self._packed[name] = None
        rows = math.prod(data.shape[:-1])
        for weight in weights:
            macs = rows * weight.numel()
            self._use(weight, LayerUse("fused", name, 1, rows=(rows,), macs=macs))

    def _base(self, operand: Tensor) -> Tensor:
        origin = self._origin(operand)
        assert origin is not None
        return operand if origin.base is None else origin.base

    def _use(self, operand: Tensor, use: LayerUse) -> None:
        """Note one use of a weight."""
        origin, base = self._origin(operand), self._base(operand)
        assert origin is not None
        source = self._main_source(origin, base)
        if source is None:
            return
        if origin.operator is None and tuple(base.shape) != self._shapes[source]:
            use = replace(use, reduction_axis=None)  # of a copy whose axes are others
        before = self._uses.get(source)
        self._uses[source] = use if before is None else _together(before, use)
        if origin.operator is not None and source not in self._effective:
            counts = count(interop.to_host(base))
            self._effective[source] = Effective(
                tuple(base.shape), base.dtype, counts, origin.operator
            )

    def _main_source(self, origin: _Origin, base: Tensor) -> str | None:
        """Return which stored tensor a weight comes from: of several, the one most like it."""
        names = [s for s in origin.sources if s not in self._masks and self._is_weight(s)]
        if not names:
            return None
        alike = (name for name in names if self._shapes[name] == tuple(base.shape))
        return next(alike, max(names, key=lambda name: math.prod(self._shapes[name])))


def _tensors(values: Any) -> list[Tensor]:
    """Return the tensors among arguments, and in lists of them."""
    found: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, list | tuple):
            found += _tensors(value)
    return found


def _derived(
    made: Tensor,
    name: str,
    operands: Sequence[Tensor],
    origins: Sequence[_Origin],
    sources: tuple[str, ...],
) -> _Origin:
    """Return the origin of a result: a view keeps what it is a view of."""
    for operand, origin in zip(operands, origins, strict=True):
        if _share_memory(made, operand):
            base = operand if origin.base is None else origin.base
            return _Origin(sources, origin.operator, base)
    if operators.is_copy(name):
        return _Origin(sources, origins[0].operator)
    return _Origin(sources, name)


def _share_memory(one: Tensor, other: Tensor) -> bool:
    if one.layout != torch.strided or other.layout != torch.strided:
        return False
    if one.is_meta or other.is_meta or one.is_quantized or other.is_quantized:
        return False
    address = one.untyped_storage().data_ptr()
    return address != 0 and address == other.untyped_storage().data_ptr()


def _masks_among(name: str, operands: Sequence[Tensor]) -> list[Tensor]:
    if operators.fills_zeros(name):
        return [x for x in operands if x.dtype == torch.bool and x.ndim >= 2]
    if not operators.is_product_of_entries(name) or len(operands) != 2:
        return []
    one, other = operands
    pairs = ((one, other), (other, one))
    return [x for x, weight in pairs if operators.is_mask(x, tuple(weight.shape))][:1]


def _axis_of(base: Tensor, view: Tensor, axis: int) -> int | None:
    """Return the axis of `base` that an axis of its view is, by the distance in memory."""
    if base is view:
        return axis
    if base.layout != torch.strided or view.layout != torch.strided:
        return None
    stride, size = view.stride(axis), view.shape[axis]
    alike = [a for a in range(base.ndim) if base.stride(a) == stride]
    exact = [a for a in alike if base.shape[a] == size]
    return next(iter(exact or alike), None)


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
