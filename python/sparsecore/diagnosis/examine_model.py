"""The diagnosis of a live torch model."""

from typing import Any

from torch import nn

from sparsecore.diagnosis.backends import backends
from sparsecore.diagnosis.diagnosis import Diagnosis, LayerDiagnosis
from sparsecore.diagnosis.facts import LayerFacts
from sparsecore.diagnosis.judge import judge
from sparsecore.diagnosis.layer_times import estimated_times, unrest, with_measured
from sparsecore.diagnosis.measuring import Measured, measure_model
from sparsecore.diagnosis.model_layers import ModelLayers, held_by, model_layers
from sparsecore.diagnosis.summary import summarize
from sparsecore.diagnosis.wish import Wish
from sparsecore.nn.example import Example
from sparsecore.nn.sparsify_arguments import check_initialized
from sparsecore.nn.thread_count import using_threads
from sparsecore.timing import machine_facts

__all__ = ["diagnose_model"]


def diagnose_model(model: nn.Module, example_inputs: Any, wish: Wish) -> Diagnosis:
    """Diagnose a model; parameters and errors are those of `doctor`."""
    check_initialized(model, caller="doctor")
    example = None if example_inputs is None else Example.of(example_inputs, caller="doctor")
    if wish.measure and example is None:
        msg = "doctor: measure=True needs example_inputs, whose shapes decide what a layer takes"
        raise ValueError(msg)
    with using_threads(wish.threads, name="doctor: threads"):
        found = model_layers(model, example, wish.tell)
        facts = found.layers
        measured: dict[int, Measured] = {}
        if wish.measure and example is not None:
            measured = measure_model(model, example, wish.timer, wish.tell)
        weights = {name: id(held.tensor) for name, held in held_by(model).items()}
        layers = [_layer(one, measured.get(weights.get(one.name, 0)), wish) for one in facts]
        machine = machine_facts() if any(layer.times for layer in layers) else {}
    return Diagnosis(
        type(model).__name__,
        "model",
        tuple(layers),
        summarize(layers),
        (
            *_notes(found, wish, ran=example is not None),
            *unrest(time for layer in layers for time in layer.times),
        ),
        machine,
    )


def _layer(facts: LayerFacts, measured: Measured | None, wish: Wish) -> LayerDiagnosis:
    times = estimated_times(facts, wish.rows_to_assume(facts), wish.costs)
    if measured is not None:
        times = (with_measured(times, *measured),)
    able = backends(facts)
    verdict, further = judge(facts, able, times)
    return LayerDiagnosis(facts, able, times, verdict, further)


def _notes(found: ModelLayers, wish: Wish, *, ran: bool) -> list[str]:
    notes, facts = [], found.layers
    if not ran:
        rows = " and ".join(map(str, wish.batches))
        notes.append(
            "without example_inputs the rows of layers are unknown, and which operators torch "
            f"fuses: estimates are for {rows} rows, and convolutions have none"
        )
    if unknown := sum(one.masked is None for one in facts):
        notes.append(
            f"whether a mask is applied to {unknown} weights in forward is unknown without "
            "example_inputs: torch.fx cannot follow the forward"
        )
    if found.packed:
        names = ", ".join(found.packed)
        notes.append(f"{names} multiplies by packed weights, which cannot be looked at")
    if any(one.device != "cpu" for one in facts):
        notes.append("there are no estimates for weights on a device: measure=True measures them")
    return notes
