"""Wanda: scores by norms that are given, and by those of a model's inputs."""

from __future__ import annotations

import numpy as np
import pytest

from golden import golden
from sparsecore.pruning import prune_mask, scores


def test_golden_scores_and_kept_weights():
    entry = golden("wanda.unstructured")
    weight = np.array([entry["input"]["weight"]], float)
    x = np.array(entry["input"]["x"])
    score = scores.wanda({"w": weight}, norms={"w": abs(x)})["w"]
    np.testing.assert_allclose(score, [[100, 20, 3, 0.4]])
    kept = weight.size - round(entry["input"]["sparsity"] * weight.size)
    new = np.where(prune_mask(score, kept), weight, 0)
    np.testing.assert_array_equal(new[0], entry["expected"])


def test_norms_are_over_all_tokens_of_all_batches_with_the_weights_given():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.Dropout(0.9), torch.nn.Linear(5, 3))
    batches = [torch.randn(2, 7, 6), torch.randn(3, 7, 6)]
    mask = torch.rand(5, 6) < 0.5
    weights = {"0.weight": model[0].weight * mask, "2.weight": model[2].weight}
    state = torch.get_rng_state()
    found = scores.wanda(weights, model=model, batches=batches)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert not model[0]._forward_pre_hooks
    x = torch.cat([b.reshape(-1, 6) for b in batches]).double()
    hidden = x @ (model[0].weight * mask).double().T + model[0].bias.double()
    for name, inputs in (("0.weight", x), ("2.weight", hidden)):
        expected = weights[name].double().abs() * inputs.square().sum(0).sqrt()
        assert not found[name].requires_grad
        # 35 squares of float32, and a square root.
        np.testing.assert_allclose(found[name], expected.detach(), rtol=40 * 2.0**-24, atol=1e-6)


def test_batches_may_have_targets_keywords_or_tuples():
    torch = pytest.importorskip("torch")
    model = torch.nn.Linear(3, 2)
    x = torch.randn(4, 3)
    expected = scores.wanda({"weight": model.weight}, model=model, batches=[x])["weight"]
    for batch in ((x, torch.zeros(4)), {"input": x}, ((x,), None), [{"input": x}, None]):
        found = scores.wanda({"weight": model.weight}, model=model, batches=[batch])["weight"]
        assert torch.equal(found, expected)


def test_bad_requests_say_what_is_wrong():
    with pytest.raises(TypeError, match="got none of them, expected norms="):
        scores.wanda({"w": np.ones((2, 2))})
    with pytest.raises(ValueError, match=r"shape \(2, 3\) and norms of shape \(2,\)"):
        scores.wanda({"w": np.ones((2, 3))}, norms={"w": np.ones(2)})
    with pytest.raises(ValueError, match="norms of shape None"):
        scores.wanda({"w": np.ones((2, 3))}, norms={})


def test_bad_models_and_batches_say_what_is_wrong():
    torch = pytest.importorskip("torch")
    net = torch.nn
    model = net.Sequential(net.Conv1d(3, 2, 1), net.Linear(4, 4))
    with pytest.raises(ValueError, match=r"'0.weight' belongs to a Conv1d"):
        scores.wanda(dict(model.named_parameters()), model=model, batches=[])
    linear = {"1.weight": model[1].weight}
    with pytest.raises(ValueError, match=r"'1.weight' got no input"):
        scores.wanda(linear, model=model, batches=[])
    with pytest.raises(TypeError, match="a batch is a int"):
        scores.wanda(linear, model=model, batches=[1])
    with pytest.raises(TypeError, match="batches is Tensor, expected an iterable of batches"):
        scores.wanda(linear, model=model, batches=torch.ones(3, 4))
    with pytest.raises(TypeError, match="got model= of them"):
        scores.wanda(linear, model=model)


def test_arguments_of_other_kinds():
    torch = pytest.importorskip("torch")
    w, norms = np.ones((2, 3)), np.ones(3)
    for weights, given, message in (
        ([w], {"norms": {}}, "weights is list, expected a mapping"),
        ({"fc": w}, {"norms": [norms]}, "norms is list, expected a mapping"),
        ({"fc": [1]}, {"norms": {"fc": norms}}, r"weights\['fc'\] is a list, expected a dense"),
        ({"fc": w}, {"norms": {"fc": [1, 1, 1]}}, r"norms\['fc'\] is a list, expected a dense"),
        ({"fc": w}, {"norms": {"fc": torch.ones(3)}}, "'fc' is a ndarray, its norms a Tensor"),
        (
            {"fc": torch.ones(2, 3)},
            {"norms": {"fc": norms}},
            "'fc' is a Tensor, its norms a ndarray",
        ),
        ({"fc": w}, {"model": 3, "batches": []}, "model is int, expected a torch"),
    ):
        with pytest.raises(TypeError, match=f"wanda: {message}"):
            scores.wanda(weights, **given)
