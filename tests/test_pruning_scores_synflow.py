"""SynFlow: paths one by one, what it conserves, and that layers survive."""

from __future__ import annotations

import itertools

import pytest

from sparsecore.pruning import allocation, prune_mask, scores

torch = pytest.importorskip("torch")
nn = torch.nn

from score_cases import named  # noqa: E402


def test_synflow_is_the_sum_over_the_paths_through_a_weight():
    torch.manual_seed(0)
    sizes = (3, 2, 4, 2)
    layers = [nn.Linear(i, o, bias=False) for i, o in itertools.pairwise(sizes)]
    model = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])
    expected = [torch.zeros(layer.weight.shape, dtype=torch.float64) for layer in layers]
    for path in itertools.product(*map(range, sizes)):
        steps = [(o, i) for i, o in itertools.pairwise(path)]
        product = 1.0
        for layer, step in zip(layers, steps, strict=True):
            product *= abs(layer.weight[step].item())
        for sums, step in zip(expected, steps, strict=True):
            sums[step] += product
    found = scores.synflow(named(model), model=model, batches=[torch.randn(5, 3)])
    for score, sums in zip(found.values(), expected, strict=True):
        assert score.dtype == torch.float64
        torch.testing.assert_close(score, sums, rtol=1e-12, atol=0)


def chain(*, norm: bool = False) -> nn.Sequential:
    torch.manual_seed(0)
    norms = [nn.BatchNorm2d(8)] if norm else []
    return nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1, bias=False),
        *norms,
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Conv2d(8, 4, 3, stride=2, padding=1, groups=2, bias=False),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16, 3, bias=False),
    )


def test_layers_without_biases_have_equal_sums():
    model, x = chain(), torch.randn(2, 2, 8, 8)
    found = scores.synflow(named(model), model=model, batches=[(x, None)])
    positive = chain().double()
    for parameter in positive.parameters():
        parameter.data.abs_()
    flow = float(positive(torch.ones(1, 2, 8, 8, dtype=torch.float64)).detach().sum())
    for score in found.values():
        assert float(score.sum()) == pytest.approx(flow, rel=1e-12)
        assert (score >= 0).all()


def test_batch_norm_is_run_on_its_statistics():
    plain, model = chain(), chain(norm=True).train()
    with torch.no_grad():
        model[1].weight.fill_(-3)
        model[1].running_var.fill_(4)
    x = torch.randn(2, 2, 8, 8)
    without = scores.synflow(named(plain), model=plain, batches=[x]).values()
    factor = 3 / (4 + model[1].eps) ** 0.5
    found = scores.synflow(named(model), model=model, batches=[x])
    for score, other in zip(found.values(), without, strict=True):
        torch.testing.assert_close(score, other * factor, rtol=1e-12, atol=0)
    # A mean adds to what comes after it, and changes no slope of what comes before.
    model[1].running_mean.fill_(-100)
    shifted = scores.synflow(named(model), model=model, batches=[x])
    torch.testing.assert_close(shifted["0.weight"], found["0.weight"], rtol=1e-12, atol=0)


def pruned(model: nn.Sequential, kept_share: float, rounds: int) -> list[int]:
    """Return how many weights of each layer are left; pruned ones stay pruned."""
    weights = {name: w.detach().clone() for name, w in named(model).items()}
    batches = [torch.zeros(1, 20)]
    for k in range(1, rounds + 1):
        score = scores.synflow(weights, model=model, batches=batches)
        counts = allocation.global_(score, 1 - kept_share ** (k / rounds))
        masks = {name: prune_mask(s, counts[name]) for name, s in score.items()}
        weights = {name: w * masks[name] for name, w in weights.items()}
    return list(counts.values())


def test_layers_survive_iterations_and_not_one_step():
    torch.manual_seed(0)
    # The wide layer shares the same sum among the most weights.
    sizes = (20, 100, 100, 4)
    model = nn.Sequential(*(nn.Linear(i, o, bias=False) for i, o in itertools.pairwise(sizes)))
    size = sum(w.numel() for w in model.parameters())
    assert min(pruned(model, 12 / size, rounds=1)) == 0
    left = pruned(model, 12 / size, rounds=100)
    assert sum(left) == 12
    assert min(left) > 0


def test_states_inside_of_a_tuple_become_ones_too():
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = nn.RNN(3, 2, nonlinearity="relu", bias=False, batch_first=True)

        def forward(self, x, state):
            return self.cell(x, state[0])[0]

    model, x = Recurrent(), torch.zeros(1, 1, 3)
    score = scores.synflow(named(model), model=model, batches=[((x, [torch.zeros(1, 1, 2)]), None)])
    # One step from ones: each weight is the only factor of its path.
    for name, weight in named(model).items():
        torch.testing.assert_close(score[name], weight.detach().abs().double(), rtol=0, atol=0)


def test_what_synflow_refuses():
    model = nn.Embedding(5, 3)
    with pytest.raises(ValueError, match="synflow: no input is a floating-point tensor"):
        scores.synflow(named(model), model=model, batches=[torch.zeros(2, 4, dtype=torch.int64)])
    deep = nn.Sequential(*(nn.Linear(2, 2, bias=False) for _ in range(3)))
    huge = {name: torch.full((2, 2), 1e150, dtype=torch.float64) for name in named(deep)}
    with pytest.raises(ValueError, match="sum over all paths is inf, expected a finite float64"):
        scores.synflow(huge, model=deep, batches=[torch.zeros(1, 2)])
    with pytest.raises(TypeError, match=r"batch 0 is tuple of 3, expected a pair \(inputs"):
        scores.synflow(named(deep), model=deep, batches=[(1, 2, 3)])
