"""The networks that are measured whole: the published sizes, sane activations, trained weights."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from e2e_cases import TINY
from sparsecore.bench.e2e.arguments import MODELS
from sparsecore.bench.e2e.macs import positions
from sparsecore.bench.models import NETWORKS, Network, load
from sparsecore.bench.models.transformer import BertLayer
from sparsecore.bench.models.weights import calibrate_, seeded

MEAN, SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def on_meta(network: Network) -> torch.nn.Module:
    """Build a network without memory for its weights."""
    with torch.device("meta"):
        return network.build().eval()


def parameters(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("name", "count", "shape"),
    [
        ("resnet50", 25_557_032, (2, 1000)),
        ("resnet20", 269_722, (2, 10)),
        ("mobilenetv1", 4_231_976, (2, 1000)),
        ("bert", 12 * 7_087_872, (2, 128, 768)),
        ("mlp", 2 * 4096 * 4097, (2, 4096)),
        ("gpt", 12 * 2048**2 + 13 * 2048, (2, 1, 2048)),
    ],
)
def test_sizes_are_the_published_ones(name: str, count: int, shape: tuple[int, ...]) -> None:
    network = NETWORKS[name]
    model = on_meta(network)
    inputs = [x.to("meta") for x in network.inputs(2, torch.Generator())]
    assert parameters(model) == count
    assert tuple(model(*inputs).shape) == shape


def test_a_bert_layer_has_the_published_size() -> None:
    assert parameters(BertLayer()) == 7_087_872


@pytest.mark.parametrize(
    ("name", "gmac"),
    [("resnet50", 4.089), ("resnet20", 0.0406), ("mobilenetv1", 0.5687), ("mlp", 0.03355)],
)
def test_multiplications_are_the_published_ones(name: str, gmac: float) -> None:
    network = NETWORKS[name]
    model = on_meta(network)
    inputs = [x.to("meta") for x in network.inputs(1, torch.Generator())]
    uses = positions(model, inputs)
    total = sum(n * model.get_submodule(layer).weight.numel() for layer, n in uses.items())
    assert total * 1e-9 == pytest.approx(gmac, rel=2e-3)


def test_every_network_can_be_asked_for_and_its_ends_are_layers_of_it() -> None:
    assert set(MODELS) == set(NETWORKS)
    for network in NETWORKS.values():
        assert set(network.ends) <= {name for name, _ in on_meta(network).named_modules()}


def test_a_seed_gives_the_same_weights_and_leaves_torchs_generator_alone() -> None:
    state = torch.random.get_rng_state()
    one, other = (seeded(TINY.build, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), state)
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name])
    assert not one.training


def test_calibration_gives_batchnorm_the_statistics_of_the_inputs() -> None:
    generator = torch.Generator().manual_seed(0)
    model = seeded(TINY.build, generator)
    inputs = TINY.inputs(64, generator)
    calibrate_(model, inputs)
    y = model.norm(model.stem(*inputs))
    assert not model.training
    assert not model.norm.training
    assert model.norm.momentum == 0.1
    assert y.mean((0, 2, 3)).abs().max() < 1e-5
    assert torch.allclose(y.var((0, 2, 3)), torch.ones(8), atol=1e-3)


def test_activations_neither_die_nor_explode() -> None:
    generator = torch.Generator().manual_seed(0)
    network = NETWORKS["mobilenetv1"]
    model = seeded(network.build, generator)
    small = tuple(x[:, :, :64, :64] for x in network.inputs(4, generator))
    calibrate_(model, small)
    y = model(*small)
    assert 0.1 < float(y.std()) < 10
    # Different inputs have different outputs.
    assert float((y[0] - y[1]).abs().max()) > 0.1


def test_weights_are_random_where_the_trained_ones_are_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPARSECORE_DATA", str(tmp_path))
    assert load(NETWORKS["resnet20"], 0)[1] == "random"


def test_the_trained_resnet20_is_as_accurate_as_it_should_be(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = data_dir / "cifar10" / "cifar10_subset.npz"
    monkeypatch.setenv("SPARSECORE_DATA", str(data_dir))
    if not (file.is_file() and (data_dir / "models" / "resnet20.npz").is_file()):
        pytest.skip("the trained network or its images are not in the external data")
    model, weights = load(NETWORKS["resnet20"], 0)
    with np.load(file) as arrays:
        images, labels = arrays["x_test"], arrays["y_test"]
    x = (images.astype(np.float32) / 255 - np.float32(MEAN)) / np.float32(SPREAD)
    found = model(torch.from_numpy(x.transpose(0, 3, 1, 2).copy())).argmax(1).numpy()
    assert weights == "trained"
    assert np.mean(found == labels) == pytest.approx(0.915, abs=0.003)
