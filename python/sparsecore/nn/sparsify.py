"""From a pruned torch model to one that runs sparse where that was measured to be faster."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import nn

from sparsecore import timing
from sparsecore.nn.decide_all import Wish, decide_in_the_better_order, tell
from sparsecore.nn.example import Example
from sparsecore.nn.fuse import fuse_where_equal
from sparsecore.nn.fusion import Fusion
from sparsecore.nn.place import elapsed_of_place
from sparsecore.nn.report import Format, Report
from sparsecore.nn.settle import Trial, settle
from sparsecore.nn.sparse_layer import SparseLayer
from sparsecore.nn.sparsify_arguments import (
    Policy,
    check_initialized,
    check_values,
    given_choices,
)
from sparsecore.nn.sparsify_report import report
from sparsecore.nn.stored_values import StoredValues
from sparsecore.nn.thread_count import using_threads

__all__ = ["LAYER_TIMER", "sparsify_"]

LAYER_TIMER = partial(timing.interleaved, min_runs=11, min_seconds=0.1)
_MODEL_TIMER = partial(timing.interleaved, min_runs=15, min_seconds=0.5)


def sparsify_(
    model: nn.Module,
    example_inputs: Any,
    policy: Policy = "measured",
    *,
    max_error: float | None = None,
    threads: int | None = None,
    trainable: bool = True,
    channels_last: bool | None = None,
    values: StoredValues | None = None,
    choices: Mapping[str, Format] | None = None,
    progress: Callable[[int, int, str], object] | None = None,
    timer: timing.Timer | None = None,
) -> Report:
    """Exchange the layers of a pruned model for sparse ones, in place, where that pays.

    The model runs once on the example, which tells how each ``nn.Linear`` and ``nn.Conv2d`` is
    called. Each is then measured dense, as CSR and, where the weight of a linear layer or of a 1 x
    1 convolution is 2:4, as 2:4, on inputs of these shapes, dtypes and memory orders, and the
    fastest is taken. At last the whole model is measured against the dense one, twice where the
    samples overlap: while it is not faster, the half of the exchanged layers that saved the least
    goes back to dense. So the model is faster than before, or all dense.

    A layer stays dense, and the report says why, where the example does not call it; where it has
    hooks, parametrizations or a pruning mask that is still applied; where it is a subclass of
    torch's layer, or the model reads its weight directly; where its weight is tied to another; and
    where it has no zeros. (Convolutions of up to 65,536 weights are measured without zeros, too,
    for running only: a network's first is often faster in our kernels.)

    For running only (``trainable=False``), BatchNorms are folded into the convolutions before them,
    and activations and residual additions become part of the layers that they follow, dense ones,
    too, where torch.fx can follow the model's Python, or that of its children. CSR layers that
    follow one another, with the max pools and shortcuts between them, run in one native call, a few
    images at a time. The model keeps its class and the names of its layers; its forward is replaced
    on the instance.

    On a CUDA device linear layers become CSR, measured by the device's clock, one call after
    another; convolutions stay dense there, and layers are called one by one.

    Training goes on with the nonzeros: make the optimizer after ``sparsify_``, since the values are
    new Parameters, which an older one does not hold (biases are the same ones). The padding slots
    of a 2:4 group that has fewer than two nonzeros are trained, too.

    Parameters
    ----------
    model : torch.nn.Module
        On the CPU, or on one CUDA device, as the example is: exact zeros are what pruning left. Its
        training modes, buffers and attributes and torch's random state are afterwards as before.
    example_inputs : tensor, tuple or dict
        What the model is called with: one argument, several, or keyword arguments. Choose the batch
        size of the later use: it decides which format is the fastest. Never edited.
    policy : {"measured", "always"} or mapping of str to {"dense", "csr", "2:4"}
        "always" measures nothing and takes the sparse format with the fewer bytes for each layer
        that has zeros. A mapping (``report.choices``) is carried out as it is, without measuring;
        layers that it does not name stay dense. It names formats only: values are stored as this
        call says, whatever those were that the choices were made with.
    max_error : float, optional
        The largest error allowed, for layers and for the model, both relative; what exceeds it
        stays dense. Without it, for a layer with k columns: ``(k + 2) eps(accumulator) +
        eps(dtype)`` of the sum of magnitudes ``|x| |W|^T + |b|``, against the product in fp64; for
        the model: the sum of this over its exchanged layers, of the largest magnitude of each
        output, against the dense model. Where `values` are narrower, what rounding a weight W to W'
        explains comes on top: for a layer ``|x| |W - W'|^T``, output by output; for the model the
        largest of these by the largest output, of each layer: the root of the sum of their squares,
        since layers round independently, with a factor of four to spare. A model that makes more of
        it stays dense, unless `max_error` allows it.
    threads : int, optional
        Threads to measure with, for torch and sparsecore.
    trainable : bool
        Whether the nonzeros stay Parameters. If not, layers are fused with what follows them, and
        CSR layers are measured and left prepared for running (`CSRLinear.prepare_`): faster, and 6
        bytes an fp32 nonzero in all where packed, 7 to 11 where prepared for a few rows.
    channels_last : bool, optional
        Of a fused model: whether it begins with bringing images into torch's channels_last order,
        in which its convolutions then leave them. Measured in both orders if not given and the
        model runs in both, else as the images come; ``report.channels_last`` says what was chosen.
    values : {"bfloat16", "float16", "int8"}, optional
        What sparse layers store their values in, with ``trainable=False`` only: fewer bytes, at the
        price of an error, which the report has. Halves are for float32 layers, int8 has a scale a
        row; a layer whose weight they do not hold stays dense. Without it, the layers' own dtypes.
    choices : mapping of str to {"dense", "csr", "2:4"}, optional
        Layers that are decided in advance; the policy decides the others. They are not measured,
        and do not go back to dense for the sake of time.
    progress : callable, optional
        Called as ``progress(done, total, name)`` after each step.
    timer : callable, optional
        Measures a mapping of callables; `sparsecore.timing.interleaved` if not given. One for a
        model on a device waits for the device.

    Returns
    -------
    Report
        ``print(report)`` shows a table.

    Raises
    ------
    ValueError
        If the policy is unknown, or a choice names no linear or convolution layer, a layer that
        cannot be exchanged, or 2:4 for a weight that is not, or one that `values` do not hold; or
        `values` is given for layers that are to train; or the model has lazy modules that never
        ran; or lies on several devices and is to be measured.
    TypeError
        If `example_inputs` is not a tensor, tuple or dict.

    Examples
    --------
    >>> import torch
    >>> model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU())
    >>> with torch.no_grad():
    ...     _ = model[0].weight.masked_fill_(torch.rand(64, 64) < 0.9, 0)
    >>> x = torch.rand(8, 64)
    >>> before = model(x)
    >>> report = sparsify_(model, x, policy={"0": "csr"})
    >>> report.choices, torch.allclose(model(x), before, atol=1e-5)
    ({'0': 'csr'}, True)

    To deploy a converted model, see :func:`sparsecore.nn.save_checkpoint`.
    """
    given = given_choices(policy, choices)
    check_values(values, trainable=trainable)
    example = Example.of(example_inputs)
    check_initialized(model, caller="sparsify_")
    measuring = policy == "measured"
    layer_timer, model_timer = _timers(model, timer) if measuring else (None, None)
    sparse = tuple(n for n, m in model.named_modules() if isinstance(m, SparseLayer))
    with (
        using_threads(threads, name="sparsify_: threads"),
        torch.inference_mode(False),
        torch.no_grad(),
    ):
        size = _bytes(model)
        reference = example.output(model)
        fusion, fusion_error = (
            (Fusion(), 0.0) if trainable else fuse_where_equal(model, example, reference)
        )
        wish = Wish(policy, given, max_error, layer_timer, not trainable, values, progress)
        try:
            decisions = decide_in_the_better_order(
                model, example, fusion, wish, channels_last, model_timer
            )
        except BaseException:
            fusion.put(fused=False)
            raise
        trial = Trial(model, example, reference, max_error, frozenset(given), fusion, fusion_error)
        sizes = (size, _bytes(model))
        outcome = settle(trial, decisions, model_timer)
        tell(progress, len(decisions) + 1, len(decisions) + 1, "the whole model")
    return report(outcome, sizes, fusion, sparse, values)


def _timers(model: nn.Module, timer: timing.Timer | None) -> tuple[timing.Timer, timing.Timer]:
    """Return what measures the layers, and the whole model."""
    if timer is not None:
        return timer, timer
    elapsed = elapsed_of_place(model, caller="sparsify_")
    return partial(LAYER_TIMER, elapsed=elapsed), partial(_MODEL_TIMER, elapsed=elapsed)


def _bytes(model: nn.Module) -> int:
    """Bytes of the parameters and buffers, shared ones once."""
    tensors = (*model.parameters(), *model.buffers())
    return sum(tensor.nbytes for tensor in tensors)
