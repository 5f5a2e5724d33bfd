"""The fake cuSPARSELt takes notice of what its caller must not do: each misuse is found."""

import ctypes
import threading

import pytest

import cusparselt_cases as lt

pytestmark = pytest.mark.gpu

FLOAT16, ROWS, NONE, HALF = 2, 2, 0, 0
M, N, K = 32, 16, 64


class Opaque:
    """Memory that the library writes its structures into."""

    def __init__(self):
        self._room = ctypes.create_string_buffer(1024)
        self.address = ctypes.c_void_p(ctypes.addressof(self._room))

    def copied(self):
        other = Opaque()
        ctypes.memmove(other._room, self._room, 1024)
        return other


class Caller:
    """One that makes a plan for (M, K) @ (K, N) by the book."""

    def __init__(self):
        self.library = ctypes.CDLL(str(lt.FAKE))
        names = ("handle", "s", "x", "out", "matmul", "selection", "plan")
        self.parts = {name: Opaque() for name in names}
        ok = self.call
        ok("Init", "handle")
        ok("StructuredDescriptorInit", "handle", "s", M, K, K, 16, FLOAT16, ROWS, HALF)
        ok("DenseDescriptorInit", "handle", "x", K, N, N, 16, FLOAT16, ROWS)
        ok("DenseDescriptorInit", "handle", "out", M, N, N, 16, FLOAT16, ROWS)
        ok("MatmulDescriptorInit", "handle", "matmul", NONE, NONE, "s", "x", "out", "out", 2)
        ok("MatmulAlgSelectionInit", "handle", "selection", "matmul", 0)
        ok("MatmulPlanInit", "handle", "plan", "matmul", "selection")

    def status(self, name, *arguments):
        given = [
            self.parts[a].address if isinstance(a, str)
            else ctypes.c_int64(a) if isinstance(a, int) else a
            for a in arguments
        ]  # fmt: skip
        return getattr(self.library, f"cusparseLt{name}")(*given)

    def call(self, name, *arguments):
        assert self.status(name, *arguments) == 0, name

    def multiply(self, *, begin=0, compress=True):
        """Return the status of a product, whose operands begin `begin` bytes after 16."""
        room = ctypes.create_string_buffer(1 << 16)
        first = (ctypes.addressof(room) + 15) // 16 * 16
        s, x, out, space = (ctypes.c_void_p(first + i * 0x3000) for i in range(4))
        if compress:
            self.call("SpMMACompress2", "handle", "s", 1, NONE, x, s, space, None)
        one, zero = ctypes.c_float(1), ctypes.c_float(0)
        stream = ctypes.c_void_p()
        x = ctypes.c_void_p(x.value + begin)
        ends = (out, out, space, ctypes.byref(stream), 1)
        return self.status(
            "Matmul", "handle", "plan", ctypes.byref(one), s, x, ctypes.byref(zero), *ends
        )

    def end(self):
        self.call("MatmulPlanDestroy", "plan")
        self.call("MatmulAlgSelectionDestroy", "selection")
        for name in ("s", "x", "out"):
            self.call("MatDescriptorDestroy", name)
        self.call("Destroy", "handle")


def in_another_thread(caller):
    thread = threading.Thread(target=caller.multiply, kwargs={"compress": False})
    thread.start()
    thread.join()


def on_another_device(caller):
    lt.fake().set_device(1)
    caller.multiply(compress=False)
    lt.fake().set_device(0)


def with_a_copied_plan(caller):
    plan = caller.parts["plan"]
    caller.parts["plan"] = plan.copied()
    caller.multiply()
    caller.parts["plan"] = plan


def with_an_absent_plan(caller):
    plan = caller.parts["plan"]
    caller.parts["plan"] = Opaque()
    caller.multiply()
    caller.parts["plan"] = plan


MISUSES = {
    "the handle is of another thread": in_another_thread,
    "the handle is of another device": on_another_device,
    "the plan was copied to another address": with_a_copied_plan,
    "the plan is destroyed or was never made": with_an_absent_plan,
    "a misaligned operand": lambda caller: caller.multiply(begin=8),
    "A is not what this library has compressed": lambda caller: caller.multiply(compress=False),
    "cusparseLtMatDescriptorDestroy: a plan outlives": lambda c: c.status(
        "MatDescriptorDestroy", "x"
    ),
    "cusparseLtMatmulAlgSelectionDestroy: a plan outlives": lambda c: c.status(
        "MatmulAlgSelectionDestroy", "selection"
    ),
}


@pytest.mark.parametrize("words", MISUSES)
def test_misuse_is_found(words):
    fake, caller = lt.fake(), Caller()
    assert caller.multiply() == 0
    before = fake.violations()
    MISUSES[words](caller)
    assert fake.violations() == before + 1
    assert words in fake.last_violation()
    caller.end()


def test_use_after_the_end_is_found():
    fake = lt.fake()
    living, before = fake.living(), fake.violations()
    caller = Caller()
    caller.end()
    assert (fake.living(), fake.violations()) == (living, before)
    assert caller.status("MatDescriptorDestroy", "x") != 0
    assert "matrix descriptor is destroyed" in fake.last_violation()
    assert caller.multiply(compress=False) != 0
    assert "the handle is destroyed" in fake.last_violation()
