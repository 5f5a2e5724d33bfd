"""Which kernels, here or elsewhere, could run a weight as it is: by dtype, shape and pattern."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from sparsecore.diagnosis.counting import axis_name
from sparsecore.diagnosis.facts import LayerFacts
from sparsecore.html_report.numbers import percent
from sparsecore.interop import FLOAT8_DTYPES, VALUE_DTYPES
from sparsecore.text_table import shape_text

__all__ = [
    "Backend",
    "backends",
    "is_24",
    "is_24_by_chance",
    "kernel_obstacle",
    "runs_24_here",
]

BackendName: TypeAlias = Literal["csr", "2:4", "cusparselt", "tensorrt"]

# What sparse layers hold; int8 they make of these.
_LAYER_DTYPES = ("float64", "float32", "float16", "bfloat16")
# What both sides have to be multiples of, by bytes a value.
_CUSPARSELT_SIDES = {"float16": 16, "bfloat16": 16, "int8": 32, "float8_e4m3fn": 32}
_CHANCE = 1e-3
_TENSORRT_DTYPES = ("float32", "float16", "bfloat16", "int8", "float8_e4m3fn")


@dataclass(frozen=True, slots=True)
class Backend:
    """Whether a kernel could run a weight.

    Attributes
    ----------
    name : {"csr", "2:4", "cusparselt", "tensorrt"}
        This package's two; NVIDIA's library of 2:4 products; 2:4 in NVIDIA's TensorRT.
    eligible : bool or None
        None where the file does not tell.
    why : str
        Why not, or what is not known.
    """

    name: BackendName
    eligible: bool | None
    why: str = ""


def backends(facts: LayerFacts) -> tuple[Backend, ...]:
    """Return what could run a layer's weight.

    Eligible is not faster: that is a matter of times. cuSPARSELt's rules are those of
    `sparsecore.cuda.cusparselt.compress`, TensorRT's those of ``sparsecore check``.
    """
    return (_csr(facts), _sparse24(facts), _cusparselt(facts), _tensorrt(facts))


def kernel_obstacle(facts: LayerFacts) -> str | None:
    """Say why no sparse kernel of this package multiplies by a weight; None where one does."""
    use = facts.use
    if facts.dtype not in VALUE_DTYPES and facts.dtype not in FLOAT8_DTYPES:
        return f"{facts.dtype} has no sparse kernel"
    if not facts.in_file and facts.dtype not in _LAYER_DTYPES:
        return f"{facts.dtype} has no sparse kernel in a layer"
    if len(facts.shape) < 2:
        return "it has one axis"
    if use is None or use.kind in ("linear", "lookup", "fused"):
        return None
    if use.kind == "batched":
        return f"{facts.shape[0]} matrices in one product ({use.operator}) have no sparse kernel"
    if use.transposed:
        return "transposed convolutions have no sparse kernel"
    if len(use.kernel_size) != 2:
        return f"convolutions of {len(use.kernel_size)} axes have no sparse kernel"
    return None


def is_24(facts: LayerFacts) -> bool | None:
    """Whether a weight is 2:4 along an axis that is summed over; None where that is not known."""
    lines = facts.lines_24
    found = [facts.is_24_along(line) for line in lines or facts.share_24]
    if not lines:
        return None if True in found or not facts.counted else False
    return True if True in found else None if None in found else False


def is_24_by_chance(facts: LayerFacts) -> bool:
    """Whether zeros anywhere, as many as a weight has, would often be 2:4 by themselves."""
    d = facts.density
    fits = (1 - d) ** 4 + 4 * d * (1 - d) ** 3 + 6 * d**2 * (1 - d) ** 2
    return bool(fits ** (facts.counts.size / 4) > _CHANCE)


def runs_24_here(facts: LayerFacts) -> bool | None:
    """Whether this package's 2:4 kernel takes a weight; None where its use is not known."""
    fits = is_24(facts)
    if not fits or facts.use is None:
        return fits
    if facts.use.kind == "convolution":
        return set(facts.use.kernel_size) == {1} and facts.use.groups == 1
    return facts.use.kind == "linear"


def _csr(facts: LayerFacts) -> Backend:
    reason = kernel_obstacle(facts)
    if reason is None and facts.dtype in FLOAT8_DTYPES:
        reason = f"{facts.dtype} has a kernel for 2:4 only"
    return Backend("csr", reason is None, reason or "")


def _sparse24(facts: LayerFacts) -> Backend:
    reason = kernel_obstacle(facts)
    if reason is not None:
        return Backend("2:4", False, reason)
    fits = runs_24_here(facts)
    if fits is False and is_24(facts):
        return Backend("2:4", False, "only linear layers and 1 x 1 convolutions have a kernel")
    return Backend("2:4", fits, _why_not_24(facts))


def _why_not_24(facts: LayerFacts) -> str:
    fits = is_24(facts)
    if fits:
        return ""
    lines = facts.lines_24 or tuple(facts.share_24)
    if fits is None and (facts.lines_24 or not facts.counted):
        return "its groups of four along what is summed over were not counted"
    if fits is None:
        return "it is 2:4 along one axis; which one is summed over is unknown without the model"
    long = [line for line in lines if facts.line_length(line) > 2]
    if not long:
        return "each sum has two numbers at most, which are 2:4 whatever they are"
    share = max(facts.share_24.get(line, 0.0) for line in long)
    return f"{percent(share)} of its groups of four have at most two nonzeros"


def _cusparselt(facts: LayerFacts) -> Backend:
    if facts.use is not None and facts.use.kind != "linear":
        return Backend("cusparselt", False, f"it is no matrix product, but {facts.use.operator}")
    side = _CUSPARSELT_SIDES.get(facts.dtype)
    if side is None:
        return Backend("cusparselt", False, f"{facts.dtype} has no 2:4 kernel there")
    if len(facts.shape) != 2:
        return Backend("cusparselt", False, f"it has {len(facts.shape)} axes, expected 2")
    if any(length % side for length in facts.shape):
        why = f"{shape_text(facts.shape)} are not both multiples of {side}, as {facts.dtype} needs"
        return Backend("cusparselt", False, why)
    fits = is_24(facts)
    return Backend("cusparselt", fits, _why_not_24(facts))


def _tensorrt(facts: LayerFacts) -> Backend:
    use = facts.use
    if use is not None and (use.kind not in ("linear", "convolution") or use.transposed):
        return Backend("tensorrt", False, f"it is no plain product, but {use.operator}")
    if facts.dtype not in _TENSORRT_DTYPES:
        return Backend("tensorrt", False, f"{facts.dtype} has no 2:4 kernel there")
    if use is None or use.reduction_axis is None:
        return Backend("tensorrt", is_24(facts), _why_not_24(facts))
    length = facts.shape[use.reduction_axis]
    if length % 4 or not facts.counts.size:
        return Backend("tensorrt", False, f"each sum has {length} numbers, no multiple of 4")
    line = axis_name(use.reduction_axis)
    share = facts.share_24.get(line)
    if share is None:
        return Backend("tensorrt", None, _why_not_24(facts))
    if share < 1:
        return Backend("tensorrt", False, f"{percent(share)} of its groups along {line} are 2:4")
    if use.groups > 1 or use.operator == "MatMul":
        what = "a MatMul" if use.operator == "MatMul" else f"in {use.groups} groups"
        return Backend("tensorrt", None, f"2:4, but {what}: sparsecore check says more")
    return Backend("tensorrt", True)
