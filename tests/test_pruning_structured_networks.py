"""pruning/structured/filters.py on whole networks: VGG-16's published figures, and ResNet-20."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torch_pruning", reason="prune_filters_ needs torch-pruning")

from torch import Tensor, nn  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from shrink_cases import seeded  # noqa: E402
from sparsecore.bench.models.resnet import ResNet20  # noqa: E402
from sparsecore.pruning.structured import prune_filters_  # noqa: E402
from structured_cases import pruned, sizes  # noqa: E402


def vgg16() -> nn.Sequential:
    """Return CIFAR-10's VGG-16 of Li et al.: BatchNorm everywhere, a classifier of 512 and 10."""
    layers: list[nn.Module] = []
    channels = 3
    for width in (64, 64, 0, 128, 128, 0, *(256,) * 3, 0, *(512,) * 3, 0, *(512,) * 3, 0):
        if width:
            conv = nn.Conv2d(channels, width, 3, padding=1)
            layers += [conv, nn.BatchNorm2d(width), nn.ReLU()]
        channels = width or channels
        layers += [] if width else [nn.MaxPool2d(2)]
    head = (nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, 10))
    return nn.Sequential(*layers, nn.Flatten(), *head).eval()


def counted(model: nn.Module, x: Tensor) -> tuple[int, int]:
    """Return the weights of layers, without biases and BatchNorms, and the MACs."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(x)
    weights = sum(m.weight.numel() for m in model if isinstance(m, nn.Conv2d | nn.Linear))
    return weights, counter.get_total_flops() // 2


def test_vgg16_a_of_li_et_al() -> None:
    model, x = vgg16(), torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    convs = [name for name, m in model.named_modules() if isinstance(m, nn.Conv2d)]
    before = counted(model, x)
    assert (round(before[0] / 1e4), round(before[1] / 1e5)) == (1498, 3135)
    report = prune_filters_(model, x, {convs[i]: 0.5 for i in (0, *range(7, 13))})
    after = counted(model, x)
    assert (round(after[0] / 1e4), round(after[1] / 1e5)) == (539, 2063)
    assert round(1000 * (1 - after[1] / before[1])) == 342
    assert (report.macs_before, report.macs_after) == (before[1], after[1])
    widths = [m.out_channels for m in model if isinstance(m, nn.Conv2d)]
    assert widths == [32, 64, 128, 128, *(256,) * 9]


def test_shortcuts_that_move_channels_leave_resnet20s_sums_whole() -> None:
    model = seeded(ResNet20())
    report = pruned(model, 3, 8, 8, sparsity=0.5)
    assert sizes(report)["layer2.1.conv1"] == (32, 16)
    assert "channels change their places" in report.whole["conv1"]
    assert len(report.whole) == 10
