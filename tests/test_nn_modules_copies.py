"""nn/modules.py: copies of the sparse layers, casts, and another device."""

import copy
import pickle
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from linear_layers import DTYPES, KINDS, check_forward, generator, pruned_24  # noqa: E402


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_are_independent(kind: Any, duplicate: Any) -> None:
    layer = kind.from_dense(pruned_24(12, 5))
    x = torch.randn(3, 12, generator=generator(1))
    before = layer(x)
    twin = duplicate(layer)
    assert torch.equal(twin(x), before)
    with torch.no_grad():
        twin.values.zero_()
        twin.bias.zero_()
    assert torch.equal(twin(x), torch.zeros(3, 5))
    assert torch.equal(layer(x), before)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_casts(kind: Any, dtype: Any) -> None:
    linear = pruned_24(12, 5, dtype=torch.float64)
    layer = kind.from_dense(copy.deepcopy(linear))
    x = torch.randn(3, 12, generator=generator(1)).double()
    layer(x)
    layer.to(dtype)
    linear.to(dtype)
    assert layer.values.dtype == dtype
    check_forward(layer, linear, x.to(dtype))
    assert not next(buffer for _, buffer in layer.named_buffers()).is_floating_point()


@pytest.mark.parametrize("kind", KINDS)
def test_another_device_is_an_error_at_use(kind: Any) -> None:
    layer = kind.from_dense(pruned_24(8, 3)).to("meta")
    with pytest.raises(RuntimeError, match=r"on meta, but its kernels run on the CPU.*to_dense"):
        layer(torch.ones(2, 8))
    assert kind.__name__ in repr(layer)
