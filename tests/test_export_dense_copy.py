"""export/dense_copy.py: plain layers that compute the same, and a model that stays as it was."""

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn.utils import parametrizations, parametrize, prune  # noqa: E402

import sparsecore as sc  # noqa: E402
from export_cases import converted, prune_  # noqa: E402
from sparsecore.export.dense_copy import dense_copy  # noqa: E402
from sparsecore.nn.sparse_layer import SparseLayer  # noqa: E402


def test_sparse_layers_keep_what_was_fused_to_them():
    model, x = converted()
    plain = dense_copy(model)
    assert not any(isinstance(m, SparseLayer) for m in plain.modules())
    assert all(isinstance(model[i], SparseLayer) for i in (0, 3, 6, 8))
    with torch.no_grad():
        torch.testing.assert_close(plain(x), model(x), rtol=0, atol=1e-5)


def test_a_model_that_is_one_sparse_layer():
    linear = prune_(nn.Linear(8, 4))
    plain = dense_copy(sc.nn.CSRLinear.from_dense(linear))
    assert torch.equal(plain.weight, linear.weight)
    assert torch.equal(plain.bias, linear.bias)


def test_a_layer_in_two_places_stays_one():
    layer = sc.nn.CSRLinear.from_dense(prune_(nn.Linear(4, 4)))
    plain = dense_copy(nn.Sequential(layer, nn.ReLU(), layer))
    assert plain[0] is plain[2]


@pytest.mark.parametrize("values", ["bfloat16", "int8"])
def test_narrow_values_are_widened(values):
    layer = sc.nn.CSRLinear.from_dense(prune_(nn.Linear(8, 4)), values=values)
    assert torch.equal(dense_copy(layer).weight, layer.to_dense().weight)


def test_masks_and_parametrizations_are_carried_out():
    masked = prune.l1_unstructured(nn.Linear(8, 4), "weight", amount=0.5)
    prune.random_unstructured(masked, "bias", amount=1)
    model = nn.Sequential(masked, parametrizations.weight_norm(nn.Linear(4, 4)))
    x = torch.rand(3, 8)
    before, state = model(x), {k: v.clone() for k, v in model.state_dict().items()}
    plain = dense_copy(model)
    torch.testing.assert_close(plain(x), before)
    assert {type(m.weight) for m in plain} == {nn.Parameter}
    assert int((plain[0].weight == 0).sum()) == 16
    assert prune.is_pruned(masked)
    assert parametrize.is_parametrized(model[1])
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())


def test_it_shares_no_memory_and_is_in_evaluation_mode():
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout()).train()
    plain = dense_copy(model)
    assert model.training
    assert not any(m.training for m in plain.modules())
    assert plain[0].weight.data_ptr() != model[0].weight.data_ptr()
