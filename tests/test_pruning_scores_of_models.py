"""What scores leave as it was, and the models and batches that they take."""

from __future__ import annotations

import copy
import functools

import pytest

from sparsecore.pruning import allocation, prune_mask, scores

torch = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional

from score_cases import Everything, cut, images, named, samples, two_layers  # noqa: E402
from sparsecore.pruning import prune  # noqa: E402

ALL = {
    "snip": scores.snip,
    "taylor": scores.taylor,
    "obd": scores.obd,
    "exact obd": functools.partial(scores.obd, exact=True),
    "grasp": scores.grasp,
    "synflow": scores.synflow,
}
every_score = pytest.mark.parametrize("score", ALL.values(), ids=list(ALL))
with_loss = pytest.mark.parametrize(
    "score", [s for n, s in ALL.items() if n != "synflow"], ids=[n for n in ALL if n != "synflow"]
)


def state_of(model):
    """Return all that a caller could see of a model and of torch's random numbers."""
    return {
        "state": {name: value.clone() for name, value in model.state_dict().items()},
        "objects": [id(t) for t in (*model.parameters(), *model.buffers())],
        "requires_grad": [p.requires_grad for p in model.parameters()],
        "gradients": [None if p.grad is None else p.grad.clone() for p in model.parameters()],
        "modes": [module.training for module in model.modules()],
        "random": torch.get_rng_state(),
    }


def disturbed_model():
    """Return a model with gradients, a frozen bias and modules of both modes."""
    model = Everything()
    model(images(seed=4)[0]).square().sum().backward()
    model.head.bias.requires_grad_(False)
    model.norm.eval()
    model.modes.clear()
    return model


def assert_same(after, before):
    # Not equal_nan: nothing is NaN here.
    torch.testing.assert_close(after, before, rtol=0, atol=0)


# ---- nothing is changed ----


@every_score
@pytest.mark.parametrize("training", [True, False])
def test_a_model_is_left_as_it_was(score, training):
    model = disturbed_model()
    model.drop.train(training)
    data = images()
    before = state_of(model)
    found = score(named(model), model=model, batches=cut(data, 4, 2))
    assert_same(state_of(model), before)
    assert list(found) == ["conv.weight", "wide.weight", "head.weight"]
    for name, value in found.items():
        assert value.shape == model.get_parameter(name).shape
        assert not value.requires_grad
        assert value.isfinite().all()
        assert value.any()


@every_score
def test_a_model_that_raises_is_left_as_it_was(score):
    model = disturbed_model()
    batches = cut(images(), 4, 2)
    # Of the second batch; of the first where only that is looked at.
    batches[-1 if score is not scores.synflow else 0] = torch.zeros(2, 3, 4, 4), torch.zeros(2)
    before = state_of(model)
    with pytest.raises(RuntimeError, match="to have 2 channels, but got 3"):
        score(named(model), model=model, batches=batches)
    assert_same(state_of(model), before)


@pytest.mark.parametrize(
    ("score", "training"),
    [
        (scores.snip, True),
        (scores.grasp, True),
        (scores.taylor, False),
        (scores.obd, False),
        (scores.synflow, False),
    ],
)
def test_the_mode_is_the_scores_own(score, training):
    model = Everything().train(not training)
    score(named(model), model=model, batches=[images()])
    assert set(model.modes) == {training}
    assert model.norm.training is not training


def test_a_loader_that_shuffles_takes_no_random_number():
    data = torch.utils.data.TensorDataset(*images())
    loader = torch.utils.data.DataLoader(data, batch_size=4, shuffle=True)
    model = Everything()
    before = state_of(model)
    first, second = (scores.grasp(named(model), model=model, batches=loader) for _ in range(2))
    assert_same(state_of(model), before)
    assert_same(first, second)


@with_loss
@pytest.mark.parametrize("off", [torch.no_grad, torch.inference_mode])
def test_scores_are_computed_where_gradients_are_off(score, off):
    model, batches = two_layers(), [samples(5)]
    expected = score(named(model), model=model, batches=batches)
    with off():
        found = score(named(model), model=model, batches=batches)
        assert not torch.is_grad_enabled()
    assert_same(found, expected)


# ---- models ----


def test_a_tied_weight_gets_the_gradient_of_all_its_uses():
    model, (x, y) = Everything().eval(), images()
    found = scores.taylor(named(model), model=model, batches=[(x, y)])["wide.weight"]
    F.cross_entropy(model(x), y).backward()
    expected = (model.wide.weight.grad * model.wide.weight.detach()) ** 2
    torch.testing.assert_close(found, expected)
    under = {"tied.weight": model.tied.weight}
    assert_same(
        scores.taylor(under, model=model, batches=[(x, y)])["tied.weight"],
        scores.taylor({"wide.weight": model.wide.weight}, model=model, batches=[(x, y)])[
            "wide.weight"
        ],
    )


@every_score
def test_channels_last_is_only_another_order_in_memory(score):
    model = Everything().double()
    last = copy.deepcopy(model).to(memory_format=torch.channels_last)
    x, y = images()
    expected = score(named(model), model=model, batches=[(x.double(), y)])
    x = x.double().contiguous(memory_format=torch.channels_last)
    found = score(named(last), model=last, batches=[(x, y)])
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-15)


def test_weights_that_are_not_the_models_are_refused():
    model, data = Everything(), images()
    right = named(model)
    wrong = [
        ({"other": right["conv.weight"]}, ValueError, "Everything has no parameter 'other'"),
        ({"conv.weight": right["head.weight"]}, ValueError, r"shape \(3, 4\), the model's has"),
        ({**right, "tied.weight": model.tied.weight}, ValueError, "are one parameter of the"),
        ({"conv.weight": [1.0]}, TypeError, "'conv.weight' is list, expected a floating-point"),
        ({"conv.weight": torch.ones(4).int()}, TypeError, "is torch.int32, expected a floating"),
        ([right["conv.weight"]], TypeError, "snip: weights is list, expected a mapping"),
    ]
    for weights, kind, message in wrong:
        with pytest.raises(kind, match=message):
            scores.snip(weights, model=model, batches=[data])
    with pytest.raises(TypeError, match=r"model is function, expected a torch.nn.Module"):
        scores.snip(right, model=lambda x: x, batches=[data])


# ---- with the driver ----


@every_score
def test_prune_takes_a_score_that_is_bound_to_its_model(score):
    model, batches = Everything(), cut(images(), 4, 2)
    expected = score(named(model), model=model, batches=batches)
    bound = functools.partial(score, model=model, batches=batches)
    masks = prune(model, 0.5, score=bound, allocation=allocation.global_)
    counts = allocation.global_(expected, 0.5)
    assert sum(counts.values()) == sum(s.numel() for s in expected.values()) // 2
    for name, mask in masks.items():
        assert torch.equal(mask, prune_mask(expected[name], counts[name]))
