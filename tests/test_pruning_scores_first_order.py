"""SNIP and Taylor: gradients by hand, batches of any sizes, filters."""

from __future__ import annotations

import numpy as np
import pytest

from sparsecore.pruning import scores

torch = pytest.importorskip("torch")
F = torch.nn.functional

from score_cases import Everything, cut, images, named, samples, two_layers  # noqa: E402


def gradients_by_hand(model, data):
    """Apply the chain rule in numpy, to cross entropy behind one layer of tanh."""
    x, y = (part.numpy() for part in data)
    a, b = (w.detach().numpy() for w in named(model).values())
    hidden = np.tanh(x @ a.T + model[0].bias.detach().numpy())
    logits = hidden @ b.T + model[2].bias.detach().numpy()
    odds = np.exp(logits)
    at_logits = (odds / odds.sum(1, keepdims=True) - np.eye(3)[y]) / len(y)
    at_hidden = (at_logits @ b) * (1 - hidden**2)
    return {"0.weight": at_hidden.T @ x, "2.weight": at_logits.T @ hidden}


@pytest.mark.parametrize("sizes", [(7,), (5, 2), (1, 1, 5)])
def test_snip_is_its_formula_whatever_the_sizes_of_batches(sizes):
    model, data = two_layers(), samples(7)
    found = scores.snip(named(model), model=model, batches=cut(data, *sizes))
    by_hand = gradients_by_hand(model, data)
    products = {n: abs(g * named(model)[n].detach().numpy()) for n, g in by_hand.items()}
    total = sum(p.sum() for p in products.values())
    assert list(found) == ["0.weight", "2.weight"]
    for name, product in products.items():
        np.testing.assert_allclose(found[name], product / total, rtol=1e-12)


def test_snip_runs_on_the_weights_that_it_is_given():
    model, data = two_layers(), samples(7)
    other = two_layers(seed=5)
    other[0].bias, other[2].bias = model[0].bias, model[2].bias
    given = {name: w.detach() for name, w in named(other).items()}
    given["0.weight"][1] = 0  # masked
    found = scores.snip(given, model=model, batches=[data])
    by_hand = gradients_by_hand(other, data)
    products = {n: abs(g * given[n].numpy()) for n, g in by_hand.items()}
    total = sum(p.sum() for p in products.values())
    assert not found["0.weight"][1].any()
    for name, product in products.items():
        np.testing.assert_allclose(found[name], product / total, rtol=1e-12)


def test_snip_where_no_weight_is_felt_is_zero():
    model, data = two_layers(), samples(7)
    weights = {name: torch.zeros_like(w) for name, w in named(model).items()}
    assert not any(s.any() for s in scores.snip(weights, model=model, batches=[data]).values())


def test_taylor_means_the_squares_of_batches():
    model, data = two_layers(), samples(7)
    found = scores.taylor(named(model), model=model, batches=cut(data, 5, 2))
    parts = [gradients_by_hand(model, batch) for batch in cut(data, 5, 2)]
    for name, weight in named(model).items():
        first, second = ((part[name] * weight.detach().numpy()) ** 2 for part in parts)
        np.testing.assert_allclose(found[name], (5 * first + 2 * second) / 7, rtol=1e-12)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_taylor_of_slices_is_the_square_of_their_sum(axis):
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(2, 3, 3), torch.nn.Flatten(), torch.nn.Linear(12, 3)
    )
    weights, (x, y) = {"0.weight": model[0].weight}, images()
    (found,) = scores.taylor(weights, model=model, batches=[(x, y)], axis=axis).values()
    F.cross_entropy(model(x), y).backward()
    change = (model[0].weight.grad * model[0].weight).detach().double()
    others = [a for a in range(4) if a != axis % 4]
    expected = change.sum(others) ** 2
    # Sums of up to 27 float32 numbers that partly cancel.
    torch.testing.assert_close(found.double().sum(others), expected, rtol=1e-4, atol=1e-9)
    assert torch.equal(found.amax(others), found.amin(others))


def test_squares_of_half_weights_do_not_vanish():
    model = torch.nn.Linear(3, 1, bias=False)
    weights = {"weight": torch.tensor([[0.5, -0.25, 1.0]], dtype=torch.float16)}
    batch = torch.ones(1, 3, dtype=torch.float16), None

    def small(outputs, _):
        return outputs.float().sum() * 1e-5

    gradient = torch.tensor(1e-5, dtype=torch.float16).double()
    expected = ((weights["weight"].double() * gradient) ** 2).float()  # exact: of 11 bits each
    assert not expected.half().any()
    for score in (scores.taylor, scores.obd):
        found = score(weights, model=model, batches=[batch], loss=small)["weight"]
        # One more rounding, as OBD squares before it multiplies.
        torch.testing.assert_close(found, expected, rtol=2**-23, atol=0)
    found = scores.snip(weights, model=model, batches=[batch], loss=small)["weight"]
    torch.testing.assert_close(found, torch.tensor([[2.0, 1.0, 4.0]]) / 7, rtol=2**-22, atol=0)


def test_options_of_another_type_are_refused():
    model, data = Everything(), images()
    wrong = [
        (scores.snip, {"loss": "mse"}, "snip: loss is 'mse', a str, expected a function"),
        (scores.grasp, {"loss": "mse"}, "grasp: loss is 'mse'"),
        (scores.grasp, {"temperature": "1"}, "grasp: temperature is '1', expected a number"),
        (scores.taylor, {"axis": "rows"}, "taylor: axis is 'rows', a str, expected an integer or"),
        (scores.obd, {"exact": True, "limit": None}, "obd: limit is None"),
    ]
    for score, options, message in wrong:
        with pytest.raises(TypeError, match=message):
            score(named(model), model=model, batches=[data], **options)
    for options in ({"axis": 0}, {}):
        with pytest.raises(TypeError, match="taylor: weights is list, expected a mapping"):
            scores.taylor([1.0], model=model, batches=[data], **options)
    with pytest.raises(TypeError, match="obd: weights is list, expected a mapping"):
        scores.obd([1.0], model=model, batches=[data], exact=True)
