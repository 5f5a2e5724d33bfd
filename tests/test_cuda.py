"""sc.cuda without a device: an answer with a reason, never an error."""

import child
import sparsecore as sc


def test_answer_and_reason_agree():
    answer = sc.cuda.is_available()
    assert bool(answer) == answer.available
    assert isinstance(answer.available, bool)
    assert answer.reason, "a reason, or the name of the device"
    assert sc.cuda.is_available() == answer


def test_without_a_visible_device_it_is_false_with_a_reason():
    printed = child.output(
        "import sparsecore as sc; a = sc.cuda.is_available(); print(bool(a), a.reason)",
        CUDA_VISIBLE_DEVICES="",
    )
    available, reason = printed.split(" ", 1)
    assert available == "False"
    assert len(reason.split()) >= 3


def test_libraries_are_named():
    libraries = sc.cuda.libraries()
    assert all(isinstance(text, str) for pair in libraries.items() for text in pair)


def test_import_asks_nothing_of_cuda():
    """A probe at import breaks forked children: nothing of CUDA is loaded by it."""
    printed = child.output(
        """
        import sparsecore
        maps = open("/proc/self/maps").read()
        print([name for name in ("libcuda.so", "libcudart", "libcusparse") if name in maps])
        """
    )
    assert printed == "[]"
