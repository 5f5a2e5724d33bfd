"""What conversion makes of a fine-tuned network: accuracy, the same predictions, size and time."""

import copy
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

import sparsecore as sc
from sparsecore.bench import report as reporting
from sparsecore.bench.comparison import WrongResult
from sparsecore.bench.e2e.engines import Workload, torch_engines
from sparsecore.bench.e2e.macs import count_macs, positions
from sparsecore.bench.floor import measure_floor
from sparsecore.bench.run import QUIET, checkout
from sparsecore.bench.trained.finetune import accuracy, logits_of
from sparsecore.bench.trained.images import Images
from sparsecore.timing import Timer, machine_facts

__all__ = ["agreement", "document", "file_bytes", "measure_network"]


def document(
    dense: nn.Module,
    networks: Mapping[str, tuple[nn.Module, Mapping[str, Any]]],
    images: Images,
    clock: Timer,
    *,
    chooser: Timer | None,
    batches: tuple[int, ...],
    protocol: Mapping[str, Any],
) -> dict[str, Any]:
    """Measure all networks and say what they were measured on.

    Parameters
    ----------
    dense : torch.nn.Module
        The trained network before pruning.
    networks : mapping of str to (module, mapping)
        Fine-tuned ones with their zeros, and how they were made.
    images : Images
    clock : callable
        As `sparsecore.timing.interleaved`.
    chooser : callable, optional
        What `sparsify_` measures with, if not with its own.
    batches : tuple of int
        Numbers of images a call.
    protocol : mapping
        What else is to be said.
    """
    before = measure_floor(clock)
    rows = []
    for name, (model, config) in networks.items():
        print(name, file=sys.stderr)
        rows.append({"name": name, "config": dict(config)}
                    | measure_network(dense, model, images, clock, chooser, batches))  # fmt: skip
    after = measure_floor(clock)
    moved = reporting.drift(before, after)
    return {
        "name": "trained",
        "title": "a trained ResNet-20, pruned globally by magnitude, fine-tuned and converted",
        "images": str(images),
        "protocol": dict(protocol),
        "machine": machine_facts(checkout()),
        "floor": {"before": before, "after": after, "drift": moved, "quiet": moved <= QUIET},
        "rows": rows,
    }


def measure_network(
    dense: nn.Module,
    masked: nn.Module,
    images: Images,
    clock: Timer,
    chooser: Timer | None,
    batches: tuple[int, ...],
) -> dict[str, Any]:
    """Measure one network.

    Raises
    ------
    WrongResult
        If the converted network says another class than the masked one of any test image.
    """
    weights = _weights(masked)
    uses = positions(masked, (images.x_test[:1],))
    macs = count_macs(uses, weights, weights.keys(), ())
    zeros = {name: 1 - int(w.count_nonzero()) / w.numel() for name, w in weights.items()}
    stored = sum(w.numel() for w in weights.values())
    return {
        "sparsity": 1 - sum(int(w.count_nonzero()) for w in weights.values()) / stored,
        "layer_sparsity": zeros,
        "accuracy": {
            "dense": accuracy(dense, images.x_test, images.y_test),
            "masked dense": accuracy(masked, images.x_test, images.y_test),
        },
        "macs": {"dense": macs.total, "kept": macs.kept},
        "file_bytes": file_bytes(masked),
        "batches": [_at_batch(masked, images, clock, chooser, batch) for batch in batches],
    }


def _at_batch(
    masked: nn.Module, images: Images, clock: Timer, chooser: Timer | None, batch: int
) -> dict[str, Any]:
    x = images.x_test[:batch].clone()
    converted = copy.deepcopy(masked)
    made = sc.nn.sparsify_(converted, x, policy="measured", trainable=False, timer=chooser)
    workload = Workload(masked, (x,), (), torch.get_num_threads())
    contenders: dict[str, Callable[[], object]] = {
        "sparsecore": torch_engines.call_of(converted, (x,)),
        "torch eager": torch_engines.eager(workload),
        "torch folded, channels_last": torch_engines.channels_last(workload),
    }
    return {
        "batch": batch,
        **agreement(converted, masked, images),
        "memory_bytes": {"dense": made.bytes_before, "sparse": made.bytes_after},
        "choices": made.choices,
        "channels_last": made.channels_last,
        "fused": made.fused,
        "seconds": {name: asdict(time) for name, time in clock(contenders).items()},
    }


def agreement(converted: nn.Module, masked: nn.Module, images: Images) -> dict[str, Any]:
    """Compare the outputs for every test image.

    Raises
    ------
    WrongResult
        If a prediction is another.
    """
    found, expected = (logits_of(model, images.x_test) for model in (converted, masked))
    differing = int((found.argmax(1) != expected.argmax(1)).sum())
    if differing:
        msg = f"{differing} of {len(found)} predictions of the converted network are others"
        raise WrongResult(msg)
    return {
        "accuracy": float((found.argmax(1) == images.y_test).double().mean()),
        "differing_predictions": differing,
        "largest_logit_difference": float((found.double() - expected.double()).abs().max()),
        "largest_logit": float(expected.abs().max()),
    }


def file_bytes(model: nn.Module) -> dict[str, int]:
    """Return the bytes of a state as safetensors: dense, and with weights as CSR where smaller.

    A file for each CSR weight, as `sparsecore.save` writes it, and one for all the rest.
    """
    state = {name: t.contiguous() for name, t in model.state_dict().items()}
    matrices = {f"{name}.weight": w.detach().flatten(1) for name, w in _weights(model).items()}
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder)

        def dense_bytes(tensors: Mapping[str, Tensor]) -> int:
            file = files / "dense.safetensors"
            safetensors.torch.save_file(dict(tensors), file)
            return file.stat().st_size

        def csr_bytes(matrix: Tensor) -> int:
            file = files / "csr.safetensors"
            sc.save(file, sc.CSR.from_dense(matrix))
            return file.stat().st_size

        sizes = {name: csr_bytes(matrix) for name, matrix in matrices.items()}
        small = {name: size for name, size in sizes.items() if size < state[name].nbytes}
        rest = {name: tensor for name, tensor in state.items() if name not in small}
        return {"dense": dense_bytes(state), "sparse": dense_bytes(rest) + sum(small.values())}


def _weights(model: nn.Module) -> dict[str, Tensor]:
    return {
        name: module.weight
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    }
