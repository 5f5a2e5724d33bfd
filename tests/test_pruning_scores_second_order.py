"""OBD and GraSP against whole Hessians, the Fisher information against a loop over samples."""

from __future__ import annotations

import pytest

from sparsecore.pruning import scores

torch = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional

from score_cases import (  # noqa: E402
    cut,
    joined,
    named,
    samples,
    two_layers,
    written_out,
)

hessian = torch.autograd.functional.hessian


# ---- OBD ----


@pytest.mark.parametrize("sizes", [(9,), (6, 2, 1)])
def test_exact_obd_is_the_diagonal_of_the_hessian(sizes):
    model, data = two_layers(), samples(9)
    loss, flat = written_out(model, data)
    diagonal = hessian(loss, flat).diagonal()
    assert (diagonal < 0).any()
    keywords = {"model": model, "batches": cut(data, *sizes), "exact": True}
    found = joined(scores.obd(named(model), **keywords))
    torch.testing.assert_close(found, diagonal.abs() * flat**2, rtol=1e-10, atol=1e-14)
    clipped = joined(scores.obd(named(model), **keywords, clip=True))
    torch.testing.assert_close(clipped, diagonal.clamp(min=0) * flat**2, rtol=1e-10, atol=1e-14)


def test_exact_obd_of_some_layers_and_of_a_linear_loss():
    model, data = two_layers(), samples(9)
    loss, flat = written_out(model, data)
    expected = (hessian(loss, flat).diagonal().abs() * flat**2)[12:]
    last = {"2.weight": model[2].weight}
    found = joined(scores.obd(last, model=model, batches=[data], exact=True))
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-14)

    def linear(outputs, targets):  # noqa: ARG001
        return outputs.mean()

    found = scores.obd(last, model=model, batches=[data], loss=linear, exact=True)["2.weight"]
    assert not found.any()


def test_exact_obd_refuses_large_nets():
    model, data = two_layers(), samples(2)
    with pytest.raises(ValueError, match="pass for each of 24 weights, limit is 23; give fewer"):
        scores.obd(named(model), model=model, batches=[data], exact=True, limit=23)
    assert scores.obd(named(model), model=model, batches=[data], exact=True, limit=24)
    large = nn.Linear(101, 100, bias=False)
    batch = torch.zeros(1, 101), torch.zeros(1, dtype=torch.int64)
    with pytest.raises(ValueError, match="10100 weights, limit is 10000"):
        scores.obd(named(large), model=large, batches=[batch], exact=True)


@pytest.mark.parametrize("sizes", [(9,), (6, 2, 1)])
def test_obd_is_fisher_information_of_single_samples(sizes):
    model, (x, y) = two_layers(), samples(9)
    weights = list(named(model).values())
    total = 0.0
    for i in range(9):
        loss = F.cross_entropy(model(x[i : i + 1]), y[i : i + 1])
        gradient = torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, weights)])
        total = total + gradient**2
    flat = joined(named(model))
    found = scores.obd(named(model), model=model, batches=cut((x, y), *sizes))
    torch.testing.assert_close(joined(found), total / 9 * flat**2, rtol=1e-12, atol=0)
    # Not the square of the mean gradient, which is near zero where training has ended.
    mean = torch.autograd.grad(F.cross_entropy(model(x), y), weights)
    square = torch.cat([g.reshape(-1) for g in mean]) ** 2
    assert (joined(found) > square * flat**2).all()


# ---- GraSP ----


@pytest.mark.parametrize("sizes", [(9,), (6, 2, 1)])
@pytest.mark.parametrize("temperature", [200.0, 1.0])
def test_grasp_is_weights_times_hessian_times_gradient(sizes, temperature):
    model, data = two_layers(), samples(9)
    loss, flat = written_out(model, data, temperature=temperature)
    gradient = torch.autograd.functional.jacobian(loss, flat)
    expected = flat * (hessian(loss, flat) @ gradient)
    assert (expected < 0).any()
    assert (expected > 0).any()
    options = {} if temperature == 200 else {"temperature": temperature}
    found = scores.grasp(named(model), model=model, batches=cut(data, *sizes), **options)
    scale = float(expected.abs().max())
    torch.testing.assert_close(joined(found), expected, rtol=1e-9, atol=1e-12 * scale)


def test_grasp_has_the_same_dropout_in_both_passes():
    plain, (x, y) = two_layers(), samples(9)
    model = nn.Sequential(plain[0], plain[1], nn.Dropout(0.5), plain[2]).double()

    def drawing():
        torch.rand(3)  # as a loader that shuffles does
        yield x, y

    torch.manual_seed(3)
    found = scores.grasp(named(model), model=model, batches=drawing())
    torch.manual_seed(3)
    hidden = F.dropout(torch.ones(9, 4, dtype=torch.float64), 0.5)
    loss, flat = written_out(model, (x, y), temperature=200, hidden=hidden)
    expected = flat * (hessian(loss, flat) @ torch.autograd.functional.jacobian(loss, flat))
    scale = float(expected.abs().max())
    torch.testing.assert_close(joined(found), expected, rtol=1e-9, atol=1e-12 * scale)


def test_grasp_refuses_what_a_temperature_cannot_divide():
    class Named(nn.Linear):
        def forward(self, x):
            return {"logits": super().forward(x)}

    model, data = Named(3, 3).double(), samples(4)
    with pytest.raises(TypeError, match="model returns dict, which temperature=200 cannot divide"):
        scores.grasp(named(model), model=model, batches=[data])
    for temperature in (0, -1, float("nan")):
        with pytest.raises(ValueError, match=r"grasp: temperature is .*, expected .* above 0"):
            scores.grasp(named(model), model=model, batches=[data], temperature=temperature)

    def own(outputs, targets):
        return F.cross_entropy(outputs["logits"] / 200, targets)

    found = scores.grasp(named(model), model=model, batches=[data], loss=own, temperature=1)
    plain = nn.Linear(3, 3).double()
    plain.load_state_dict(model.state_dict())
    expected = scores.grasp(named(plain), model=plain, batches=[data])
    assert torch.equal(found["weight"], expected["weight"])


def test_attention_is_differentiated_twice():
    class Attention(nn.Linear):
        def forward(self, x):
            q = super().forward(x).reshape(len(x), 1, 2, 2)
            return F.scaled_dot_product_attention(q, q, q).mean(1)[:, 0]

    torch.manual_seed(0)
    model = Attention(6, 4)
    batch = torch.randn(4, 6), torch.tensor([0, 1, 1, 0])
    for found in (
        scores.grasp(named(model), model=model, batches=[batch]),
        scores.obd(named(model), model=model, batches=[batch], exact=True),
    ):
        assert found["weight"].abs().sum() > 0
