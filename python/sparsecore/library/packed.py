"""Weights of convolutions, packed once for calls that follow each other.

An operator is handed the values anew in each call, and packing them takes longer than convolving a
small image. So the last plan of a structure is kept beside the values that it was made of, and
runs again where they are the same, bit by bit: reading them takes a fraction of packing them, and
notices every edit, also those that no version counter tells of. It goes when the structure goes.
"""

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from sparsecore import _core, conv
from sparsecore.conv import ConvGeometry

_BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


@dataclass(frozen=True, slots=True)
class _Packed:
    geometry: ConvGeometry
    dtype: torch.dtype
    bits: Tensor
    plan: _core.ConvPlan


_kept: "WeakKeyDictionary[_core.CsrStructure, _Packed]" = WeakKeyDictionary()


def plan_of(
    structure: _core.CsrStructure, values: Tensor, geometry: ConvGeometry
) -> _core.ConvPlan:
    """Return a weight packed; raises as `sparsecore.conv.packed`."""
    kept, bits = _kept.get(structure), values.detach().view(_BITS[values.element_size()])
    if (
        kept is not None
        and kept.geometry == geometry
        and kept.dtype == values.dtype
        and torch.equal(kept.bits, bits)
    ):
        return kept.plan
    plan = conv.packed(structure, values, geometry)
    _kept[structure] = _Packed(geometry, values.dtype, bits.clone(), plan)
    return plan
