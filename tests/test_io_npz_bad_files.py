"""npz files that lie, are cut or are damaged: ValueError with the file's name."""

import zipfile
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

import sparsecore as sc
from file_cases import check_loads_or_names_the_file, claims, flipped, npz, patched_sizes
from format_cases import EXAMPLES_SHARE_FIXTURES


class Trap:
    """Unpickled, it would leave a mark."""

    def __reduce__(self):
        """Return what a careless reader would call."""
        return Path.touch, (Path("unpickled"),)


BAD_MEMBERS = {
    "no format": ({"format": None}, "no member 'format.npy'"),
    "no data": ({"data": None}, "no member 'data.npy'"),
    "unknown format": ({"format": np.array(b"xyz")}, "'xyz'"),
    "format of numbers": ({"format": np.array(3)}, "format.npy.*dtype int64"),
    "formats": ({"format": np.array([b"csr", b"csr"])}, "format"),
    "shape of 3": ({"shape": np.array([4, 4, 4])}, r"shape \(3,\)"),
    "shape of floats": ({"shape": np.array([4.0, 4.0])}, "dtype float64"),
    "negative shape": ({"shape": np.array([-4, 4])}, "shape"),
    "other columns": ({"shape": np.array([4, 3])}, "index 3 at entry 1 of 'indices'"),
    "huge shape": ({"shape": np.array([2**62, 4])}, "indptr has 5 entries"),
    "float indices": ({"indices": np.zeros(6)}, "dtype float64"),
    "2-D data": ({"data": np.zeros((6, 1))}, "axes"),
    "fewer data": ({"data": np.zeros(5)}, "length 5, indices 6"),
    "decreasing": ({"indptr": np.array([0, 2, 3, 2, 6])}, "row 2"),
    "objects": ({"data": np.array([Trap()] * 6, dtype=object)}, "no npy header"),
    "records": ({"data": np.zeros(6, dtype="f4,f4")}, "no npy header"),
    "header claims more": ({"data": claims((2**40,))}, "holds 0 bytes of data, its header claims"),
    "endless shape": ({"data": claims((2**40, 2**40))}, "holds 0 bytes"),
    "long header": ({"data": claims((1,) * 400, data=bytes(48))}, "no npy header"),
    "npy 2": ({"data": claims((6,), data=bytes(48)).replace(b"NUMPY\x01", b"NUMPY\x02")}, "npy"),
    "header claims less": ({"data": claims((5,), data=bytes(48))}, "holds 48 bytes"),
    "negative extent": ({"data": claims((-6,), data=bytes(48))}, "no npy header"),
    "bool shape": ({"data": claims((True, 6), data=bytes(48))}, "no npy header"),
    "not npy": ({"data": b"nothing"}, "no npy header"),
    "empty member": ({"data": b""}, "no npy header"),
    "header of npy 2": ({"data": b"\x93NUMPY\x02\x00\xff\xff\xff\xff{"}, "no npy header"),
    "header of npy 9": ({"data": b"\x93NUMPY\x09\x00\x10\x00{"}, "no npy header"),
    "nested header": ({"data": b"\x93NUMPY\x01\x00\x00\x20" + b"(" * 8192}, "no npy header"),
}


@pytest.mark.parametrize(("members", "message"), BAD_MEMBERS.values(), ids=BAD_MEMBERS)
def test_bad_members(tmp_path, monkeypatch, members, message):
    monkeypatch.chdir(tmp_path)
    path = npz(tmp_path / "A.npz", **members)
    with pytest.raises(ValueError, match=rf"(?s)A\.npz: .*{message}"):
        sc.load(path)
    assert not Path("unpickled").exists()


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions(tmp_path, compression):
    with pytest.raises(ValueError, match="compression"):
        sc.load(npz(tmp_path / "A.npz", compression=compression))


@pytest.mark.parametrize("claimed", [0, 100, 2**20, 2**32 - 2])
def test_archive_that_claims_another_size(tmp_path, claimed):
    path = npz(tmp_path / "A.npz")
    path.write_bytes(patched_sizes(path.read_bytes(), b"data.npy", claimed=claimed))
    with pytest.raises(ValueError, match=r"A\.npz: "):
        sc.load(path)


def test_encrypted_archive(tmp_path):
    path = npz(tmp_path / "A.npz")
    content = bytearray(path.read_bytes())
    at = content.index(b"PK\x01\x02")
    content[at + 8] |= 1  # the directory's flag: encrypted
    local = content.index(b"PK\x03\x04")
    content[local + 6] |= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"A\.npz: .*(encrypted|password)"):
        sc.load(path)


def test_truncated_at_every_byte(tmp_path):
    path = npz(tmp_path / "A.npz")
    content = path.read_bytes()
    for size in range(len(content)):
        path.write_bytes(content[:size])
        with pytest.raises(ValueError, match=r"A\.npz: "):
            sc.load(path)


@settings(EXAMPLES_SHARE_FIXTURES, max_examples=300)
@given(st.data())
def test_flipped_bytes_load_or_raise_value_error(tmp_path, data):
    compression = data.draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))
    path = npz(tmp_path / "A.npz", compression=compression)
    path.write_bytes(flipped(data, path.read_bytes()))
    check_loads_or_names_the_file(path)
