"""Which weights of a model are pruned, and which requests are refused before anything changes."""

from __future__ import annotations

import math

import pytest

from sparsecore import pruning
from sparsecore.pruning import NM, Cubic, OneShot, allocation

torch = pytest.importorskip("torch")
nn = torch.nn

from pruner_cases import small_net  # noqa: E402  (needs torch)


def sgd(model):
    return torch.optim.SGD(model.parameters(), lr=0.1)


# ---- selection ----


def test_biases_and_norms_are_not_pruned():
    model = small_net()
    pruner = pruning.Pruner(model, sparsity=0.9, optimizer=sgd(model))
    assert list(pruner.masks) == ["0.weight", "4.weight"]
    assert bool((model[1].weight == 1).all())
    assert bool((model[4].bias != 0).all())


def test_where_narrows_the_selection():
    model = small_net()
    optimizer = sgd(model[4])
    pruner = pruning.Pruner(
        model, sparsity=0.9, optimizer=optimizer, where=lambda _, weight: weight.ndim == 2
    )
    assert pruner.kept() == {"4.weight": 48}
    assert bool((model[0].weight != 0).all())


def test_parametrized_weights_are_not_taken_for_parameters():
    model = nn.Sequential(nn.Linear(4, 4), nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)))
    assert list(pruning.prune(model, 0.5)) == ["0.weight"]


# ---- refused ----


@pytest.mark.parametrize("sparsity", [-0.1, 1.0, 90, math.nan])
def test_sparsity_out_of_range(sparsity):
    model = small_net()
    optimizer = sgd(model)
    with pytest.raises(ValueError, match=r"prune: sparsity is .*expected a fraction in \[0, 1\)"):
        pruning.prune(model, sparsity)
    with pytest.raises(ValueError, match="Pruner: sparsity is"):
        pruning.Pruner(model, sparsity=sparsity, optimizer=optimizer)


def test_nan_weights_are_refused_by_name_and_nothing_changes():
    model = small_net()
    with torch.no_grad():
        model[4].weight[0, 0] = math.nan
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    told = r"score of 4\.weight has 1 NaN among 480 .*; the weight itself has NaN"
    with pytest.raises(ValueError, match=f"prune: {told}"):
        pruning.prune(model, 0.5)
    optimizer = sgd(model)
    with pytest.raises(ValueError, match=f"Pruner: {told}"):
        pruning.Pruner(model, sparsity=0.5, optimizer=optimizer)
    assert len(optimizer._optimizer_step_post_hooks) == 0
    for name, p in model.named_parameters():
        torch.testing.assert_close(p.detach(), before[name], rtol=0, atol=0, equal_nan=True)


def test_a_score_that_is_nan_of_itself_does_not_blame_the_weights():
    with pytest.raises(ValueError, match=r"NaN has no rank$"):
        pruning.prune(small_net(), 0.5, score=lambda ws: {n: w * math.nan for n, w in ws.items()})


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"schedule": "cubic"}, "schedule is 'cubic', a str, expected OneShot.. or Cubic"),
        ({"schedule": OneShot}, "schedule is .*, a type, expected OneShot"),
        ({"schedule": None}, "schedule is None, a NoneType"),
        ({"allocation": "global"}, "allocation is 'global', a str, expected a function such as"),
        ({"score": "magnitude"}, "score is 'magnitude', a str, expected a function such as"),
        ({"pattern": "2:4"}, r"pattern is '2:4', a str, expected Unstructured.. or NM\(n, m\)"),
        ({"where": "fc1"}, "where is 'fc1', a str, expected a function of"),
    ],
)
def test_parts_of_the_wrong_kind_are_refused_by_name(option, message):
    model = small_net()
    with pytest.raises(TypeError, match=f"Pruner: {message}"):
        pruning.Pruner(model, sparsity=0.5, optimizer=sgd(model), **option)
    if "schedule" not in option:
        with pytest.raises(TypeError, match=f"prune: {message}"):
            pruning.prune(model, 0.5, **option)


def test_an_optimizer_without_the_weights():
    model = small_net()
    optimizer = sgd(model[0])
    with pytest.raises(ValueError, match=r"optimizer does not hold 4\.weight; expected every"):
        pruning.Pruner(model, sparsity=0.5, optimizer=optimizer)


def test_an_empty_selection():
    with pytest.raises(ValueError, match=r"BatchNorm1d has no Linear or Conv weight$"):
        pruning.prune(nn.BatchNorm1d(4), 0.5)
    with pytest.raises(ValueError, match="no Linear or Conv weight that where= selects"):
        pruning.prune(small_net(), 0.5, where=lambda *_: False)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"sparsity": 0.9}, r"sparsity is 0.9, but NM\(n=2, m=4\) has exactly 0.5"),
        ({"allocation": allocation.global_}, "allocation must be uniform"),
        ({"allocation": allocation.erdos_renyi}, "allocation must be uniform"),
        ({"schedule": Cubic(0, 4, 1)}, r"has one sparsity, Cubic\(.*use OneShot"),
    ],
)
def test_nm_combinations_without_meaning(options, reason):
    model = nn.Linear(8, 8)
    optimizer = sgd(model)
    before = model.weight.detach().clone()
    arguments = {"pattern": NM(2, 4), "sparsity": 0.5, "schedule": OneShot()} | options
    with pytest.raises(ValueError, match=reason):
        pruning.Pruner(model, optimizer=optimizer, **arguments)
    assert torch.equal(model.weight, before)


def test_nm_on_rows_narrower_than_a_group():
    with pytest.raises(ValueError, match=r"0\.weight has shape \(3, 1, 3, 3\), narrower than one"):
        pruning.prune(small_net(), 0.5, pattern=NM(2, 4))
    masks = pruning.prune(small_net(), 0.5, pattern=NM(2, 4), where=lambda _, w: w.ndim == 2)
    assert list(masks) == ["4.weight"]


@pytest.mark.parametrize(
    "score",
    [lambda _: {}, lambda weights: {name: weight[:1] for name, weight in weights.items()}],
    ids=["missing", "other shape"],
)
def test_scores_that_do_not_fit_the_weights(score):
    with pytest.raises(ValueError, match=r"score: 0\.weight got scores of shape"):
        pruning.prune(small_net(), 0.5, score=score)
