"""How `prune_blocks` calls blocks: each with its own arguments, whatever it returns."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")
nn = torch.nn

from sparsecore.pruning import NM, prune_blocks  # noqa: E402


class Scaled(nn.Module):
    """Takes a number of its own, and returns a tuple."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale, self.fc = scale, nn.Linear(8, 8)

    def forward(self, hidden_states: Any, *, scale: Any, shift: Any) -> tuple[Any, str]:
        return hidden_states + scale * self.fc(hidden_states + shift), "weights"


class Conv1D(nn.Module):
    """A linear layer as GPT-2 has it: its weight is (in, out)."""

    def __init__(self, nf: int, nx: int) -> None:
        super().__init__()
        self.nf = nf
        self.weight = nn.Parameter(torch.randn(nx, nf))

    def forward(self, x: Any) -> Any:
        return x @ self.weight


class Caller(nn.Module):
    def __init__(self, between: str = "nothing") -> None:
        super().__init__()
        self.layers = nn.ModuleList(Scaled(s) for s in (1.0, -3.0, 1.0))
        self.between = between

    def forward(self, x: Any, *, shift: Any) -> Any:
        for block in self.layers:
            cache = {"scale": object()} if self.between == "cache" else {"scale": block.scale}
            x, _ = block(hidden_states=x, shift=shift, **cache)
            if self.between == "scaled":
                x = 2 * x
            if self.between == "left":
                break
        return x


def call(model: Any, **changes: Any) -> Any:
    x = torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(1))
    given = {"x": x, "shift": torch.full((3, 1), 0.5)}
    options = {"blocks": "layers", "sparsity": 0.5, "method": "wanda", "sequence_length": 3}
    return prune_blocks(model, [given], **(options | changes))


def test_each_block_gets_its_own_keywords_and_tuples_are_understood():
    torch.manual_seed(0)
    model = Caller()
    x = torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(1))
    last = model.layers[2].fc.weight.detach().clone()
    call(model)
    with torch.no_grad():
        for block, scale in zip(model.layers[:2], (1.0, -3.0), strict=True):
            x = block(x, scale=scale, shift=0.5)[0]
    score = last.abs() * (x + 0.5).flatten(0, 1).norm(dim=0)
    kept = score.argsort(-1, descending=True).argsort(-1) < 4
    assert torch.equal(model.layers[2].fc.weight, last * kept)


def test_the_weight_of_gpt2s_linear_layers_is_turned():
    model = nn.Sequential(nn.Sequential(Conv1D(6, 8)))
    turned = nn.Sequential(nn.Sequential(nn.Linear(8, 6, bias=False)))
    turned[0][0].weight.data = model[0][0].weight.detach().T.clone()
    x = torch.randn(4, 5, 8)
    for method in ("sparsegpt", "wanda", "magnitude"):
        for each in (model, turned):
            options = {"method": method, "sequence_length": 5, "pattern": NM(2, 4)}
            prune_blocks(each, [x], blocks="0", sparsity=0.5, **options)
        torch.testing.assert_close(model[0][0].weight, turned[0][0].weight.T)
