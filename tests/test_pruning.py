"""The package sparsecore.pruning: the names that it offers, and torch only with the pruner."""

import pytest

import child
from sparsecore import pruning


def test_unknown_names_of_the_package() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Prunner'"):
        _ = pruning.Prunner


def test_the_package_lists_what_it_offers_and_nothing_else() -> None:
    assert dir(pruning) == sorted(pruning.__all__)
    assert {"Pruner", "prune"} <= set(dir(pruning))


def test_torch_comes_with_the_pruner_only() -> None:
    pytest.importorskip("torch")
    program = (
        "import sys; from sparsecore import pruning\n"
        "assert 'torch' not in sys.modules\n"
        "from sparsecore.pruning import Pruner, prune\n"
        "assert 'torch' in sys.modules\n"
        "assert pruning.prune is prune"
    )
    child.output(program)
