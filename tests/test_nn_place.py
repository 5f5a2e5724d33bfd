"""What a model's devices decide, of tensors that say they are on devices which are not there."""

import pytest

import sparsecore as sc

torch = pytest.importorskip("torch", reason="torch is not installed")

from torch import nn  # noqa: E402
from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: E402

from sparsecore.nn.place import elapsed_of_place, obstacle_of_place  # noqa: E402


def on(device, layer):
    with FakeTensorMode():
        for name, old in list(layer.named_parameters()):
            setattr(layer, name, nn.Parameter(torch.empty(old.shape, device=device)))
    return layer


def test_layers_elsewhere_stay_with_the_reason():
    linear, conv = on("cuda:1", nn.Linear(3, 2)), on("cuda:1", nn.Conv2d(1, 1, 1))
    assert obstacle_of_place(conv) == (
        "its weight is on cuda:1, where convolutions have no sparse kernel"
    )
    reason = sc.cuda.reason()
    assert obstacle_of_place(linear) == (
        f"its weight is on cuda:1, and {reason}" if reason else None
    )
    assert obstacle_of_place(nn.Linear(3, 2)) is None
    assert obstacle_of_place(nn.Linear(3, 2, device="meta")) == (
        "its weight is on meta, and the kernels run on the CPU and on CUDA"
    )


def test_several_devices_have_no_clock():
    parts = on("cuda:0", nn.Linear(3, 2)), on("cuda:1", nn.Linear(2, 2))
    with pytest.raises(ValueError, match="sparsify_: the model lies on cuda:0 and cuda:1"):
        elapsed_of_place(nn.Sequential(*parts), caller="sparsify_")
    with pytest.raises(ValueError, match="lies on cpu and cuda:1, expected one device"):
        elapsed_of_place(nn.Sequential(parts[1], nn.Linear(2, 2)), caller="sparsify_")
    assert elapsed_of_place(nn.Sequential(nn.Linear(2, 2)), caller="sparsify_") is None
    assert elapsed_of_place(parts[0], caller="sparsify_") is not None
