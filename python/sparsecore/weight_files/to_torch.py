"""Weights written by ``torch.save``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sparsecore.files.complete import complete_or_absent
from sparsecore.interop import as_tensor
from sparsecore.weight_files.extras import import_for
from sparsecore.weight_files.from_torch import TorchFile
from sparsecore.weight_files.plan import Plan, bytes_text, unchanged
from sparsecore.weight_files.weights import WeightFiles

__all__ = ["plan_torch"]


def plan_torch(weights: WeightFiles, target: Path) -> Plan:
    """Plan a state_dict; of a file of torch's with all that was beside it, such as an optimizer's.

    torch writes all tensors at once: those that were replaced, or come from another kind of file,
    are in memory together.
    """
    torch = import_for(target, "torch", extra="torch")
    names = tuple(weights.replaced) if weights.kind == "torch" else tuple(weights)
    # Which raises of a dtype that torch would not be given.
    outcomes = [unchanged(weights[name], weights.dense_bytes(name)) for name in names]

    def write() -> str:
        content = _content(weights, _tensors(weights, names))
        with complete_or_absent(target) as temporary, temporary.open("xb") as file:
            torch.save(content, file)
        return bytes_text([target])

    return Plan(outcomes, write)


def _tensors(weights: WeightFiles, names: tuple[str, ...]) -> dict[str, Any]:
    """Return tensors by name; tied ones are one tensor."""
    made: dict[str, Any] = {}
    for name in names:
        stored = weights[name].tied_to
        made[name] = made[stored] if stored in made else as_tensor(weights.dense(name))
    return made


def _content(weights: WeightFiles, tensors: Mapping[str, Any]) -> Any:
    """Return what is saved: the content of the file, with the tensors in it."""
    source = weights.source
    if not isinstance(source, TorchFile):
        return dict(tensors)
    return _with_state(source.content, source.place, tensors)


def _with_state(content: Mapping[str, Any], place: tuple[str, ...], tensors: Any) -> Any:
    """Return a copy of nested mappings in which the one at `place` has other tensors."""
    copied = dict(content)
    if not place:
        return copied | tensors
    first, *rest = place
    copied[first] = _with_state(copied[first], tuple(rest), tensors)
    return copied
