"""bench/trained: a network is pruned and fine-tuned, and what conversion makes of it is checked."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from sparsecore.bench.comparison import WrongResult  # noqa: E402
from sparsecore.bench.models import NETWORKS, load  # noqa: E402
from sparsecore.bench.trained import measure, table  # noqa: E402
from sparsecore.bench.trained.finetune import Config, accuracy, finetune, logits_of  # noqa: E402
from sparsecore.bench.trained.images import Images, augmented, from_digits  # noqa: E402
from sparsecore.timing import Timing  # noqa: E402


def once(contenders: Mapping[str, Callable[[], object]]) -> dict[str, Timing]:
    for call in contenders.values():
        call()
    sparse = {name for name in contenders if name in {"csr", "sparse"}}
    return {n: Timing(1.0 if n in sparse else 2.0, 1.0, 3.0, 1) for n in contenders}


@pytest.fixture(scope="module")
def digits() -> Images:
    return from_digits().first(16, 40)


@pytest.fixture(scope="module")
def networks(digits: Images) -> tuple[Any, Any, list[str]]:
    dense, _ = load(NETWORKS["resnet20"], seed=0)
    told: list[str] = []
    pruned = finetune(dense, digits, Config(0.8, epochs=1, batch=8, every=2), told.append)
    return dense, pruned, told


def test_fine_tuning_prunes_exactly_and_leaves_the_trained_network(
    networks: tuple[Any, Any, list[str]], digits: Images
) -> None:
    dense, pruned, told = networks
    weights = [p for p in pruned.parameters() if p.ndim > 1]
    count = sum(w.numel() for w in weights)
    assert sum(int(w.count_nonzero()) for w in weights) == count - round(0.8 * count)
    assert told[0].startswith("epoch 1: 80.00% zeros")
    again, _ = load(NETWORKS["resnet20"], seed=0)
    for name, tensor in again.state_dict().items():
        assert torch.equal(tensor, dense.state_dict()[name]), name
    right = [
        int(y) == int(t)
        for y, t in zip(logits_of(dense, digits.x_test).argmax(1), digits.y_test, strict=True)
    ]
    assert accuracy(dense, digits.x_test, digits.y_test) == sum(right) / 40


def test_pictures_are_shifted_and_mirrored() -> None:
    x = torch.arange(1.0, 1 + 64 * 3 * 32 * 32).view(64, 3, 32, 32)
    found = augmented(x, torch.Generator().manual_seed(0))
    places = {(row, column) for row in range(9) for column in range(9)}
    seen = set()
    for before, after in zip(torch.nn.functional.pad(x, (4, 4, 4, 4)), found, strict=True):
        windows = {(r, c): before[:, r : r + 32, c : c + 32] for r, c in places}
        fits = {
            (place, mirrored)
            for place, window in windows.items()
            for mirrored in (False, True)
            if torch.equal(window.flip(-1) if mirrored else window, after)
        }
        assert len(fits) == 1
        seen |= fits
    assert len(seen) > 40
    assert {mirrored for _, mirrored in seen} == {False, True}


def test_a_document_says_that_predictions_are_the_same_and_what_they_cost(
    networks: tuple[Any, Any, list[str]], digits: Images
) -> None:
    dense, pruned, _ = networks
    document: Any = json.loads(
        json.dumps(
            measure.document(
                dense,
                {"resnet20-80": (pruned, {"epochs": 1})},
                digits,
                once,
                chooser=once,
                batches=(2,),
                protocol={"threads": 1},
            )
        )
    )
    (row,) = document["rows"]
    assert row["sparsity"] == pytest.approx(0.8, abs=1e-5)
    assert row["macs"]["dense"] == pytest.approx(40.6e6, rel=2e-3)  # He et al., section 4.2
    assert row["macs"]["kept"] < row["macs"]["dense"]
    assert row["file_bytes"]["sparse"] < 0.5 * row["file_bytes"]["dense"]
    (found,) = row["batches"]
    assert found["differing_predictions"] == 0
    assert found["largest_logit_difference"] <= 1e-4 * found["largest_logit"]
    assert "csr" in found["choices"].values()
    assert set(found["seconds"]) == {"sparsecore", "torch eager", "torch folded, channels_last"}
    text = table.markdown(document)
    assert "| resnet20-80 | 2 | 2e+03 ms | 2e+03 ms | 2e+03 ms | 1.00 |" in text


def test_other_predictions_end_a_run(
    networks: tuple[Any, Any, list[str]], digits: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    dense, pruned, _ = networks
    outputs = iter([logits_of(pruned, digits.x_test), logits_of(pruned, digits.x_test).roll(1, 1)])
    monkeypatch.setattr(measure, "logits_of", lambda *_: next(outputs))
    with pytest.raises(WrongResult, match="40 of 40 predictions"):
        measure.measure_network(dense, pruned, digits, once, once, (2,))
