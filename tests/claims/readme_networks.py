"""README: whole networks, allocations and sparse training."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from claims.claim import Claim, TableClaim
from claims.results import fixed, percent, result, row, rows, significant, to

__all__ = ["CLAIMS", "int8_wins"]

_README = "README.md"
_LARGE, _SMALL = "e2e-epyc-1-thread", "e2e-small-epyc-1-thread"
_TRAINED, _ALLOCATE = "trained-epyc-1-thread", "allocate-epyc-1-thread"
_TRAINING, _NEVER = "training-epyc-1-thread", "never-slower-epyc-1-thread"
_SPARSITIES = (50, 70, 80, 90, 95)
# The label of each network's first line, its result, its name there, and its batches.
_NETWORKS = (
    ("ResNet-50, 224 x 224", _LARGE, "resnet50", (1,)),
    ("MobileNetV1, 224 x 224", _LARGE, "mobilenetv1", (1,)),
    ("ResNet-20, 32 x 32, trained", _SMALL, "resnet20", (1, 64)),
    ("BERT-base's layers, 128 tokens", _LARGE, "bert", (1,)),
    ("two layers of 4096 x 4096", _SMALL, "mlp", (1, 8, 64)),
    ("a GPT layer's step, d = 2048", _SMALL, "gpt", (1, 8)),
)
_ENGINES = {"openvino": "OpenVINO", "onnxruntime": "onnxruntime"}


def _milliseconds(seconds: float) -> str:
    value = 1e3 * seconds
    return f"{fixed(value, 1 if value >= 1 else 2)} ms"


def _uniform(name: str, model: str, batch: int) -> list[Mapping[str, Any]]:
    return [
        row(name, model=model, batch=batch, pattern="uniform", values="float32", sparsity=float(s))
        for s in _SPARSITIES
    ]


def _networks() -> Iterator[Sequence[str]]:
    for label, name, model, batches in _NETWORKS:
        for batch in batches:
            measured = _uniform(name, model, batch)
            (engine,) = {found["best_dense"] for found in measured}
            seconds = measured[0]["engines"][engine]["median"]
            dense = f"{_ENGINES[engine]}, {_milliseconds(seconds)}"
            first = label if batch == batches[0] else ""
            yield [first, str(batch), dense, *(significant(found["speedup"]) for found in measured)]


def _trained() -> Iterator[Sequence[str]]:
    measured = rows(_TRAINED)
    folded = [
        [batch["seconds"]["torch folded, channels_last"]["median"] for batch in found["batches"]]
        for found in measured
    ]
    first = measured[0]
    yield [
        "dense",
        f"{percent(first['accuracy']['dense'], 1)} %",
        f"{first['file_bytes']['dense'] / 1e3:.0f} kB",
        *(f"{significant(1e3 * seconds)} ms" for seconds in folded[0]),
    ]
    for found, dense in zip(measured, folded, strict=True):
        times = [batch["seconds"]["sparsecore"]["median"] for batch in found["batches"]]
        ratios = [slow / fast for slow, fast in zip(dense, times, strict=True)]
        as_fast = " times as fast" if found is first else ""
        yield [
            f"{percent(found['sparsity'])} %",
            f"{percent(found['accuracy']['masked dense'], 1)} %",
            f"{found['file_bytes']['sparse'] / 1e3:.0f} kB",
            f"{significant(1e3 * times[0])} ms, {fixed(ratios[0], 1)}{as_fast}",
            f"{significant(1e3 * times[1])} ms, {fixed(ratios[1], 1)}",
        ]


def int8_wins() -> list[str]:
    """Return up to where int8 wins everywhere, and but for one cell; from where it loses."""
    wins: dict[int, set[tuple[str, int]]] = {}
    for _, name, model, batches in _NETWORKS:
        for batch in batches:
            for sparsity, found in zip(_SPARSITIES, _uniform(name, model, batch), strict=True):
                assert found["sparse_share"] == 1, "a prunable layer does not run sparse"
                lost = wins.setdefault(sparsity, set())
                if found["speedup_over_int8"] < 1:
                    lost.add((model, batch))
    cells = wins[50]
    assert cells - wins[80] == {("resnet20", 1)}
    assert wins[95] == {("mobilenetv1", 1)}
    everywhere = max(sparsity for sparsity in _SPARSITIES if wins[sparsity] == cells)
    return [str(everywhere), "80", "1", "95"]


def _never_slower() -> list[str]:
    found = result(_NEVER)
    ratios, noisy = found["summary"]["geometric_mean"], found["summary"]["noisy"]
    slower = sum(cell["slower"] for cell in found["rows"])
    assert noisy == sum(cell["noisy"] for cell in found["rows"])
    return [
        {12: "twelve"}[len({cell["model"] for cell in found["rows"]})],
        *(fixed(sparsity, 0) for sparsity in sorted({c["sparsity"] for c in found["rows"]})),
        {0: "none"}[slower],
        str(len(found["rows"])),
        {3: "three"}[noisy],
        fixed(ratios, 1),
    ]


def _tuned(budget: float, *names: str) -> list[float]:
    return [
        100 * found["accuracy_tuned"]
        for found in rows(_ALLOCATE)
        if found["budget"]["uniform"] == budget and found["name"] in names
    ]


def _allocations() -> list[str]:
    latency = ("latency, squares", "latency, LAMP")
    (uniform,), (one,) = _tuned(0.8, "uniform"), _tuned(0.8, "global magnitude")
    others = [_tuned(0.9, name)[0] for name in ("uniform", "global magnitude", "ERK", "LAMP")]
    return [
        *to(_tuned(0.8, *latency), 0),
        fixed(uniform, 0),
        fixed(one, 0),
        *to(_tuned(0.8, "ERK", "LAMP"), 0),
        *to(_tuned(0.9, *latency), 0),
        *(fixed(value, 0) for value in others),
    ]


def _allocated_networks() -> list[str]:
    measured = [found for found in rows(_ALLOCATE) if found["budget"]["uniform"] == 0.8]
    times = {found["name"]: 1e3 * found["seconds"]["median"] for found in measured}
    latency = [times["latency, squares"], times["latency, LAMP"]]
    return [*to(latency, 0), fixed(times["uniform"], 0)]


def _step(found: Mapping[str, Any]) -> float:
    ways = found["ways"]
    share: float = ways["csr"]["step_seconds"] / ways["masked dense"]["step_seconds"]
    return share


def _training(model: str, digits: Sequence[int]) -> list[str]:
    found = row(_TRAINING, model=model, sparsity=90.0)
    shares = (found["ratio"]["total"], found["ratio"]["peak_bytes"], _step(found))
    return [fixed(share, count) for share, count in zip(shares, digits, strict=True)]


CLAIMS = (
    Claim(
        _README,
        (_ALLOCATE,),
        "the trained ResNet-20 has {} to {} % of 1000 images right after an epoch so allocated, "
        "uniform {} %, one threshold {} %, ERK and LAMP {} to {} % (batch 64, the time of 80 % "
        "everywhere); with that of 90 %, {} to {} % against {}, {}, {} and {} %",
        _allocations,
    ),
    Claim(
        _README,
        (_ALLOCATE,),
        "whose layers are chained, took {} to {} ms where uniform took {}",
        _allocated_networks,
    ),
    Claim(
        _README,
        (_TRAINING,),
        "Three layers of 2048 x 2048 at 90 % with RigL and Adam: weights, gradients, moments and "
        "structure are {} of the bytes of masked dense ones, the process's peak, mask updates "
        "included, is {}, and a step takes {} of the time",
        lambda: _training("mlp", (2, 2, 2)),
    ),
    Claim(
        _README,
        (_TRAINING,),
        "the tensors of ResNet-20 are {}, too, but its activations are larger than all of these, "
        "the peak is {} times that of the dense one, and a step takes {} times as long",
        lambda: _training("resnet20", (2, 1, 1)),
    ),
    TableClaim(
        _README,
        (_LARGE, _SMALL),
        "|network|batch|fastest dense|50 %|70 %|80 %|90 %|95 %|",
        lambda: [*_networks()],
    ),
    TableClaim(_README, (_TRAINED,), "||accuracy|file|batch 1|batch 64|", lambda: [*_trained()]),
    Claim(
        _README,
        (_LARGE, _SMALL),
        "Dense int8 engines are faster than sparse fp32 up to {} % in all of these, and up to {} % "
        "in all but ResNet-20 at batch {}; at {} % sparse fp32 is faster in all but MobileNet",
        int8_wins,
    ),
    Claim(
        _README,
        (_NEVER,),
        "of {} kinds of models at {}, {}, {} and {} % and three batch sizes, `sparsify_` made {} "
        "of {} slower than it was in torch ({} were too noisy to say), and they are {} times as "
        "fast in the geometric mean",
        _never_slower,
    ),
)
