"""reinitialize: the modules' own initialisation, other numbers, the masks kept."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")
nn = torch.nn

from pruner_cases import small_net  # noqa: E402
from sparsecore.pruning import prune, reinitialize  # noqa: E402


def test_it_is_what_a_new_model_of_that_seed_has() -> None:
    generator = torch.Generator().manual_seed(7)
    seed = int(torch.randint(2**62, (), generator=torch.Generator().manual_seed(7)))
    model = small_net()
    with torch.no_grad():
        model[1].running_mean.fill_(3.0)
    state = torch.get_rng_state()
    reinitialize(model, generator=generator)
    assert torch.equal(torch.get_rng_state(), state)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        expected = nn.Sequential(
            nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 10)
        )
    for name, value in expected.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name


def test_masks_stay_and_weights_do_not() -> None:
    model = small_net()
    masks = prune(model, 0.7)
    before = {name: model.get_parameter(name).detach().clone() for name in masks}
    reinitialize(model, masks=masks)
    for name, mask in masks.items():
        weight = model.get_parameter(name).detach()
        assert torch.equal(weight != 0, mask)
        assert not bool((weight == before[name])[mask].any())


def test_without_a_generator_it_is_the_same_each_time_and_with_one_it_is_not() -> None:
    models = [small_net(seed) for seed in range(3)]
    generator = torch.Generator().manual_seed(1)
    reinitialize(models[0])
    reinitialize(models[1])
    assert torch.equal(models[0][4].weight, models[1][4].weight)
    reinitialize(models[0], generator=generator)
    reinitialize(models[2], generator=generator)
    assert not torch.equal(models[0][4].weight, models[2][4].weight)


def test_an_initialisation_of_the_callers() -> None:
    def init(module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            nn.init.constant_(module.weight, 2.0)

    model = small_net()
    conv = model[0].weight.detach().clone()
    reinitialize(model, init=init)
    assert bool((model[4].weight == 2).all())
    assert torch.equal(model[0].weight, conv)


def test_attention_has_its_own() -> None:
    model = nn.TransformerEncoderLayer(8, 2, 16)
    before = {name: p.detach().clone() for name, p in model.named_parameters() if p.ndim > 1}
    reinitialize(model)
    for name, weight in before.items():
        assert not bool((model.get_parameter(name) == weight).any()), name


def test_what_cannot_be_done_changes_nothing() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(3, 3)
            self.gamma = nn.Parameter(torch.ones(3))

    model = nn.Sequential(Scaled())
    before = model[0].linear.weight.detach().clone()
    with pytest.raises(ValueError, match=r"0, a Scaled, has parameters \(gamma\) but no reset_p"):
        reinitialize(model)
    mask = {"0.linear.weight": torch.ones(2, 2, dtype=torch.bool)}
    with pytest.raises(ValueError, match=r"has shape \(2, 2\), the model has shape \(3, 3\)"):
        reinitialize(model, masks=mask, init=lambda _: None)
    with pytest.raises(ValueError, match="the model has no such weight"):
        reinitialize(model, masks={"x": mask["0.linear.weight"]}, init=lambda _: None)
    with pytest.raises(TypeError, match=r"is torch\.float32, expected a tensor of bool"):
        reinitialize(model, masks={"0.linear.weight": before}, init=lambda _: None)
    assert torch.equal(model[0].linear.weight, before)


@pytest.mark.parametrize("wrap", [nn.utils.weight_norm, nn.utils.spectral_norm])
@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")
def test_weights_that_a_hook_computes_are_refused(wrap: Any) -> None:
    model = wrap(nn.Linear(3, 3))
    before = [p.detach().clone() for p in model.parameters()]
    with pytest.raises(ValueError, match=r"computes its weight from \(.*weight_.*expected init="):
        reinitialize(model)
    assert all(map(torch.equal, before, model.parameters()))
    with pytest.raises(TypeError, match=r"generator is int, expected a torch\.Gen"):
        reinitialize(nn.Linear(3, 3), generator=3)
