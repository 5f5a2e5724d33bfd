"""nn/example.py: example inputs of each kind, and that they leave no trace in the model."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn.utils import parametrizations  # noqa: E402

from linear_layers import prune_  # noqa: E402
from sparsecore.nn import CSRLinear, sparsify_  # noqa: E402
from sparsecore.timing import Timing  # noqa: E402
from sparsify_cases import FAST_CSR, FakeTimer, Wrapped  # noqa: E402

# ---- the inputs ----


class Many(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = prune_(nn.Linear(8, 8))

    def forward(self, x: Any, *, y: Any = None) -> Any:
        return self.fc(x if y is None else x + y["z"][0])


@pytest.mark.parametrize(
    "inputs",
    [
        torch.ones(3, 8),
        (torch.ones(3, 8),),
        {"x": torch.ones(3, 8), "y": {"z": [torch.ones(3, 8)]}},
    ],
)
def test_example_inputs_of_each_kind(inputs: Any) -> None:
    report = sparsify_(Many(), inputs, policy="always")
    assert report.layers[0].rows == (3,)


def test_other_example_inputs_are_an_error() -> None:
    with pytest.raises(TypeError, match="example_inputs is a list, expected a tensor, a tuple"):
        sparsify_(Many(), [torch.ones(3, 8)])


def test_the_example_is_not_edited() -> None:
    model = nn.Sequential(nn.ReLU(inplace=True), prune_(nn.Linear(8, 8)))
    x = torch.randn(4, 8)
    before = x.clone()
    sparsify_(model, x, timer=FakeTimer(FAST_CSR))
    assert torch.equal(x, before)


# ---- the model afterwards ----


class Disturbing(nn.Module):
    """Writes to buffers, makes some, counts, draws random numbers, and minds its mode."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(()))
        self.register_buffer("last", None)
        self.fc = prune_(nn.Linear(8, 8))
        self.norm = nn.BatchNorm1d(8)
        # Writes to its buffers whenever its weight is looked at in training mode.
        self.spectral = parametrizations.spectral_norm(nn.Linear(8, 8))
        self.frozen = nn.Dropout().eval()
        self.calls = 0

    def forward(self, x: Any) -> Any:
        self.count += 1
        self.last = x
        self.calls += 1
        self.register_buffer("new", x)
        return self.frozen(self.norm(self.spectral(self.fc(x + torch.rand_like(x)))))


@pytest.mark.parametrize("fails", [False, True])
def test_modes_buffers_and_random_state_are_as_before(fails: bool) -> None:
    model = Disturbing().train()
    model.frozen.eval()
    linear = model.fc
    buffers = {name: tensor.clone() for name, tensor in model.named_buffers()}
    count = model.count

    def timer(contenders: Mapping[str, Callable[[], object]]) -> dict[str, Timing]:
        if fails and "sparse" in contenders:
            contenders["sparse"]()
            raise KeyboardInterrupt
        return FakeTimer(FAST_CSR)(contenders)

    x = torch.randn(4, 8)
    state = torch.get_rng_state()
    if fails:
        with pytest.raises(KeyboardInterrupt):
            sparsify_(model, x, timer=timer)
        assert model.fc is linear
    else:
        sparsify_(model, x, timer=timer)
        assert type(model.fc) is CSRLinear
    assert torch.equal(torch.get_rng_state(), state)
    assert model.count is count
    assert model.last is None
    assert model.calls == 0
    assert not hasattr(model, "new")
    assert {
        name: tensor.tolist() for name, tensor in model.named_buffers() if "fc" not in name
    } == {name: tensor.tolist() for name, tensor in buffers.items()}
    assert (model.training, model.fc.training, model.norm.training) == (True, True, True)
    assert not model.frozen.training


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")
def test_scripted_parts_are_left_alone() -> None:
    scripted = torch.jit.script(nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8)))
    model = nn.Sequential(prune_(nn.Linear(8, 8)), scripted)
    assert sparsify_(model, torch.ones(2, 8), policy="always").choices == {"0": "csr"}
    assert scripted.training


def test_a_forward_that_fails_leaves_the_model_as_it_was() -> None:
    def forward(m: Any, x: Any) -> Any:
        m.fc(x)
        msg = "no such input"
        raise RuntimeError(msg)

    model = Wrapped(forward, fc=prune_(nn.Linear(8, 8)))
    linear = model.fc
    with pytest.raises(RuntimeError, match="no such input"):
        sparsify_(model, torch.ones(2, 8))
    assert model.fc is linear
    assert model.training
