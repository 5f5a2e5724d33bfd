"""What the drivers of sparse training refuse, and that the model is then as it was."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import pytest

torch = pytest.importorskip("torch")
nn = torch.nn

import sparsecore as sc  # noqa: E402
from masked_cases import row_mask, row_of, step_with  # noqa: E402
from sparsecore.pruning import SET, RigL, TopKAST  # noqa: E402

MASK = torch.tensor([[True, True, True, False]] * 4)
DRIVERS = [SET, RigL, TopKAST]


def net() -> Any:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))


def driver(kind: Any, model: Any = None, **options: Any) -> Any:
    model = net() if model is None else model
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    options.setdefault("masks", {"0.weight": MASK, "1.weight": MASK})
    steps = {} if kind is TopKAST else {"total_steps": 9}
    return kind(model, sgd, **(steps | options))


@pytest.mark.parametrize(
    ("kind", "options", "error", "message"),
    [
        (SET, {"alpha": "x"}, ValueError, "alpha is 'x', expected 0 to 1"),
        (SET, {"generator": 0}, TypeError, r"generator is int, expected a torch\.Generator"),
        (RigL, {"memory": 2.5}, ValueError, "memory is 2.5, expected bytes"),
        (TopKAST, {"active": None}, ValueError, "active is None, expected above 0"),
        (TopKAST, {"penalty": "x"}, ValueError, "penalty is 'x', expected at least 0"),
    ],
)
def test_arguments_of_other_kinds(kind: Any, options: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=f"^{kind.__name__}: {message}"):
        driver(kind, **options)


def test_a_model_or_an_optimizer_of_another_kind() -> None:
    model = net()
    sgd = torch.optim.SGD(model.parameters())
    with pytest.raises(TypeError, match="SET: model is int, expected a torch Module"):
        SET(3, sgd, total_steps=9)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="TopKAST: optimizer is NoneType, expected a torch Opt"):
        TopKAST(model, None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"'0\.weight' or its mask is on the meta device"):
        driver(RigL, net().to("meta"))


def test_top_kast_refuses_nan_before_it_sets_anything_aside() -> None:
    model = net()
    with torch.no_grad():
        model[1].weight[2, 1] = math.nan
    before = [p.detach().clone() for p in model.parameters()]
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(ValueError, match=r"TopKAST: values of 1\.weight has 1 NaN"):
        TopKAST(model, sgd, masks={"0.weight": MASK, "1.weight": MASK})
    for parameter, old in zip(model.parameters(), before, strict=True):
        torch.testing.assert_close(parameter.detach(), old, rtol=0, atol=0, equal_nan=True)
    with torch.no_grad():
        model[1].weight[2, 1] = 0.5
    # Nothing of the one before is left on the optimizer, which would refuse another.
    assert TopKAST(model, sgd, masks={"1.weight": MASK}).active() == {"1.weight": 6}


def test_top_kast_refuses_a_sparse_gradient_before_it_wakes_anything() -> None:
    model = nn.ModuleDict({"fc": nn.Linear(4, 4), "table": nn.Embedding(4, 4, sparse=True)})
    top = driver(TopKAST, model, masks={"fc.weight": MASK, "table.weight": MASK})
    before = model["fc"].weight.detach().clone()
    model["fc"](model["table"](torch.tensor([1]))).sum().backward()
    with pytest.raises(ValueError, match=r"gradient of table\.weight has layout torch.sparse_coo"):
        top._optimizer.step()
    assert torch.equal(model["fc"].weight.detach(), before)


def test_the_penalty_of_a_density_whose_inverse_is_beyond_float16() -> None:
    layer = nn.Linear(200_000, 1, bias=False).half()
    mask = torch.zeros(1, 200_000, dtype=torch.bool)
    mask[0, :3] = True
    with torch.no_grad():
        layer.weight.zero_()[0, :2] = torch.tensor([1.0, 0.5])
    sgd = torch.optim.SGD(layer.parameters(), lr=0.01)
    TopKAST(layer, sgd, active=0.3, penalty=1e-4, masks={"weight": mask})
    layer.weight.grad = torch.zeros_like(layer.weight)
    sgd.step()
    # 1 of 200,000 is in A: the gradients are 1e-4, 1e-4 * 200,000 and 0.
    assert layer.weight.count_nonzero() == 1
    assert layer.weight[0, 0].item() == pytest.approx(1 - 1e-6, rel=2**-11)


@pytest.mark.parametrize("kind", DRIVERS)
def test_a_driver_is_neither_copied_nor_pickled(kind: Any) -> None:
    found = driver(kind)
    for act in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match=f"{kind.__name__}: cannot be copied or pickled"):
            act(found)


@pytest.mark.parametrize("kind", DRIVERS)
def test_states_that_lack_something_change_nothing(kind: Any) -> None:
    source = driver(kind)
    other = {name: ~mask for name, mask in source.masks.items()}
    full = {**source.state_dict(), "masks": other, "step": 5}
    target = driver(kind)
    before = copy.deepcopy(target.state_dict())
    wrong = [({**full, "step": step}, f"step is {step!r}") for step in (-1, 2.5, "5", True)]
    wrong += [
        ({k: v for k, v in full.items() if k != name}, f"state has no {name}")
        for name in full
        if name != "masks"
    ]
    wrong += [({**full, "masks": [1]}, "masks are a list")]
    if kind is SET:
        wrong += [({**full, "generator": torch.zeros(3)}, "generator is no state")]
    if kind is TopKAST:
        short = {name: x[:1] for name, x in full["resting"].items()}
        wrong += [({**full, "resting": short}, "resting are"), ({**full, "active": {}}, "active")]
    for state, message in wrong:
        with pytest.raises(ValueError, match=rf"^{kind.__name__}\.load_state_dict: {message}"):
            target.load_state_dict(state)
        torch.testing.assert_close(target.state_dict(), before, rtol=0, atol=0)
    with pytest.raises(TypeError, match="load_state_dict: state is NoneType, expected"):
        target.load_state_dict(None)


def test_a_mask_update_of_a_convolution_behind_an_empty_batch() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 3, 3))
    counts = sc.nn.sparse_init_(model, 0.5)
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    dst = RigL(model, sgd, total_steps=9, every=1)
    model(torch.rand(0, 2, 5, 5)).sum().backward()
    sgd.step()
    assert (dst.step, dst.nnz()) == (1, counts)


def test_optimizer_state_of_what_is_grown_under_a_driver_that_was_resumed() -> None:
    layer = row_of([4.0, 3, 2, 1, 0, 0, 0, 0])
    sgd = torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9)
    dst = RigL(layer, sgd, total_steps=9, every=2, alpha=1.0, masks=row_mask([1] * 4 + [0] * 4))
    step_with(sgd, layer, [1.0] * 8)
    dst.load_state_dict(dst.state_dict())
    step_with(sgd, layer, [0.0] * 4 + [9.0, 8, 7, 6])
    # Of 4 entries floor(4 * (1 + cos(pi 2 / 6.75)) / 2) = 3 move to the largest gradients.
    assert dst.masks["weight"].int().tolist() == [[1, 0, 0, 0, 1, 1, 1, 0]]
    assert sgd.state[layer.weight]["momentum_buffer"].tolist() == [[1.0] + [0.0] * 7]
