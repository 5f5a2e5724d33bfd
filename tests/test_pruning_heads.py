"""pruning/structured/heads.py: fewer heads give what the masked layer gives."""

import copy
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402
from torch.nn.utils import parametrizations  # noqa: E402

from sparsecore.pruning.structured import prune_heads_  # noqa: E402
from structured_cases import inputs, masked_twin  # noqa: E402


class Attending(nn.Module):
    """One attention layer; queries and keys of different lengths."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.attention = nn.MultiheadAttention(12, 4, dtype=torch.float64, **options)
        with torch.no_grad():
            for parameter in self.parameters():  # torch begins with biases of zero
                parameter.uniform_(-1, 1)

    def forward(self, x: Tensor, y: Tensor, **options: Any) -> Any:
        return self.attention(x, y, 2 * y, **options)


def strength(attention: nn.MultiheadAttention, head: int) -> float:
    """Return the L1 norm of a head's weights, number by number."""
    own = range(3 * head, 3 * head + 3)
    rows = [attention.in_proj_weight[12 * part + i] for part in range(3) for i in own]
    columns = [attention.out_proj.weight[:, i] for i in own]
    return sum(w.abs().sum().item() for w in (*rows, *columns))


X, Y = inputs(1, 2, 5, 12), inputs(2, 2, 7, 12)
PADDING = torch.arange(7) > torch.tensor([[6], [3]])
CAUSAL = torch.ones(5, 7, dtype=torch.bool).triu(2)


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ("batch", {}),
        ("batch", {"key_padding_mask": PADDING}),
        ("batch", {"attn_mask": CAUSAL, "key_padding_mask": PADDING}),
        ("batch", {"attn_mask": torch.where(CAUSAL, -3.0, 0.5).double()}),
        ("tokens", {"key_padding_mask": PADDING}),
        ("one", {"key_padding_mask": PADDING[1], "attn_mask": CAUSAL}),
    ],
)
def test_the_smaller_layer_gives_what_the_masked_one_does(
    shape: str, options: dict[str, Any], need_weights: bool
) -> None:
    model = Attending(batch_first=shape == "batch")
    x, y = (X, Y) if shape == "batch" else (X.transpose(0, 1), Y.transpose(0, 1))
    x, y = (X[1], Y[1]) if shape == "one" else (x, y)
    order = sorted(range(4), key=lambda head: -strength(model.attention, head))
    original = copy.deepcopy(model)
    report = prune_heads_(model, kept={"attention": 3})
    assert report.kept == {"attention": tuple(sorted(order[:3]))}
    assert model.attention.in_proj_weight.shape == (27, 12)
    assert model.attention.out_proj.weight.shape == (12, 9)
    twin = masked_twin(original, report.masks)
    options = {**options, "need_weights": need_weights}
    found, weights = model(x, y, **options)
    expected, _ = twin(x, y, **options)
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)
    assert not torch.allclose(found, original(x, y, **options)[0], rtol=1e-3)
    if need_weights:
        _, by_head = twin(x, y, **options, average_attn_weights=False)
        heads = list(report.kept["attention"])
        mean = by_head.movedim(-3, 0)[heads].mean(0)
        torch.testing.assert_close(weights, mean, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("norm_first", [True, False])
def test_encoders_lose_half_their_heads_and_still_train(norm_first: bool) -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(12, 4, 8, 0.0, batch_first=True, norm_first=norm_first)
    # It begins with nested tensors of padded batches where torch can have them.
    model = nn.TransformerEncoder(layer, 2, enable_nested_tensor=not norm_first).double().eval()
    original = copy.deepcopy(model)
    report = prune_heads_(model, 0.5)
    assert [len(heads) for heads in report.kept.values()] == [2, 2]
    twin = masked_twin(original, report.masks)
    with torch.no_grad():
        for options in ({}, {"src_key_padding_mask": PADDING[:, :5]}):
            expected = twin.train()(X, **options)  # without the kernels of evaluation mode
            torch.testing.assert_close(model(X, **options), expected, rtol=1e-11, atol=1e-11)
    model.train()(X).sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    fresh = prune_heads_(original, 0.5) and original
    fresh.load_state_dict(model.state_dict())
    assert torch.equal(fresh.eval()(X), model.eval()(X))
    masked = nn.TransformerEncoderLayer(12, 4, 8, batch_first=True)
    before = copy.deepcopy(masked.state_dict())
    report = prune_heads_(masked, 0.25, remove=False)
    for name, value in masked.state_dict().items():
        mask = report.masks.get(name, torch.tensor(True))
        assert torch.equal(value, before[name] * mask)


def test_what_stays_whole_and_what_is_refused() -> None:
    model: Any = Attending(kdim=6)
    assert "another width" in prune_heads_(model, 0.5).whole["attention"]
    with pytest.raises(ValueError, match="'attention' cannot lose heads: its keys"):
        prune_heads_(model, kept={"attention": 2})
    model = Attending(add_bias_kv=True)
    assert "a bias" in prune_heads_(model, 0.5).whole["attention"]
    model = Attending()
    model.attention.register_forward_hook(lambda *_: None)
    assert "hooks" in prune_heads_(model, 0.5).whole["attention"]
    model = Attending()
    parametrizations.weight_norm(model.attention, "in_proj_weight")
    assert "parametrized" in prune_heads_(model, 0.5).whole["attention"]
    model = nn.ModuleDict({"a": nn.MultiheadAttention(12, 4), "b": nn.MultiheadAttention(12, 4)})
    model["b"].in_proj_weight = model["a"].in_proj_weight
    assert set(prune_heads_(model, 0.5).whole.values()) == {"another module has its Parameter, too"}
    assert model["b"].in_proj_weight is model["a"].in_proj_weight


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "either sparsity"),
        ({"sparsity": 0.5, "kept": {"attention": 1}}, "either sparsity"),
        ({"sparsity": 1.0}, "sparsity is 1.0"),
        ({"kept": {"x": 1}}, "kept names 'x', expected layers among attention"),
        ({"kept": {"attention": 5}}, "is 5, expected an integer from 1 to 4"),
        ({"sparsity": 0.5, "where": lambda *_: False}, "that where= selects"),
        ({"kept": 3}, "kept is int, expected a mapping"),
        ({"sparsity": 0.5, "where": "attention"}, "where is str, expected a function"),
        ({"sparsity": 0.5, "score": "magnitude"}, "score is 'magnitude', expected a function"),
        ({"sparsity": 0.5, "score": lambda _: {}}, "attention.in_proj_weight got scores of shape"),
        ({"sparsity": 0.5, "score": lambda w: {n: v * torch.nan for n, v in w.items()}}, "432 NaN"),
    ],
)
def test_bad_requests_change_nothing(options: Any, message: str) -> None:
    model = Attending()
    before, layer = copy.deepcopy(model.state_dict()), model.attention
    with pytest.raises((ValueError, TypeError), match=message):
        prune_heads_(model, **options)
    assert model.attention is layer
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_masks_of_each_head_need_one_for_each_that_is_left() -> None:
    model = Attending(batch_first=True)
    prune_heads_(model, 0.5)
    expected = model(X, Y, attn_mask=CAUSAL)[0]
    found = model(X, Y, attn_mask=CAUSAL.expand(4, 5, 7))[0]
    torch.testing.assert_close(found, expected)
    with pytest.raises(ValueError, match="attn_mask has 8 parts, expected one for all, or 2 x 2"):
        model(X, Y, attn_mask=CAUSAL.expand(8, 5, 7))
    with pytest.raises(ValueError, match="is_causal is True, expected attn_mask"):
        model(X, Y, is_causal=True)
    with pytest.raises(ValueError, match="is the attention layer itself"):
        prune_heads_(nn.MultiheadAttention(4, 2), 0.5)
