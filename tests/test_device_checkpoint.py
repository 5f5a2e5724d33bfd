"""Checkpoints of models on a device: saved there, loaded there and on the host."""

import pytest

import sparsecore as sc

torch = pytest.importorskip("torch", reason="torch is not installed")

from torch import nn  # noqa: E402

from chain_cases import conv, linear  # noqa: E402
from linear_layers import generator  # noqa: E402

pytestmark = pytest.mark.gpu


def net():
    return nn.Sequential(linear(16, 20), nn.GELU(), linear(20, 5))


def rows(gpu):
    return torch.randn(6, 16, generator=generator(1)).to(gpu)


@pytest.mark.parametrize("values", [None, "int8", "bfloat16"])
@pytest.mark.parametrize("trainable", [True, False])
def test_a_model_is_saved_and_loaded_there(trainable, values, gpu, tmp_path):
    if trainable and values:
        pytest.skip("narrow values are for running only")
    path, model, x = tmp_path / "model.safetensors", net().to(gpu), rows(gpu)
    sc.nn.sparsify_(model, x, policy="always", trainable=trainable, values=values)
    sc.nn.save_checkpoint(path, model)
    fresh = net().to(gpu)
    for _ in range(2):  # into dense layers, then into sparse ones
        sc.nn.load_checkpoint_(path, fresh)
        assert (fresh(x) == model(x)).all()
        assert repr(fresh) == repr(model)
    state, other = model.state_dict(), fresh.state_dict()
    assert {name: t.device for name, t in state.items()} == {n: t.device for n, t in other.items()}


@pytest.fixture
def of_host(tmp_path):
    """Return files of models that are converted on the host: made before there is a device."""
    pairs = conv(), linear()
    with torch.no_grad():
        pairs[1].weight.mul_(torch.tensor([1.0, 0, 1, 0] * 2))
    made = {
        "net": (net(), rows("cpu"), "always"),
        "csr": (nn.Sequential(pairs[0]), torch.ones(1, 4, 5, 5), {"0": "csr"}),
        "2:4": (nn.Sequential(pairs[1]), torch.ones(2, 8), {"0": "2:4"}),
    }
    for i, (name, (model, x, policy)) in enumerate(made.items()):
        sc.nn.sparsify_(model, x, policy=policy, trainable=False)
        path = tmp_path / f"{i}.safetensors"
        sc.nn.save_checkpoint(path, model)
        made[name] = (path, model(x).detach())
    return made


def test_a_model_of_the_host_is_loaded_there(of_host, gpu):
    path, want = of_host["net"]
    fresh = net().to(gpu)
    sc.nn.load_checkpoint_(path, fresh)
    assert repr(fresh).count("kernel=merge") == 2
    got = fresh(rows(gpu)).detach()
    torch.testing.assert_close(got.cpu(), want, rtol=1e-5, atol=1e-6)


def test_24_of_the_host_is_loaded_there(of_host, gpu):
    path, want = of_host["2:4"]
    fresh = nn.Sequential(linear()).to(gpu)
    sc.nn.load_checkpoint_(path, fresh)
    assert isinstance(fresh[0], sc.nn.Sparse24Linear)
    torch.testing.assert_close(fresh(torch.ones(2, 8).to(gpu)).detach().cpu(), want)


def test_what_has_no_kernel_there_is_refused(of_host, gpu):
    fresh = nn.Sequential(conv()).to(gpu)
    dense, place = fresh[0], fresh[0].weight.device
    with pytest.raises(ValueError, match=f"layer '0' cannot become csr: .* on {place}, where"):
        sc.nn.load_checkpoint_(of_host["csr"][0], fresh)
    assert fresh[0] is dense
