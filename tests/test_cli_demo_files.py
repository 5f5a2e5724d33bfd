"""cli/demo_files.py: whether a model that was read back gives what the written one gave."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from sparsecore.cli.demo_files import same_outputs  # noqa: E402


def test_unequal_outputs_are_noticed() -> None:
    one, other = torch.nn.Linear(2, 1), torch.nn.Linear(2, 1)
    other.load_state_dict(one.state_dict())
    x = np.ones((1, 2), np.float32)
    assert same_outputs(one, other, x)
    with torch.no_grad():
        other.bias += 1e-3
    assert not same_outputs(one, other, x)
