"""Models, optimizers, scores and allocations that pruning refuses: named, and nothing changes."""

from __future__ import annotations

import copy
import math
import pickle

import pytest

from sparsecore import pruning
from sparsecore.pruning import Iterative, Rewind, scores

torch = pytest.importorskip("torch")
nn = torch.nn


def linears(second=None):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 3))
    if second is not None:
        model[1].weight = second(model)
    return model


def inference(_):
    with torch.inference_mode():
        return nn.Parameter(torch.ones(3, 3))


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        (inference, "made in inference mode"),
        (lambda _: nn.Parameter(torch.ones(1, 3).expand(3, 3)), "entries are one number in memory"),
        (lambda m: nn.Parameter(m[0].weight.data.t()), "has the memory of 0.weight"),
        (lambda _: nn.Parameter(torch.ones(3, 3, device="meta")), "on the meta device"),
        (lambda _: nn.UninitializedParameter(), "no shape yet: call the model once"),
    ],
)
def test_weights_that_zeros_cannot_be_written_to(second, reason):
    model = linears(second)
    before = model[0].weight.detach().clone()
    with pytest.raises(ValueError, match=rf"^prune: 1\.weight .*{reason}"):
        pruning.prune(model, 0.5)
    assert torch.equal(model[0].weight, before)
    assert list(pruning.prune(model, 0.5, where=lambda name, _: name[0] == "0")) == ["0.weight"]


def test_what_is_no_model_or_optimizer():
    for model, found in (
        ([linears()], "list"),
        (nn.Linear, "the class Linear"),
        (None, "NoneType"),
    ):
        with pytest.raises(TypeError, match=f"model is {found}, expected a torch.nn.Module"):
            pruning.prune(model, 0.5)
    for optimizer in (None, torch.optim.SGD):
        with pytest.raises(TypeError, match=r"Pruner: optimizer is .*expected a torch.optim.Opt"):
            pruning.Pruner(linears(), optimizer=optimizer, sparsity=0.5)
    with pytest.raises(ValueError, match=r"no Linear .*; weight is no parameter but computed"):
        pruning.prune(nn.utils.parametrizations.spectral_norm(nn.Linear(3, 3)), 0.5)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"score": lambda _: None}, TypeError, "score returned NoneType, expected a mapping"),
        (
            {"score": lambda ws: {n: w.detach().numpy() for n, w in ws.items()}},
            TypeError,
            r"score: 0\.weight got ndarray, expected a tensor",
        ),
        ({"allocation": lambda *_: [6]}, TypeError, "allocation returned list, expected a mapping"),
        (
            {"allocation": lambda *_: {"0.weight": 6.0, "1.weight": 6}},
            TypeError,
            r"allocation: 0\.weight is 6\.0, a float, expected an integer",
        ),
        (
            {"allocation": lambda *_: {"0.weight": 6, "1.weight": 10}},
            ValueError,
            r"allocation gave 10 for 1\.weight, expected 0 to its 9 weights",
        ),
    ],
)
def test_what_scores_and_allocations_return(options, error, message):
    with pytest.raises(error, match=f"prune: {message}"):
        pruning.prune(linears(), 0.5, **options)


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.float8_e4m3fn])
def test_scores_of_any_real_dtype_go_through_rounds(dtype):
    kept = torch.tensor([[1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0]]).to(dtype)
    model = nn.Linear(4, 3)
    masks = pruning.prune(model, 0.5, score=lambda _: {"weight": kept}, schedule=Iterative(3))
    assert torch.equal(masks["weight"], kept.bool())


def test_survivors_of_the_worst_score_rank_above_what_is_pruned():
    rounds = iter([scores.magnitude, lambda ws: {n: w * 0 - math.inf for n, w in ws.items()}])
    model = nn.Linear(4, 1)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, 2.0, 3.0, 4.0]]))
    pruning.prune(model, 0.75, score=lambda ws: next(rounds)(ws), schedule=Iterative(2))
    assert model.weight.tolist() == [[0.0, 0.0, 3.0, 0.0]]


# ---- the pruner's own state ----


def pruner_of(model, **options):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return pruning.Pruner(model, optimizer=optimizer, sparsity=0.5, **options)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickle.dumps])
def test_copies_whose_masks_would_not_be_in_force_are_refused(copied):
    with pytest.raises(TypeError, match=r"Pruner: cannot be copied .*expected its state_dict\(\)"):
        copied(pruner_of(linears()))
    layer, mask = nn.Linear(2, 2), torch.eye(2, dtype=torch.bool)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    driver = pruning.RigL(layer, optimizer, total_steps=9, every=3, masks={"weight": mask})
    with pytest.raises(TypeError, match="RigL: cannot be copied"):
        copied(driver)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda _: None, TypeError, "state is NoneType"),
        (
            lambda s: {n: v for n, v in s.items() if n != "round"},
            ValueError,
            "the state has no round",
        ),
        (lambda s: s | {"step": -3}, ValueError, "step is -3, expected an integer of at least 0"),
        (lambda s: s | {"masks": None}, ValueError, "masks are NoneType, this model needs"),
        (
            lambda s: s | {"masks": {n: m.float() for n, m in s["masks"].items()}},
            ValueError,
            r"masks are .*torch\.float32",
        ),
        (
            lambda s: s | {"rewind": {}},
            ValueError,
            r"rewind is without \['due', 'rates', 'tensors'",
        ),
        (
            lambda s: s | {"rewind": s["rewind"] | {"tensors": {"model": {"x": 1}}}},
            ValueError,
            r"rewind is of tensors \['x'\]",
        ),
    ],
)
def test_states_that_are_none_change_nothing(change, error, message):
    model = linears()
    pruner = pruner_of(model, schedule=Iterative(2), rewind=Rewind(0))
    rounds = pruner.rounds()
    assert [next(rounds), next(rounds)] == [0, 1]
    before = copy.deepcopy([pruner.state_dict()["masks"], model.state_dict()])
    with pytest.raises(error, match=rf"Pruner\.load_state_dict: {message}"):
        pruner.load_state_dict(change(pruner.state_dict()))
    after = [pruner.state_dict()["masks"], model.state_dict()]
    for old, new in zip(before, after, strict=True):
        assert all(torch.equal(old[name], new[name]) for name in old)


def test_a_pruner_of_empty_weights_has_a_sparsity():
    model = nn.Linear(1, 4)
    model.weight = nn.Parameter(torch.ones(4, 0))
    assert "sparsity 0 of 0.5" in repr(pruner_of(model))
