"""Which copy of cuSPARSELt is opened, and what is said of those that are not."""

import shutil
from pathlib import Path

import pytest

import child
import cusparselt_cases as lt
import sparsecore as sc
from sparsecore import _core

SONAME = "libcusparseLt.so.0"
WHEELS = ("nvidia/cu13/lib", "nvidia/cusparselt/lib", "cusparselt/lib")
SHOW = """
library = sc.cuda.libraries()["cusparselt"]
print(library.found, library.version, library.path, library.reason, sep="|")
"""


def placed(folder: Path, version: str) -> Path:
    """Put a copy of the fake library there, with a version of its own."""
    folder.mkdir(parents=True)
    (folder / "version").write_text(version)
    return Path(shutil.copy(lt.FAKE, folder / SONAME))


def opened(path):
    return _core.DeviceCusparseLt(str(path), [])


def in_process(site: Path, code: str) -> list[str]:
    """Run code where wheels below `site` are installed; return what `SHOW` prints in the end."""
    lines = f"""
import ctypes, os, shutil, sys
import sparsecore as sc
sys.path[:] = [{str(site)!r}]
{code}
{SHOW}
"""
    printed = child.output(lines, SPARSECORE_CUSPARSELT="").splitlines()[-1]
    return printed.split("|")


# ---- of any build ----


def test_without_a_cuda_side_it_says_so():
    if hasattr(_core, "DeviceCusparseLt"):
        pytest.skip("this build has a CUDA side")
    library = sc.cuda.libraries()["cusparselt"]
    assert (library.found, library.version, library.path) == (False, None, None)
    assert library.reason == sc.cuda.reason()


# ---- of a build with a CUDA side and the fake library ----


@pytest.mark.gpu
def test_the_first_wheel_that_is_not_too_old(tmp_path):
    lt.fake()
    copies = [placed(tmp_path / wheel, "0.8.0") for wheel in WHEELS]
    found, _, _, reason = in_process(tmp_path, "")
    assert found == "False"
    assert [str(copy) in reason for copy in copies] == [True] * 3
    assert "it is version 0.8.0, expected 0.8.1 or a later one of major version 0" in reason
    assert "pip install 'sparsecore[cuda]'" in reason
    for copy, version in ((copies[2], "0.10.0"), (copies[1], "0.9.3"), (copies[0], "0.8.1")):
        copy.with_name("version").write_text(version)
        assert in_process(tmp_path, "") == ["True", version, str(copy), ""]


@pytest.mark.gpu
def test_a_loaded_copy_comes_first_unless_it_is_too_old(tmp_path):
    lt.fake()
    wheel = placed(tmp_path / WHEELS[0], "0.9.0")
    loaded = placed(tmp_path / "elsewhere", "0.10.0")
    load = f"loaded = ctypes.CDLL({str(loaded)!r})"
    assert in_process(tmp_path, load) == ["True", "0.10.0", str(loaded), ""]
    loaded.with_name("version").write_text("0.8.0")
    assert in_process(tmp_path, load) == ["True", "0.9.0", str(wheel), ""]


@pytest.mark.gpu
def test_a_folder_of_the_loader_comes_last(tmp_path, monkeypatch):
    lt.fake()
    copy = placed(tmp_path / "system", "0.8.1")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(copy.parent))
    assert in_process(tmp_path, "") == ["True", "0.8.1", str(copy), ""]


@pytest.mark.gpu
def test_no_copy_at_all(tmp_path):
    lt.fake()
    if child.run(f"import ctypes; ctypes.CDLL({SONAME!r})").returncode == 0:
        pytest.skip("this system has cuSPARSELt where its loader looks")
    found, _, _, reason = in_process(tmp_path, "")
    assert found == "False"
    assert reason == (
        "cuSPARSELt: libcusparseLt.so.0 was not found; install one by pip install "
        "'sparsecore[cuda]', or name a file in SPARSECORE_CUSPARSELT"
    )


@pytest.mark.gpu
def test_what_failed_is_tried_again(tmp_path):
    lt.fake()
    wheel = tmp_path / WHEELS[1]
    later = f"""
assert not sc.cuda.libraries()["cusparselt"].found
os.makedirs({str(wheel)!r})
shutil.copy({str(lt.FAKE)!r}, {str(wheel / SONAME)!r})
"""
    assert in_process(tmp_path, later)[:3] == ["True", "0.8.1", str(wheel / SONAME)]


@pytest.mark.gpu
def test_a_copy_that_is_named(tmp_path):
    lt.fake()
    assert opened(placed(tmp_path / "old", "0.8.0")).version == "0.8.0"
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "old" / SONAME)
    assert opened(link).path == str(tmp_path / "old" / SONAME)
    for version in ("0.7.1", "1.0.0"):
        copy = placed(tmp_path / version, version)
        with pytest.raises(RuntimeError, match=f"is version {version}, expected 0.8.0 or a later"):
            opened(copy)
        assert str(copy) not in Path("/proc/self/maps").read_text()


@pytest.mark.gpu
def test_a_file_that_is_something_else(tmp_path, monkeypatch):
    lt.fake()
    text = tmp_path / "text"
    text.write_text("no library")
    with pytest.raises(RuntimeError, match=r"cuSPARSELt: .*text: .*(short|invalid ELF)"):
        opened(text)
    with pytest.raises(RuntimeError, match=r"nowhere: .*cannot open .*pip install"):
        opened(tmp_path / "nowhere")
    with pytest.raises(RuntimeError, match="not cuSPARSELt: it has no cusparseLtGetProperty"):
        opened(_core.__file__)
    copy = placed(tmp_path / "lacking", "0.8.1")
    copy.write_bytes(lt.FAKE.read_bytes().replace(b"cusparseLtMatmulSearch\0", b"x" * 22 + b"\0"))
    with pytest.raises(RuntimeError, match=r"version 0\.8\.1 lacks cusparseLtMatmulSearch;"):
        opened(copy)
    monkeypatch.setenv("FAKE_CUSPARSELT_FAIL", "cusparseLtGetProperty=7")
    with pytest.raises(RuntimeError, match="it does not say which version it is"):
        opened(placed(tmp_path / "mute", "0.8.1"))
