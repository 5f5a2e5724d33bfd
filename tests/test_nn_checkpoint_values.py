"""nn/checkpoint.py: layers whose values are stored narrower."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from safetensors import safe_open  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from torch import nn  # noqa: E402

import sparsecore as sc  # noqa: E402
from stored_cases import FORMS, POLICY, Net, X, converted, rounded  # noqa: E402


@pytest.mark.parametrize("form", FORMS)
def test_checkpoints_keep_the_values_as_they_are_stored(tmp_path: Path, form: Any) -> None:
    path = tmp_path / "m.safetensors"
    net, _ = converted(form)
    size = sc.nn.save_checkpoint(path, net)
    fresh = Net(1).eval()
    sc.nn.load_checkpoint_(path, fresh)
    assert torch.equal(fresh(X), net(X))
    assert repr(fresh) == repr(net)
    sc.nn.load_checkpoint_(path, net)
    assert torch.equal(fresh(X), net(X))
    state = net.state_dict()
    codes = [t for name, t in state.items() if name.endswith((".values", ".scale"))]
    assert size.values == sum(t.nbytes for t in codes)
    assert size.original == sum(t.nbytes for t in Net().state_dict().values())
    checkpoint = sc.load_checkpoint(path)
    for name in POLICY:
        want = rounded(Net().get_submodule(name).weight, form)
        got = checkpoint[f"{name}.weight"]
        assert str(got.dtype) == ("float32" if form == "int8" else form)
        np.testing.assert_allclose(
            got.toarray().astype(np.float64), want.reshape(len(want), -1), rtol=2e-7
        )


def test_a_checkpoint_that_is_not_what_its_header_says_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    net, _ = converted("int8")
    sc.nn.save_checkpoint(path, net)
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    state = load_file(path)
    wrong = {
        "scale of row 2 is 0.0": {
            "one.scale": state["one.scale"].index_fill(0, torch.tensor(2), 0)
        },
        "values are torch.float32": {"two.values": state["two.values"].float()},
        "has shape (3,)": {"conv.scale": torch.ones(3)},
    }
    for message, change in wrong.items():
        save_file({**state, **change}, path, metadata)
        fresh = Net(1).eval()
        with pytest.raises(ValueError, match=message.replace("(", r"\(").replace(")", r"\)")):
            sc.nn.load_checkpoint_(path, fresh)
        assert type(fresh.one) is nn.Linear
        with pytest.raises(ValueError, match=r"layer '\w+': its (scale|values)"):
            dict(sc.load_checkpoint(path))
    sc.nn.save_checkpoint(path, net)
    plain, _ = converted("bfloat16")
    with pytest.raises(ValueError, match="layer 'conv' has the dtype and scale of"):
        sc.nn.load_checkpoint_(path, plain)
