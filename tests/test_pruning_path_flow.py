"""Paths through what lies between layers: norms, pools, groups, sums, gates and attention."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")
nn = torch.nn

from sparsecore.pruning import audit, prune, scores  # noqa: E402
from sparsecore.pruning.path_flow import on_a_path  # noqa: E402


class Residual(nn.Module):
    """A convolution network with all that lies between layers: norms, pools, groups, a sum."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.depthwise = nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False)
        self.branch = nn.Conv2d(4, 4, 1)
        self.up = nn.ConvTranspose2d(4, 3, 2, stride=2)
        self.layer_norm, self.head = nn.LayerNorm(3), nn.Linear(3, 2)

    def forward(self, x: Any) -> Any:
        x = torch.nn.functional.max_pool2d(self.norm(self.stem(x)).relu(), 2)
        x = x + self.branch(torch.nn.functional.silu(self.depthwise(x)))
        x = self.up(x).amax((2, 3)) * 2 - 1
        return self.head(self.layer_norm(x)).softmax(-1)


def test_convolutions_norms_groups_and_sums() -> None:
    torch.manual_seed(0)
    model = Residual()
    example = torch.randn(1, 2, 8, 8)
    assert audit(model, example).connected == sum(
        p.numel() for p in model.parameters() if p.ndim > 1
    )
    with torch.no_grad():
        model.norm.weight[0] = 0  # channel 0 goes nowhere
        model.depthwise.weight[1] = 0  # channel 1 goes by the sum only
        model.branch.weight[2] = 0
        model.up.weight[3] = 0  # and channel 3 is not read
        model.layer_norm.weight[2] = 0
    before = {name: value.clone() for name, value in model.state_dict().items()}
    layers = {layer.name: layer for layer in audit(model, example).layers}
    assert layers["stem.weight"].cut_outputs == (0,)
    # Channel 3 is read by the branch, whose channels 0 and 1 are read on.
    assert layers["stem.weight"].connected == 3 * 2 * 9
    assert layers["depthwise.weight"].dead_outputs == layers["depthwise.weight"].dead_inputs == (1,)
    assert layers["depthwise.weight"].cut_outputs == (0, 1)
    assert layers["branch.weight"].connected == 2 * 2  # from 2 and 3, to 0 and 1
    assert layers["branch.weight"].cut_outputs == (2, 3)
    assert layers["up.weight"].dead_inputs == (3,)
    assert layers["up.weight"].cut_outputs == (2,)
    assert layers["head.weight"].cut_inputs == (2,)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.training
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("seed", range(3))
def test_paths_are_where_synflow_scores_are_positive(seed: int) -> None:
    torch.manual_seed(seed)
    conv = nn.Sequential(nn.Conv2d(2, 6, 3, groups=2), nn.ReLU(), nn.Conv2d(6, 8, 2, stride=2))
    head = nn.Sequential(nn.Flatten(), nn.Linear(32, 9), nn.ReLU(), nn.Linear(9, 4))
    model, x = nn.Sequential(conv, head), torch.zeros(1, 2, 6, 6)
    masks = prune(model, 0.9)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.zero_()  # SynFlow's flow has biases, too
    flow = scores.synflow({n: model.get_parameter(n) for n in masks}, model=model, batches=[x])
    paths = on_a_path(model, x, masks)
    connected = sum(int(path.sum()) for path in paths.values())
    assert 0 < connected < sum(int(mask.sum()) for mask in masks.values())
    for name in masks:
        assert torch.equal(paths[name], flow[name] > 0)


class Attention(nn.Module):
    """One head over embedded tokens, with a gate and a tied head."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(5, 4)
        self.q, self.k, self.v = (nn.Linear(4, 4) for _ in "qkv")
        self.gate, self.out = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, tokens: Any, *, scale: Any) -> Any:
        x = self.table(tokens) / scale
        q, k, v = self.q(x), self.k(x), self.v(x)
        mixed = torch.nn.functional.scaled_dot_product_attention(q, k, v)
        return {"logits": self.out(mixed * self.gate(x).sigmoid() - 0.5)}


def test_attention_reads_values_where_no_key_is_left() -> None:
    model = Attention()
    example = {"tokens": torch.tensor([[1, 2, 3]]), "scale": torch.tensor(2.0)}
    with torch.no_grad():
        model.k.weight.zero_()  # all logits are 0, all shares the same
        model.v.weight[1] = 0
        model.out.weight[:, 2] = 0
    layers = {layer.name: layer for layer in audit(model, example).layers}
    connected = {name: layer.connected for name, layer in layers.items()}
    # Queries meet no key. Unit 1 of the values is dead, unit 2 is not read, so nor are its gates.
    expected = {"q": 0, "k": 0, "v": 2 * 4, "gate": 2 * 4, "out": 2 * 2}
    assert connected == {f"{name}.weight": count for name, count in expected.items()}


def test_keys_and_queries_matter_where_both_are_left() -> None:
    example = {"tokens": torch.tensor([[1, 2, 3]]), "scale": torch.tensor(2.0)}
    model = Attention()
    with torch.no_grad():
        model.k.weight[0] = 0
    layers = {layer.name: layer for layer in audit(model, example).layers}
    assert layers["q.weight"].cut_outputs == layers["k.weight"].dead_outputs == (0,)
    assert layers["q.weight"].connected == layers["k.weight"].connected == 3 * 4


def test_a_path_anywhere_in_a_pooling_window_counts() -> None:
    conv = nn.Conv2d(1, 1, 3, padding=1)
    for pool in (nn.MaxPool2d(2), nn.AdaptiveMaxPool2d(1)):
        # Of the 9 weights the first pixel of 2 x 2 sees 4.
        assert audit(nn.Sequential(conv, pool), torch.zeros(1, 1, 2, 2)).connected == 9


def test_what_no_output_depends_on_is_cut() -> None:
    class Constant(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(3, 3)

        def forward(self, x: Any) -> Any:
            self.inner(x)
            return torch.ones(3)

    report = audit(Constant(), torch.zeros(1, 3))
    assert report.connected == 0
    assert report.warnings == (
        "inner.weight: disconnected, none of its 9 weights is on a path from input to output",
    )
