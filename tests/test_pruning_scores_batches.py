"""The forms of batches, losses of one's own, and as many samples of each class."""

from __future__ import annotations

import functools
from collections import UserDict

import pytest

from sparsecore.pruning import scores

torch = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional

from score_cases import Everything, images, named, samples, two_layers  # noqa: E402
from sparsecore.pruning.scores._batches import read_batches, read_inputs  # noqa: E402

OF_MODELS = [scores.snip, scores.taylor, scores.obd, scores.grasp, scores.synflow]


@pytest.mark.parametrize("score", OF_MODELS)
def test_inputs_are_a_tensor_a_tuple_or_keywords(score):
    model, (x, y) = Everything(), images()
    scale = torch.rand(6, 4) + 0.5
    # One score for all forms; a scale of ones is what synflow makes of any.
    forms = [
        [((x, scale), y)],
        [[[x, scale], y]],
        [({"image": x, "scale": scale}, y)],
        ((UserDict(image=x, scale=scale), y) for _ in range(1)),
    ]
    first, *others = (score(named(model), model=model, batches=batches) for batches in forms)
    for other in others:
        torch.testing.assert_close(other, first, rtol=0, atol=0)
    if score is not scores.synflow:
        without = score(named(model), model=model, batches=[(x, y)])
        assert not torch.equal(without["head.weight"], first["head.weight"])


def test_single_samples_are_taken_from_keywords_and_shared_tensors_go_along():
    shared = torch.rand(2, 3)
    inputs = {"ids": torch.arange(4), "pair": (torch.arange(4) + 10, shared), "flag": True}
    (batch,) = read_batches("t", [(inputs, torch.arange(4) + 20)])
    assert batch.samples == 4
    third = list(batch.samples_of())[2]
    assert third.kwargs["ids"].tolist() == [2]
    assert third.kwargs["pair"][0].tolist() == [12]
    assert third.kwargs["pair"][1] is shared
    assert third.kwargs["flag"] is True
    assert third.targets.tolist() == [22]
    assert third.samples == 1


def test_bare_inputs_are_taken_where_no_targets_are_needed():
    x = torch.rand(3, 2)
    forms = [x, (x, None), [x, x], {"x": x}, ({"x": x}, None)]
    for batch in read_inputs("t", forms):
        assert [*batch.args, *batch.kwargs.values()] == [x]
        assert batch.samples == 3
    with pytest.raises(TypeError, match="t: batch 1 is tuple of 1, expected a pair"):
        list(read_inputs("t", [x, (x,)]))


def test_what_are_no_batches_is_refused():
    model, (x, y) = two_layers(), samples(4)
    used_up = iter([(x, y)])
    next(used_up)
    wrong = [
        ([], ValueError, "snip: batches is empty, expected at least one batch"),
        (used_up, ValueError, "is it a used-up iterator"),
        (x, TypeError, "snip: batches is Tensor, expected an iterable of batches"),
        ({"x": x}, TypeError, "snip: batches is dict, expected an iterable"),
        (3, TypeError, "snip: batches is int, expected an iterable"),
        ([(x, y), x], TypeError, r"batch 1 is Tensor, expected a pair \(inputs, targets\)"),
        ([(x, y, y)], TypeError, "batch 0 is tuple of 3, expected a pair"),
        ([(x[:0], y[:0])], ValueError, "the inputs of batch 0 hold no samples"),
        ([({}, y)], ValueError, "the inputs of batch 0 hold no samples"),
    ]
    for batches, kind, message in wrong:
        with pytest.raises(kind, match=message):
            scores.snip(named(model), model=model, batches=batches)
    for score in OF_MODELS:
        with pytest.raises(ValueError, match="batches is empty"):
            score(named(model), model=model, batches=[])
        with pytest.raises(TypeError, match="batches is NoneType, expected an iterable"):
            score(named(model), model=model, batches=None)


# ---- losses ----


@pytest.mark.parametrize("score", OF_MODELS[:-1])
def test_a_loss_of_ones_own_is_given_what_the_model_returns(score):
    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = two_layers()

        def forward(self, x):
            return UserDict(logits=self.net(x))

    model, data = Wrapped(), samples(5)
    options = {"temperature": 1} if score is scores.grasp else {}
    own = functools.partial(score, named(model), model=model, batches=[data], **options)
    found = own(loss=lambda outputs, targets: F.cross_entropy(outputs["logits"], targets))
    plain = score(named(model.net), model=model.net, batches=[data], **options)
    together = dict(zip(plain, found.values(), strict=True))
    torch.testing.assert_close(together, plain, rtol=0, atol=0)
    with pytest.raises(TypeError, match="model returns UserDict, which cross_entropy does not"):
        own()
    with pytest.raises(ValueError, match=r"loss returned \(\d, 3\), expected a tensor with one"):
        own(loss=lambda outputs, _: outputs["logits"])
    with pytest.raises(ValueError, match="loss returned float, expected a tensor"):
        own(loss=lambda outputs, _: outputs["logits"].sum().item())
    with pytest.raises(ValueError, match="loss has no gradient: it does not depend on the weights"):
        own(loss=lambda outputs, _: outputs["logits"].detach().sum())


# ---- as many of each class ----


def drawn(seed, **options):
    targets = torch.tensor([2, 0, 7] * 30)
    inputs = {"x": torch.arange(90.0), "scale": torch.ones(1)}
    generator = torch.Generator().manual_seed(seed)
    return scores.class_balanced_batches(inputs, targets, generator=generator, **options)


def test_batches_have_as_many_of_each_class():
    first, second = drawn(0)
    for (inputs, targets), count in ((first, 13), (second, 12)):
        assert targets.tolist() == [0] * count + [2] * count + [7] * count
        classes = torch.tensor([2, 0, 7])[inputs["x"].long() % 3]
        assert torch.equal(classes, targets)
        assert inputs["scale"].tolist() == [1.0]
    together = torch.cat([first[0]["x"], second[0]["x"]])
    assert len(together.unique()) == 75


def test_the_generator_alone_decides():
    options = {"per_class": 4, "batches": 1}
    ((one, _),), ((again, _),), ((other, _),) = (drawn(seed, **options) for seed in (1, 1, 2))
    assert torch.equal(one["x"], again["x"])
    assert not torch.equal(one["x"], other["x"])


def test_what_cannot_be_balanced_is_refused():
    x, y, generator = torch.rand(5), torch.tensor([0, 0, 0, 1, 1]), torch.Generator()

    def balanced(targets=y, **options):
        return scores.class_balanced_batches(x, targets, generator=generator, **options)

    with pytest.raises(ValueError, match="class 1 has 2 samples, per_class is 3"):
        balanced(per_class=3)
    with pytest.raises(ValueError, match="batches is 3, per_class 2, expected 1 <= batches"):
        balanced(per_class=2, batches=3)
    with pytest.raises(ValueError, match=r"inputs have shapes \[\(5,\)\], targets 4 samples"):
        balanced(y[:4], per_class=1, batches=1)
    with pytest.raises(TypeError, match="targets is list, expected a tensor of integers"):
        balanced(y.tolist())
    with pytest.raises(
        ValueError, match=r"targets are torch.float32 of shape \(5,\), expected int"
    ):
        balanced(y.float())
