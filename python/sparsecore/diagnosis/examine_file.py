"""The diagnosis of a file of weights, without the model."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from pathlib import Path

from sparsecore.diagnosis.backends import backends
from sparsecore.diagnosis.diagnosis import Diagnosis, LayerDiagnosis
from sparsecore.diagnosis.estimate import Times
from sparsecore.diagnosis.facts import LayerFacts
from sparsecore.diagnosis.file_layers import file_layers
from sparsecore.diagnosis.graph_rows import graph_rows
from sparsecore.diagnosis.judge import judge
from sparsecore.diagnosis.layer_times import can_be_timed, estimated_times, unrest, with_measured
from sparsecore.diagnosis.summary import summarize
from sparsecore.diagnosis.wish import Wish
from sparsecore.timing import machine_facts
from sparsecore.weight_files import WeightFiles, open_weights

__all__ = ["diagnose_file"]


def diagnose_file(path: Path, wish: Wish) -> Diagnosis:
    """Diagnose a file; parameters and errors are those of `doctor`."""
    files = open_weights(path)
    has_torch = find_spec("torch") is not None
    if wish.measure and not has_torch:
        msg = "doctor: measure=True needs torch, which is missing: pip install 'sparsecore[torch]'"
        raise ModuleNotFoundError(msg, name="torch")
    has_graph = files.kind == "onnx"
    rows = graph_rows(files, wish.input_shape) if has_graph and wish.input_shape else {}
    can_estimate = has_torch or not wish.measures_costs
    with _threads(wish, has_torch=has_torch):
        layers = [
            _layer(files, facts, wish, can_estimate=can_estimate)
            for facts in file_layers(files, rows, wish.tell)
        ]
        machine = machine_facts() if any(layer.times for layer in layers) else {}
    notes = _notes(files, wish, layers, can_estimate=can_estimate)
    return Diagnosis(path.name, files.kind, tuple(layers), summarize(layers), tuple(notes), machine)


def _threads(wish: Wish, *, has_torch: bool) -> AbstractContextManager[None]:
    if wish.threads is None or not has_torch:
        return nullcontext()
    from sparsecore.nn.thread_count import using_threads

    return using_threads(wish.threads, name="doctor: threads")


def _layer(
    files: WeightFiles, facts: LayerFacts, wish: Wish, *, can_estimate: bool
) -> LayerDiagnosis:
    times: tuple[Times, ...] = ()
    is_known = facts.use is not None and bool(facts.use.rows)
    has_zeros = facts.counts.nonzeros < facts.counts.size
    if can_estimate and (has_zeros or is_known):
        times = estimated_times(facts, wish.rows_to_assume(facts), wish.costs)
    is_multiplied = facts.mask is None and facts.obstacle is None  # as the file has it
    is_able = has_zeros and is_multiplied and can_be_timed(facts) and _is_matrix(facts)
    if wish.measure and is_able:
        times = _measured(files, facts, wish, times)
    able = backends(facts)
    verdict, further = judge(facts, able, times)
    return LayerDiagnosis(facts, able, times, verdict, further)


def _is_matrix(facts: LayerFacts) -> bool:
    """Whether a weight could be a linear layer's: what a convolution takes its image decides."""
    return len(facts.shape) == 2 and (facts.use is None or facts.use.kind == "linear")


def _measured(
    files: WeightFiles, facts: LayerFacts, wish: Wish, estimates: tuple[Times, ...]
) -> tuple[Times, ...]:
    from sparsecore.diagnosis.measuring import measure_weight

    batches = tuple(time.rows for time in estimates) or wish.batches
    try:
        measured = measure_weight(facts, files.dense(facts.name), batches, wish.timer)
    except RuntimeError as fault:  # as torch says that it gets no memory
        rows = " or ".join(map(str, batches))
        msg = f"{files.path}: {facts.name!r} cannot be measured with {rows} rows: {fault}"
        raise ValueError(msg) from fault
    return tuple(with_measured(estimates, *one) for one in measured)


def _notes(
    files: WeightFiles, wish: Wish, layers: list[LayerDiagnosis], *, can_estimate: bool
) -> Iterator[str]:
    yield (
        "masks in forward, fusions, and what else happens to a weight are unknown without the model"
    )
    if any(one.facts.use is None for one in layers):
        yield (
            "what some weights are used for is unknown without the model: they are taken for "
            "matrices that are multiplied"
        )
    if not can_estimate:
        yield "torch is not installed, which is the dense baseline: there are no estimates of time"
    elif not all(one.facts.use is not None and one.facts.use.rows for one in layers):
        rows = " and ".join(map(str, wish.batches))
        yield f"the inputs of layers are unknown without the model: times are for {rows} rows"
        if not all(wish.rows_to_assume(one.facts) for one in layers):
            yield (
                "the rows of convolutions are the pixels of their results: there are no times "
                "unless batch, or input_shape of ONNX, tells how many"
            )
    yield from unrest(time for layer in layers for time in layer.times)
    if wish.input_shape is not None and files.kind != "onnx":
        yield f"input_shape tells nothing here: a file of kind {files.kind} has no graph"
