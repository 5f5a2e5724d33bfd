"""What an engine is given: a network, its inputs, a number of threads, and the network as ONNX."""

import io
import warnings
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import nn

from sparsecore.bench.e2e.engines.quantise import quantised
from sparsecore.bench.models import Inputs

__all__ = ["Workload"]

_OPSET = 17


@dataclass(frozen=True)
class Workload:
    """A dense network in evaluation mode, called with the same inputs every time.

    `samples` are other inputs of the same shapes, for engines that measure ranges beforehand.
    """

    model: nn.Module
    inputs: Inputs
    samples: tuple[Inputs, ...]
    threads: int

    @cached_property
    def names(self) -> list[str]:
        """Of the inputs in the ONNX model."""
        return [f"input{i}" for i in range(len(self.inputs))]

    @cached_property
    def onnx(self) -> bytes:
        """The network as ONNX, its shapes fixed."""
        written = io.BytesIO()
        with warnings.catch_warnings():
            # torch's other exporter needs one more package, and writes the same operators.
            warnings.simplefilter("ignore")
            torch.onnx.export(
                self.model,
                self.inputs,
                written,  # type: ignore[arg-type]
                input_names=self.names,
                output_names=["output"],
                opset_version=_OPSET,
                dynamo=False,
            )
        return written.getvalue()

    @cached_property
    def int8_onnx(self) -> bytes:
        """The same in static int8, as onnxruntime quantises it."""
        named = [
            {name: x.numpy() for name, x in zip(self.names, sample, strict=True)}
            for sample in self.samples
        ]
        return quantised(self.onnx, named)
