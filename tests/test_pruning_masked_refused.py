"""What the drivers of masked dense weights refuse, by name, before they change anything."""

from __future__ import annotations

import math
from typing import Any

import pytest

torch = pytest.importorskip("torch")
nn = torch.nn

from masked_cases import row_mask, row_of, step_with  # noqa: E402
from sparsecore.pruning import SET, Pruner, RigL, TopKAST  # noqa: E402

HALF = [1, 1, 1, 1, 0, 0, 0, 0]
BOOL = torch.ones(4, 4, dtype=torch.bool)


def net() -> Any:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))


@pytest.mark.parametrize(
    ("masks", "error", "message"),
    [
        ([BOOL], TypeError, "masks is list, expected a mapping"),
        ({}, ValueError, "masks is empty"),
        ({"0.wieght": BOOL}, ValueError, "'0.wieght', which is no parameter .* 0.weight"),
        (
            {"0.weight": BOOL.long()},
            TypeError,
            r"'0.weight' is torch.int64, expected .* torch.bool",
        ),
        ({"0.weight": BOOL.numpy()}, TypeError, "'0.weight' is ndarray, expected a tensor"),
        ({"0.weight": BOOL[:2]}, ValueError, r"'0.weight' has shape \(2, 4\), the .* \(4, 4\)"),
        ({"0.weight": BOOL, "1.weight": BOOL}, ValueError, "'1.weight': the optimizer does not"),
    ],
)
def test_masks_that_do_not_fit(masks: Any, error: Any, message: str) -> None:
    model = net()
    before = [p.clone() for p in model.parameters()]
    sgd = torch.optim.SGD(model[0].parameters())
    with pytest.raises(error, match=f"^SET: .*{message}"):
        SET(model, sgd, total_steps=9, masks=masks)
    assert all(torch.equal(p, old) for p, old in zip(model.parameters(), before, strict=True))


def test_parameters_that_have_no_mask() -> None:
    model = net()
    model[1].weight = model[0].weight
    sgd = torch.optim.SGD(model.parameters())
    with pytest.raises(ValueError, match=r"'1.weight': it is the same parameter as '0.weight'"):
        RigL(model, sgd, total_steps=9, masks={"0.weight": BOOL, "1.weight": BOOL})
    scalar = nn.ParameterDict({"scale": nn.Parameter(torch.tensor(1.0))})
    sgd = torch.optim.SGD(scalar.parameters())
    with pytest.raises(ValueError, match=r"'scale' is 0-D of torch.float32, expected"):
        RigL(scalar, sgd, total_steps=9, masks={"scale": torch.tensor(True)})
    lazy = nn.LazyLinear(4)
    sgd = torch.optim.SGD(lazy.parameters())
    with pytest.raises(ValueError, match="'weight' has no shape yet"):
        RigL(lazy, sgd, total_steps=9, masks={"weight": BOOL})


def test_a_parameter_has_one_driver() -> None:
    model = net()
    sgd = torch.optim.SGD(model.parameters())
    pruner = Pruner(model, sparsity=0.5, optimizer=sgd, where=lambda name, _: name == "0.weight")
    with pytest.raises(ValueError, match=r"'0.weight': another driver .*, a Pruner, works on it"):
        RigL(model, sgd, total_steps=9, masks={"0.weight": BOOL})
    first = TopKAST(model, sgd, masks={"1.weight": BOOL})
    with pytest.raises(ValueError, match=r"'1.weight': another driver .*, a TopKAST, works on it"):
        RigL(model, sgd, total_steps=9, masks={"1.weight": BOOL})
    with pytest.raises(ValueError, match=r"already pruned by another .*: 1\.weight \(TopKAST\)"):
        Pruner(model, sparsity=0.5, optimizer=sgd, where=lambda name, _: name == "1.weight")
    pruner.remove()
    first.remove()
    with RigL(model, sgd, total_steps=9, masks={"0.weight": BOOL, "1.weight": BOOL}) as dst:
        assert dst.nnz() == {"0.weight": 16, "1.weight": 16}


@pytest.mark.parametrize("where", ["weights", "gradient"])
def test_nan_in_a_mask_update_changes_nothing(where: str) -> None:
    layer = row_of([4.0, 3, 2, 1, 0, 0, 0, 0])
    sgd = torch.optim.SGD(layer.parameters(), lr=0.1)
    dst = RigL(layer, sgd, total_steps=9, every=1, masks=row_mask(HALF))
    gradient = [1.0] * 8
    if where == "weights":
        with torch.no_grad():
            layer.weight[0, 1] = math.nan
    else:
        gradient[6] = math.nan
    before = layer.weight.detach().clone()
    subject = "values of" if where == "weights" else "the gradient of"
    with pytest.raises(ValueError, match=f"RigL: {subject} weight has 1 NaN"):
        step_with(sgd, layer, gradient)
    assert dst.step == 0
    assert torch.equal(layer.weight.nan_to_num(9), before.nan_to_num(9))
    assert torch.equal(dst.masks["weight"], row_mask(HALF)["weight"])


def test_steps_that_cannot_be_driven() -> None:
    layer = row_of([1.0] * 8)
    sgd = torch.optim.SGD(layer.parameters())
    dst = SET(layer, sgd, total_steps=9, masks=row_mask(HALF))
    with pytest.raises(ValueError, match=r"SET: optimizer.step got a closure"):
        sgd.step(lambda: torch.zeros(()))
    table = nn.Embedding(4, 4, sparse=True)
    sgd = torch.optim.SGD(table.parameters())
    RigL(table, sgd, total_steps=9, masks={"weight": BOOL})
    table(torch.tensor([1])).sum().backward()
    with pytest.raises(ValueError, match=r"gradient of weight has layout torch.sparse_coo"):
        sgd.step()
    with pytest.raises(TypeError, match="does not support item assignment"):
        dst.masks["weight"] = BOOL  # type: ignore[index]
    with pytest.raises(AttributeError):
        dst.masks = {}  # type: ignore[misc]


@pytest.mark.parametrize("method", [SET, RigL])
def test_states_of_other_masks(method: Any) -> None:
    layer = row_of([1.0] * 8)
    sgd = torch.optim.SGD(layer.parameters())
    dst = method(layer, sgd, total_steps=9, masks=row_mask(HALF))
    state = {**dst.state_dict(), "step": 5}
    wrong = (
        {},
        {"other": row_mask(HALF)["weight"]},
        row_mask([1, 0]),
        {"weight": torch.ones(1, 8)},
    )
    for masks in wrong:
        with pytest.raises(ValueError, match="load_state_dict: masks are"):
            dst.load_state_dict({**state, "masks": masks})
    assert dst.step == 0
    with pytest.raises(ValueError, match="step_flops: dense has no FLOPs of weight"):
        dst.step_flops({}, step=1)
