"""sc.cuda without a device: an answer with a reason, never an error."""

import child
import sparsecore as sc


def test_answer_and_reason_agree():
    reason = sc.cuda.reason()
    assert sc.cuda.is_available() is (reason == "")
    assert not reason or len(reason.split()) >= 3


def test_without_a_visible_device_it_is_false_with_a_reason():
    printed = child.output(
        "import sparsecore as sc; print(sc.cuda.is_available(), sc.cuda.reason())",
        CUDA_VISIBLE_DEVICES="",
    )
    available, reason = printed.split(" ", 1)
    assert available == "False"
    assert len(reason.split()) >= 3


def test_libraries_say_what_was_found_or_why_not():
    library = sc.cuda.libraries()["cusparselt"]
    assert library.found is (library.version is not None) is (library.path is not None)
    assert library.found is (library.reason == "")


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
