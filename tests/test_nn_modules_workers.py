"""nn/modules.py: one sparse layer in several processes and threads."""

import copy
import threading
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import conv_layers  # noqa: E402
from linear_layers import KINDS, generator, pruned_24  # noqa: E402
from sparsecore.nn import CSRConv2d  # noqa: E402

ALL_KINDS = pytest.mark.parametrize("kind", [*KINDS, CSRConv2d])


def layer_and_input(kind: Any) -> tuple[Any, Any]:
    """Return a layer, and a single thing that it takes."""
    if kind is CSRConv2d:
        return conv_layers.sparse(padding=1), conv_layers.images(4, 6, 7)
    layer = kind.from_dense(pruned_24(64, 32))
    return layer, torch.randn(64, generator=generator(1))


class _ThroughLayer(torch.utils.data.Dataset):
    def __init__(self, layer: Any, x: Any) -> None:
        self.layer = layer
        self.x = x

    def __len__(self) -> int:
        return 4

    def __getitem__(self, row: int) -> Any:
        with torch.no_grad():
            return self.layer(self.x * row)


@ALL_KINDS
@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_data_loader_workers_run_the_layer(kind: Any, context: str) -> None:
    layer, x = layer_and_input(kind)
    dataset = _ThroughLayer(layer, x)
    layer(torch.stack([x] * 64))  # threads of this process exist before the fork
    loader = torch.utils.data.DataLoader(
        dataset, batch_size=2, num_workers=1, multiprocessing_context=context, timeout=60
    )
    assert torch.equal(torch.cat(list(loader)), torch.stack([dataset[row] for row in range(4)]))


@ALL_KINDS
def test_shared_memory(kind: Any) -> None:
    layer, x = layer_and_input(kind)
    before = layer(x)
    layer.share_memory()
    assert all(tensor.is_shared() for tensor in layer.state_dict().values())
    assert torch.equal(layer(x), before)


@ALL_KINDS
def test_threads_share_a_layer(kind: Any) -> None:
    layer, one = layer_and_input(kind)
    layer._held = None
    x = torch.stack([one] * 16)
    expected = copy.deepcopy(layer)(x).detach()
    results: list[Any] = []

    def work() -> None:
        with torch.no_grad():
            results.extend(layer(x) for _ in range(10))

    workers = [threading.Thread(target=work) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(results) == 80
    assert all(torch.equal(result, expected) for result in results)
