"""Layers through `torch.export`: programs that hold their matrices, and validate them."""

import io

import pytest

torch = pytest.importorskip("torch")

import library_cases as lib  # noqa: E402
import sparsecore as sc  # noqa: E402
from child import output  # noqa: E402
from linear_layers import prune_, prune_24_  # noqa: E402
from sparsecore.nn import CSRLinear, Sparse24Linear  # noqa: E402


def model():
    """Return layers of each kind behind each other."""
    first, second, third = (torch.nn.Linear(k, m) for k, m in ((10, 12), (12, 7), (7, 5)))
    return torch.nn.Sequential(
        CSRLinear.from_dense(prune_(first)),
        torch.nn.ReLU(),
        CSRLinear.from_dense(prune_(second)).prepare_(),
        Sparse24Linear.from_dense(prune_24_(third)),
    ).eval()


def exported(module, x, *, strict=False):
    batch = {0: torch.export.Dim("batch")}
    return torch.export.export(module, (x,), dynamic_shapes=(batch,), strict=strict)


def inputs(batch=4, k=10):
    return lib.numbers(batch, k, dtype=torch.float32, grad=False)


def targets(program):
    return {str(node.target) for node in program.graph.nodes if node.op == "call_function"}


def test_a_program_runs_in_another_process(tmp_path):
    """Saved with its tensors in narrow widths, loaded where nothing of this process is."""
    net, x = model(), inputs(9)
    program = exported(net, inputs())
    assert {t for t in targets(program) if "sparsecore" in t} == {
        "sparsecore.csr_matmul.default",
        "sparsecore.sparse24_matmul.default",
    }
    path, given, result = (tmp_path / name for name in ("net.pt2", "x.pt", "y.pt"))
    torch.export.save(program, path)
    torch.save(x, given)
    output(
        f"""
        import torch
        import sparsecore
        net = torch.export.load({str(path)!r}).module()
        torch.save(net(torch.load({str(given)!r})), {str(result)!r})
        """
    )
    torch.testing.assert_close(torch.load(result), net(x).detach())
    tensors = [*program.state_dict.values(), *program.constants.values()]
    assert {t.dtype for t in tensors} == {torch.float32, torch.int8, torch.uint8}


def test_strict_export():
    net = model()
    with pytest.raises(Exception, match="strict=False, or a layer that is not prepared"):
        exported(net, inputs(), strict=True)
    net[2].restore_()
    program = exported(net, inputs(), strict=True)
    torch.testing.assert_close(program.module()(inputs(6)), net(inputs(6)))


def test_matrices_that_are_no_layers_become_constants():
    A, S = lib.matrix("csr", torch.float32), lib.matrix("sparse24", torch.float32)
    P = A.prepare()

    class Net(torch.nn.Module):
        def forward(self, x):
            return sc.linear(x, A), sc.linear(x, P, activation="relu"), sc.linear(x, S)

    program = exported(Net(), inputs())
    torch.testing.assert_close(program.module()(inputs(7)), Net()(inputs(7)))
    assert not any("held" in target for target in targets(program))


def test_a_loaded_structure_is_validated():
    program = exported(model()[0], inputs())
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    loaded = torch.export.load(file)
    net = loaded.module()
    net(inputs())
    net.get_buffer("indices").fill_(100)
    with pytest.raises(IndexError, match="column 100"):
        net(inputs())
