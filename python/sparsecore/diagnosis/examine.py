"""The question of a user who pruned a model and found it no faster, and the answer."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from sparsecore import interop
from sparsecore.diagnosis.diagnosis import Diagnosis
from sparsecore.diagnosis.machine import CostsOf, known_machine
from sparsecore.diagnosis.wish import Tell, Wish, checked_batches, checked_shape
from sparsecore.timing import Timer

if TYPE_CHECKING:
    from torch import nn

__all__ = ["doctor"]


def doctor(
    model_or_file: "nn.Module | str | os.PathLike[str]",
    example_inputs: Any = None,
    *,
    measure: bool = False,
    batch: int | Sequence[int] | None = None,
    input_shape: Sequence[int] | None = None,
    threads: int | None = None,
    timer: Timer | None = None,
    costs: CostsOf | None = None,
    progress: Tell | None = None,
) -> Diagnosis:
    """Say of each layer why its zeros do not make it faster, and what to do.

    What a layer is for is found by what torch does with its weight in one run of the example, or by
    the graph of a file, never by names. What a file alone cannot tell is unknown, not guessed.

    Parameters
    ----------
    model_or_file : torch.nn.Module, or path
        A model is not changed. A file is what :func:`sparsecore.weight_files.open_weights` opens;
        its weights are read one at a time.
    example_inputs : tensor, tuple or dict, optional
        Of a model: the arguments of its forward, which runs once. Without it, the rows of layers
        are unknown, and masks and uses are found by types, hooks, parametrizations and torch.fx.
    measure : bool
        Whether to measure each layer in all its forms instead of estimating. Needs torch; of a
        model, needs `example_inputs`.
    batch : int or sequence of int, optional
        Rows to assume, each alone, where those of the layers are not known; if not given, 1 and 256
        for matrices, and none for convolutions, which then have no times.
    input_shape : sequence of int, optional
        Of an ONNX file: the shape of its input, from which onnx infers those of the layers.
    threads : int, optional
        For torch and sparsecore. If not given, layers are measured with those that are set, and
        estimates are of one thread.
    timer : callable, optional
        Measures a mapping of callables; `sparsecore.timing.interleaved` if not given.
    costs : callable, optional
        The constants that estimates go by; if not given, they are measured here, which takes a
        second or two, by torch as dense baseline. Without torch there are no estimates.
    progress : callable, optional
        Called as ``progress(done, total, name)``.

    Returns
    -------
    Diagnosis
        ``print(diagnosis)`` shows a table, the verdicts and a summary.

    Raises
    ------
    ValueError
        The file is not whole or of no known kind; `batch` or `input_shape` is out of range, or does
        not apply; or the model has lazy modules that never ran.
    TypeError
        `model_or_file` is neither a module nor a path, or `example_inputs` is no tensor, tuple or
        dict.
    ModuleNotFoundError
        A package that is needed is not installed; names the extra.
    OSError
        The file cannot be read.

    Examples
    --------
    >>> import torch
    >>> from torch.nn.utils import prune
    >>> import sparsecore as sc
    >>> model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU())
    >>> prune.l1_unstructured(model[0], "weight", 0.9)  # doctest: +ELLIPSIS
    Linear(...)
    >>> diagnosis = sc.doctor(model, torch.rand(8, 64))
    >>> diagnosis.verdicts
    {'0.weight_orig': 'mask-in-forward'}
    """
    wish = Wish(
        measure=measure,
        batches=checked_batches(batch),
        input_shape=checked_shape(input_shape),
        threads=threads,
        timer=timer,
        costs=costs or known_machine(threads, timer),
        measures_costs=costs is None,
        tell=progress or _silent,
        rows_given=batch is not None,
    )
    if _is_module(model_or_file):
        if batch is not None or input_shape is not None:
            what = "batch" if batch is not None else "input_shape"
            msg = f"doctor: {what} is for files, expected example_inputs for a model"
            raise ValueError(msg)
        from sparsecore.diagnosis.examine_model import diagnose_model

        return diagnose_model(model_or_file, example_inputs, wish)
    if not isinstance(model_or_file, str | os.PathLike):
        kind = type(model_or_file).__name__
        msg = f"doctor: model_or_file is a {kind}, expected a torch.nn.Module or a path"
        raise TypeError(msg)
    if example_inputs is not None:
        msg = "doctor: example_inputs is for a model, but model_or_file is a path"
        raise ValueError(msg)
    from sparsecore.diagnosis.examine_file import diagnose_file

    return diagnose_file(Path(model_or_file), wish)


def _is_module(candidate: object) -> "TypeGuard[nn.Module]":
    torch = interop.torch_or_none()
    return torch is not None and isinstance(candidate, torch.nn.Module)


def _silent(done: int, total: int, name: str) -> None:
    """Follow nothing."""
