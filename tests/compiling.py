"""Functions compiled, and compared with their eager selves; imported by tests that need torch."""

from __future__ import annotations

from typing import Any

import torch


def compiled(function: Any, backend: Any = "aot_eager") -> Any:
    """Compile into one graph, or raise."""
    return torch.compile(function, fullgraph=True, backend=backend)


def check_training(function: Any, tensors: Any, *, backend: str = "aot_eager") -> None:
    """Compare a compiled function's result and gradients with those of its eager self."""
    got, want = compiled(function, backend)(), function()
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)
    assert got.stride() == want.stride()
    gradients = [torch.autograd.grad(y.sin().sum(), tensors) for y in (got, want)]
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-12)
