"""The choice of the CPU target: csrc/dispatch.cpp, SPARSECORE_TARGET, sc.cpu."""

import itertools
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import child
import sparsecore as sc
from sparsecore import _core

ORDER = ["baseline", "avx2", "avx512"]
PRODUCT = """
import numpy as np
import sparsecore as sc
Y = sc.CSR.from_dense(np.eye(40, dtype=np.float32)) @ np.ones((40, 40), np.float32)
assert (Y == 1).all()
print(sc.cpu.target())
"""


def test_targets_are_named_narrowest_first():
    compiled, supported = sc.cpu.compiled_targets(), sc.cpu.targets()
    assert compiled == [name for name in ORDER if name in compiled]
    assert supported == [name for name in compiled if name in supported]
    assert "baseline" in supported
    assert sc.cpu.target() in supported


@pytest.mark.parametrize("name", sc.cpu.targets())
def test_environment_forces_a_target(name):
    assert child.output(PRODUCT, SPARSECORE_TARGET=name) == name


def test_an_empty_environment_variable_leaves_the_choice():
    assert child.output(PRODUCT, SPARSECORE_TARGET="") == sc.cpu.targets()[-1]


@pytest.mark.parametrize("name", ["sse9", "AVX2", "avx2 ", "baseline,avx2"])
def test_environment_with_an_unknown_target_is_an_error(name):
    done = child.run(PRODUCT, SPARSECORE_TARGET=name)
    assert done.returncode == 1
    listed = ", ".join(sc.cpu.targets())
    message = f"ValueError: SPARSECORE_TARGET: '{name}' cannot run here; .* {listed}"
    assert re.search(message, done.stderr), done.stderr


def test_an_error_of_the_environment_comes_each_time_and_set_target_mends_it():
    printed = child.output(
        """
        import numpy as np
        import sparsecore as sc

        def message(call):
            try:
                call()
            except ValueError as error:
                return str(error)

        A = sc.COO(([1.0], ([0], [0])), shape=(1, 1)).tocsr()
        for call in (sc.cpu.target, sc.cpu.target, lambda: A @ np.ones(1)):
            assert "SPARSECORE_TARGET: 'sse9'" in message(call), message(call)
        sc.cpu.set_target("baseline")
        print(sc.cpu.target(), A @ np.ones(1))
        """,
        SPARSECORE_TARGET="sse9",
    )
    assert printed == "baseline [1.]"


def test_set_target():
    before = sc.cpu.target()
    try:
        for name in sc.cpu.targets():
            sc.cpu.set_target(name)
            assert sc.cpu.target() == name
        for bad in ("sse9", "", "AVX2"):
            with pytest.raises(ValueError, match=f"set_target: '{bad}' cannot run here.*baseline"):
                sc.cpu.set_target(bad)
            assert sc.cpu.target() == sc.cpu.targets()[-1]
        with pytest.raises(TypeError):
            sc.cpu.set_target(None)
    finally:
        sc.cpu.set_target(before)


def test_a_target_that_this_processor_lacks_is_refused():
    lacking = [name for name in sc.cpu.compiled_targets() if name not in sc.cpu.targets()]
    if not lacking:
        pytest.skip("this processor runs every compiled target")
    for name in lacking:
        with pytest.raises(ValueError, match=f"'{name}' cannot run here"):
            sc.cpu.set_target(name)


def test_targets_may_change_while_others_multiply():
    """A product that has begun ends on the target it began on; all targets are right."""
    A = sc.CSR.from_dense(np.ones((300, 300), np.float32))
    before, targets = sc.cpu.target(), itertools.cycle(sc.cpu.targets())

    def multiply(n):
        X = np.ones((300, n), np.float32)
        wrong = [~(A @ X == 300) for _ in range(10)] + [~(A.T @ X == 300) for _ in range(10)]
        return sum(int(errors.sum()) for errors in wrong)

    try:
        with ThreadPoolExecutor(3) as pool:
            running = [pool.submit(multiply, n) for n in (65, 500, 1000)]
            while not all(future.done() for future in running):
                sc.cpu.set_target(next(targets))
    finally:
        sc.cpu.set_target(before)
    assert [future.result() for future in running] == [0, 0, 0], "wrong elements"


def test_wide_registers_only_in_the_targets_own_namespaces():
    """Code shared by targets must not be compiled with one target's instructions.

    The linker keeps one copy of an inline function, perhaps the AVX-512 one, and an older processor
    then dies in it. So whatever uses ymm or zmm registers lies in a target's namespace.
    """
    objdump = shutil.which("objdump")
    if objdump is None:
        pytest.skip("objdump is not installed")
    listing = subprocess.run(
        [objdump, "-d", "-C", "--no-show-raw-insn", _core.__file__],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    functions = re.findall(r"^[0-9a-f]+ <(.*)>:$\n((?:.+\n)*)", listing, re.MULTILINE)
    wide = {name for name, body in functions if re.search(r"%[yz]mm", body)}
    owned = {name for name in wide if re.search(r"sparsecore::(avx2|avx512)::", name)}
    if not owned:
        pytest.skip("the extension has no symbols: it was stripped, or has one target")
    assert wide == owned
