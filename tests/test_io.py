"""Files: round trips, other libraries' view of them, and files that lie."""

import io
import itertools
import json
import pickle
import re
import struct
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
import safetensors
import safetensors.numpy
import scipy.sparse
from hypothesis import HealthCheck, given, settings
from numpy.lib import format as npy

import sparsecore as sc
from sparsecore.interop import VALUE_DTYPES

NAMES = list(VALUE_DTYPES)
NPZ_NAMES = ["float64", "float32", "int8"]
SHARED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
LECTURE = np.array([[0.0, 3, 0, 7], [0, 0, 8, 0], [2, 5, 0, 0], [0, 0, 0, 9]])


def lecture(dtype=np.float64) -> sc.CSR:
    return sc.CSR.from_dense(LECTURE.astype(dtype))


@st.composite
def matrices(draw, formats=("coo", "csr", "sparse24"), names=NAMES):
    """Draw a matrix of any format and dtype, in shapes of every index width."""
    fmt = draw(st.sampled_from(formats))
    dtype = VALUE_DTYPES[draw(st.sampled_from(names))]
    shape = draw(st.sampled_from([(0, 0), (0, 3), (4, 0), (1, 1), (5, 7), (3, 257), (2, 70000)]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    W = rng.integers(-9, 10, shape).astype(dtype)
    W[rng.random(shape) < draw(st.floats(0, 1))] = 0
    if fmt == "sparse24":
        return sc.Sparse24.from_dense(W, prune=True)
    if fmt == "csr":
        return sc.CSR.from_dense(W)
    order = rng.permutation(np.count_nonzero(W))
    row, col = (axis[order] for axis in np.nonzero(W))
    A = sc.COO((W[row, col], (row, col)), shape)
    return A.append(A.data[:2], (A.row[:2], A.col[:2]))  # an order and duplicates to keep


# ---- round trips ----


@SHARED
@given(matrices())
def test_safetensors_round_trip(tmp_path, A):
    path = tmp_path / "A.safetensors"
    sc.save(path, A)
    made = sc.load(path)
    made.check()
    assert type(made) is type(A)
    assert made.equals(A)
    assert made.nbytes == A.nbytes
    # 8 bytes of length, a header of a few hundred, and exactly what is stored.
    assert path.stat().st_size - A.nbytes < 600


@SHARED
@given(matrices(formats=("coo", "csr"), names=NPZ_NAMES))
def test_npz_round_trip(tmp_path, A):
    path = tmp_path / "A.npz"
    sc.save(path, A)
    made = sc.load(str(path))
    assert type(made) is type(A)
    assert made.equals(A)


@pytest.mark.parametrize(
    ("fmt", "name", "suffix"),
    [
        *itertools.product(["coo", "csr", "sparse24"], NAMES, [".safetensors"]),
        *itertools.product(["coo", "csr"], NPZ_NAMES, [".npz"]),
    ],
)
def test_torch_saves_the_same_file(tmp_path, fmt, name, suffix):
    torch = pytest.importorskip("torch")
    kind = {"coo": sc.COO, "csr": sc.CSR, "sparse24": sc.Sparse24}[fmt]
    W = LECTURE.astype(VALUE_DTYPES[name])
    parameter = torch.tensor(LECTURE).to(getattr(torch, name))
    parameter.requires_grad = name != "int8"
    ours, theirs = tmp_path / f"numpy{suffix}", tmp_path / f"torch{suffix}"
    sc.save(ours, kind.from_dense(W))
    sc.save(theirs, kind.from_dense(parameter))
    if suffix == ".safetensors":
        assert ours.read_bytes() == theirs.read_bytes()
    made = sc.load(ours, framework="torch")
    assert made.dtype == parameter.dtype
    assert not made.toarray().requires_grad
    assert made.equals(sc.load(theirs))
    assert torch.equal(made.toarray(), parameter.detach())


def test_loading_copies_nothing_that_is_not_writable(tmp_path):
    torch = pytest.importorskip("torch")
    sc.save(tmp_path / "A.safetensors", lecture(np.float32))
    A = sc.load(tmp_path / "A.safetensors", framework="torch")
    A.data.mul_(2)
    assert torch.equal(A.toarray(), torch.tensor(LECTURE * 2).float())


# ---- what others see ----


@pytest.mark.parametrize("name", [n for n in NAMES if n != "bfloat16"])
def test_safetensors_reads_ours(tmp_path, name):
    A = lecture(VALUE_DTYPES[name])
    sc.save(tmp_path / "A.safetensors", A)
    arrays = safetensors.numpy.load_file(tmp_path / "A.safetensors")
    assert {key: array.dtype for key, array in arrays.items()} == {
        "data": VALUE_DTYPES[name],
        "indices": np.uint8,
        "indptr": np.uint8,
    }
    np.testing.assert_array_equal(arrays["data"], A.data)
    with safetensors.safe_open(tmp_path / "A.safetensors", framework="numpy") as file:
        expected = {"format": "csr", "version": "1", "shape": "4 4", "dtype": name}
        assert file.metadata() == expected


@pytest.mark.parametrize("name", NPZ_NAMES)
@pytest.mark.parametrize("fmt", ["csr", "coo"])
def test_scipy_reads_ours(tmp_path, fmt, name):
    A = lecture(VALUE_DTYPES[name])
    sc.save(tmp_path / "A.npz", A if fmt == "csr" else A.tocoo())
    made = scipy.sparse.load_npz(tmp_path / "A.npz")
    assert isinstance(made, scipy.sparse.sparray)
    assert (made.format, made.dtype) == (fmt, VALUE_DTYPES[name])
    np.testing.assert_array_equal(made.astype(np.float64).toarray(), LECTURE)


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize(
    "matrix",
    [
        scipy.sparse.csr_array(LECTURE),
        scipy.sparse.csr_matrix(LECTURE.astype(np.float32)),
        scipy.sparse.coo_matrix(LECTURE.astype(np.int8)),
        # Unsorted, with a coordinate twice.
        scipy.sparse.csr_array((np.ones(3), [2, 0, 2], [0, 3]), shape=(1, 3)),
        scipy.sparse.csr_array((3, 5)),
    ],
    ids=["array", "matrix", "coo", "not canonical", "empty"],
)
def test_scipys_are_read(tmp_path, matrix, compressed):
    scipy.sparse.save_npz(tmp_path / "A.npz", matrix, compressed=compressed)
    A = sc.load(tmp_path / "A.npz")
    assert A.format == matrix.format
    assert A.dtype.isnative
    np.testing.assert_array_equal(A.toarray(), matrix.toarray())


@pytest.mark.parametrize("fmt", ["csc", "bsr", "dia"])
def test_scipys_other_formats_are_refused_by_name(tmp_path, fmt):
    scipy.sparse.save_npz(tmp_path / "A.npz", scipy.sparse.csr_array(LECTURE).asformat(fmt))
    with pytest.raises(ValueError, match=rf"A\.npz.*'{fmt}'"):
        sc.load(tmp_path / "A.npz")


def test_scipys_other_dtypes_are_refused_by_name(tmp_path):
    scipy.sparse.save_npz(tmp_path / "A.npz", scipy.sparse.csr_array(LECTURE.astype(np.int64)))
    with pytest.raises(ValueError, match=r"A\.npz.*int64"):
        sc.load(tmp_path / "A.npz")


@pytest.mark.parametrize(
    "A",
    [lecture("bfloat16"), lecture("float16").tocoo(), sc.Sparse24.from_dense(LECTURE)],
    ids=["bfloat16", "float16", "2:4"],
)
def test_npz_says_what_it_cannot_hold(tmp_path, A):
    with pytest.raises(TypeError, match=r"npz cannot hold.*safetensors"):
        sc.save(tmp_path / "A.npz", A)
    assert list(tmp_path.iterdir()) == []


# ---- smtx ----


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    "content",
    [
        "4, 4, 6\n0 2 3 5 6\n1 3 2 0 1 3 \n",
        "4,4,6\r\n0 2 3 5 6\r\n1 3 2 0 1 3\r\n",
        "4, 4, 6\n0 2 3 5 6 \n3 1\t2 1 0 3",
    ],
    ids=["as published", "carriage returns", "unsorted"],
)
def test_smtx_is_a_pattern_of_ones(tmp_path, content):
    A = sc.load(write(tmp_path / "A.smtx", content))
    assert A.dtype == np.float32
    np.testing.assert_array_equal(A.toarray(), LECTURE != 0)


@pytest.mark.parametrize(
    ("content", "shape"),
    [("0, 3, 0\n0\n\n", (0, 3)), ("2, 0, 0\n0 0 0\n", (2, 0)), ("2, 3, 0\n0 0 0", (2, 3))],
)
def test_empty_smtx(tmp_path, content, shape):
    A = sc.load(write(tmp_path / "A.smtx", content), framework="numpy")
    assert (A.shape, A.nnz) == (shape, 0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "truncated"),
        ("4, 4, 6\n", "row offsets in line 2 are 0, expected 5"),
        ("4, 4, 6\n0 2 3 5", "row offsets in line 2 are 4, expected 5"),
        ("4, 4, 6\n0 2 3 5 6\n1 3 2 0 1", "columns in line 3 are 5, expected 6"),
        ("4, 4\n0 2 3 5 6\n1 3 2 0 1 3", "line 1"),
        ("4 4 6\n0 2 3 5 6\n1 3 2 0 1 3", "line 1"),
        ("4, -4, 6\n0 2 3 5 6\n1 3 2 0 1 3", "line 1"),
        ("4, 4, 6\n0 2 3 x 6\n1 3 2 0 1 3", r"b'x' at byte 14"),
        ("4, 4, 6\n0 2 3 5 6\n1 3 2 0 -1 3", r"b'-' at byte 26"),
        ("4, 4, 6\n0 2 3 5 6\n1 3 2 0 1 4", "index 4 at number 5 of line 3"),
        ("4, 4, 6\n0 2 3 5 6\n1 3 2 0 1 99999999999999999999", "number 5 of line 3"),
        ("4, 4, 6\n0 2 3 2 6\n1 3 2 0 1 3", "row 2"),
        ("4, 4, 6\n0 2 3 5 5\n1 3 2 0 1 3", "row 3"),
        ("4, 4, 6\n0 2 3 5 6\n1 1 2 0 1 3", "row 0"),
        ("4, 4, 6\n0 2 3 5 6\n1 3 2 0 1 3\n1 2\n", "fourth line at byte 30"),
        ("4, 4, 999999999999\n0 2 3 5 6\n1 3 2 0 1 3", "expected 999999999999"),
        ("999999999999, 4, 6\n0 2 3 5 6\n1 3 2 0 1 3", "expected 1000000000000"),
        (b"\xff\xfe\x00", "line 1|truncated"),
    ],
)
def test_bad_smtx(tmp_path, content, message):
    path = write(tmp_path / "A.smtx", content)
    with pytest.raises(ValueError, match=rf"(?s)A\.smtx: .*({message})"):
        sc.load(path)


def test_real_patterns(tmp_path, data_dir):
    source = data_dir / "dlmc_dev.tar.xz"
    if not source.exists():
        pytest.skip(f"no DLMC patterns: {source} is absent")
    with tarfile.open(source) as archive:
        members = [m for m in archive if m.name.endswith(".smtx") and m.size < 200_000][:6]
        assert len(members) == 6
        for member in members:
            content = archive.extractfile(member).read()
            A = sc.load(write(tmp_path / "A.smtx", content))
            sizes, offsets, columns = content.decode().splitlines()
            assert [*A.shape, A.nnz] == [int(size) for size in sizes.split(",")]
            assert A.indptr.tolist() == [int(offset) for offset in offsets.split()]
            for row, (begin, end) in enumerate(zip(A.indptr[:-1], A.indptr[1:], strict=True)):
                published = [int(column) for column in columns.split()[begin:end]]
                assert A.row(row)[0].tolist() == sorted(published)


# ---- names, frameworks, failures ----


@pytest.mark.parametrize("name", ["A.pkl", "A", "A.npy", "A.safetensors.gz"])
def test_other_suffixes(tmp_path, name):
    with pytest.raises(ValueError, match=r"expected \.safetensors or \.npz"):
        sc.save(tmp_path / name, lecture())
    with pytest.raises(ValueError, match=r"expected \.safetensors or \.npz or \.smtx"):
        sc.load(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_smtx_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="smtx"):
        sc.save(tmp_path / "A.smtx", lecture())


def test_what_is_no_matrix(tmp_path):
    for thing in (LECTURE, scipy.sparse.csr_array(LECTURE), lecture().T, None):
        with pytest.raises(TypeError, match="save: A is a"):
            sc.save(tmp_path / "A.safetensors", thing)


@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
@pytest.mark.parametrize("kind", [sc.COO, sc.CSR, sc.Sparse24])
def test_values_that_no_longer_fit_are_not_saved(tmp_path, kind, suffix):
    torch = pytest.importorskip("torch")
    A = kind.from_dense(torch.tensor(LECTURE))
    values = A.values if kind is sc.Sparse24 else A.data
    expected = tuple(values.shape)
    for other in (values[:-1].clone(), torch.ones(7), torch.tensor(1.0)):
        values.data = other
        message = re.escape(f"has shape {tuple(other.shape)}, expected {expected}")
        with pytest.raises(ValueError, match=f"save: .*{message}"):
            sc.save(tmp_path / f"A{suffix}", A)
        assert list(tmp_path.iterdir()) == []


def test_unknown_framework(tmp_path):
    sc.save(tmp_path / "A.npz", lecture())
    with pytest.raises(ValueError, match="'jax'"):
        sc.load(tmp_path / "A.npz", framework="jax")


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".smtx"])
def test_missing_file(tmp_path, suffix):
    with pytest.raises(FileNotFoundError):
        sc.load(tmp_path / f"A{suffix}")


@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
def test_a_failed_write_leaves_what_was_there(tmp_path, monkeypatch, suffix):
    path = tmp_path / f"A{suffix}"
    sc.save(path, lecture())
    before = path.read_bytes()

    def fail(*_args):
        message = "disk full"
        raise OSError(message)

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        sc.save(path, lecture().astype(np.float32))
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == before


@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
def test_a_write_replaces_and_leaves_nothing_else(tmp_path, suffix):
    path = tmp_path / f"A{suffix}"
    sc.save(path, lecture())
    sc.save(path, lecture(np.float32))
    assert sc.load(path).dtype == np.float32
    assert list(tmp_path.iterdir()) == [path]
    plain = tmp_path / "plain"
    plain.touch()
    assert path.stat().st_mode == plain.stat().st_mode


# ---- safetensors that lie ----


def saved(path: Path, A=None) -> bytes:
    sc.save(path, lecture() if A is None else A)
    return path.read_bytes()


def rewritten(content: bytes, change) -> bytes:
    """Return a safetensors file with its header changed, its data as they were."""
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    header = change(header) or header
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + content[8 + length :]


def set_entry(*keys_and_value):
    *keys, last, value = keys_and_value

    def change(header):
        for key in keys:
            header = header[key]
        header[last] = value

    return change


LIES = {
    "not JSON": (lambda _: b"{", "."),
    "a list": (lambda _: b"[]", "list"),
    "nested": (lambda _: b"[" * 5000, "."),
    "a key twice": (lambda _: b'{"data": 1, "data": 2}', "twice"),
    "no metadata": (lambda h: {k: v for k, v in h.items() if k != "__metadata__"}, "format None"),
    "foreign format": (set_entry("__metadata__", "format", "pt"), "format 'pt'"),
    "newer version": (set_entry("__metadata__", "version", "2"), "version '2'"),
    "no shape": (set_entry("__metadata__", "shape", "4"), "shape '4'"),
    "negative shape": (set_entry("__metadata__", "shape", "4 -4"), "shape '4 -4'"),
    "endless shape": (set_entry("__metadata__", "shape", "4 " + "9" * 9000), "."),
    "other columns": (set_entry("__metadata__", "shape", "4 3"), "index 3 at byte"),
    "other rows": (set_entry("__metadata__", "shape", "5 4"), "indptr has 5 entries"),
    "huge shape": (set_entry("__metadata__", "shape", f"{2**62} 4"), "indptr has 5 entries"),
    "past int64": (set_entry("__metadata__", "shape", f"4 {2**63}"), "shape"),
    "other dtype": (set_entry("__metadata__", "dtype", "float32"), "float32"),
    "other format": (set_entry("__metadata__", "format", "coo"), "row"),
    "no indices": (lambda h: {k: v for k, v in h.items() if k != "indices"}, "expected"),
    "one more": (lambda h: h | {"x": h["data"]}, "'x'"),
    "unknown dtype": (set_entry("data", "dtype", "C64"), "'data'"),
    "no dtype": (set_entry("data", "dtype", None), "'data'"),
    "shape of text": (set_entry("data", "shape", ["6"]), "'data'"),
    "shape of floats": (set_entry("data", "shape", [6.0]), "'data'"),
    "negative extent": (set_entry("data", "shape", [-6]), "'data'"),
    "more elements": (set_entry("data", "shape", [7]), "48 bytes, its shape needs 56"),
    "very many elements": (set_entry("data", "shape", [2**40]), "needs"),
    "endless elements": (set_entry("data", "shape", [2**70, 0]), "."),
    "no offsets": (set_entry("data", "data_offsets", [0]), "'data'"),
    "offsets backwards": (set_entry("data", "data_offsets", [48, 0]), "needs 48"),
    "offsets past the end": (set_entry("data", "data_offsets", [2**40, 2**40 + 48]), "begins at"),
    "not an entry": (set_entry("data", 3), "'data'"),
    "2-D indices": (set_entry("indices", "shape", [1, 6]), "axes"),
    "signed values as indices": (set_entry("indices", "dtype", "I8"), None),
    "float values as indices": (
        lambda h: h | {"indices": h["data"], "data": h["indices"] | {"dtype": "I8"}},
        "int8, the metadata says 'float64'",
    ),
}


@pytest.mark.parametrize(("change", "message"), LIES.values(), ids=LIES)
def test_safetensors_headers_that_lie(tmp_path, change, message):
    path = tmp_path / "A.safetensors"
    path.write_bytes(rewritten(saved(path), change))
    if message is None:  # a lie that tells the same matrix
        assert sc.load(path).equals(lecture())
        return
    with pytest.raises(ValueError, match=rf"(?s)A\.safetensors: .*{message}"):
        sc.load(path)


def test_truncated_safetensors_at_every_byte(tmp_path):
    path = tmp_path / "A.safetensors"
    content = saved(path)
    for size in range(len(content)):
        path.write_bytes(content[:size])
        with pytest.raises(ValueError, match=r"A\.safetensors: .*truncated"):
            sc.load(path)
    path.write_bytes(content + b"\0")
    with pytest.raises(ValueError, match=f"end at byte {len(content)}, the file at byte"):
        sc.load(path)


@pytest.mark.parametrize("length", [2**16 + 1, 2**40, 2**64 - 1])
def test_header_length_that_lies(tmp_path, length):
    path = tmp_path / "A.safetensors"
    content = struct.pack("<Q", length) + saved(path)[8:]
    path.write_bytes(content.ljust(2**16 + 100, b" "))
    with pytest.raises(ValueError, match=r"truncated|65536"):
        sc.load(path)


@pytest.mark.parametrize("A", [lecture(), lecture().tocoo()], ids=["csr", "coo"])
def test_indices_out_of_range_name_the_byte(tmp_path, A):
    path = tmp_path / "A.safetensors"
    content = bytearray(saved(path, A))
    name = "indices" if A.format == "csr" else "col"
    at = len(content) - {"csr": 11, "coo": 12}[A.format]  # data, then the indices in this order
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    begin = 8 + int.from_bytes(content[:8], "little") + header[name]["data_offsets"][0]
    assert at == begin
    content[begin + 2] = 200
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"index 200 at byte {begin + 2} \('{name}'\)"):
        sc.load(path)


def test_bad_metadata_of_24_in_a_file(tmp_path):
    path = tmp_path / "S.safetensors"
    content = bytearray(saved(path, sc.Sparse24.from_dense(LECTURE)))
    content[-1] = 0
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"S\.safetensors: .*row 3, group 0"):
        sc.load(path)


@SHARED
@given(matrices(), st.data())
def test_flipped_bytes_load_or_raise_value_error(tmp_path, A, data):
    path = tmp_path / "A.safetensors"
    content = bytearray(saved(path, A))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, min(len(content), 2000) - 1))
        content[at] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        sc.load(path).check()
    except ValueError as error:
        assert str(path) in str(error)  # noqa: PT017 - a fault is allowed, not demanded


# ---- npz that lie ----


def npz(path: Path, *, compression=zipfile.ZIP_DEFLATED, **members) -> Path:
    """Write the lecture's matrix as scipy does, with some members replaced (None: left out)."""
    A = lecture()
    arrays = {
        "format": np.array(b"csr"),
        "shape": np.array([4, 4]),
        "data": np.array(A.data),
        "indices": A.indices.astype(np.int32),
        "indptr": A.indptr.astype(np.int32),
    } | members
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, array in arrays.items():
            if array is None:
                continue
            stream = io.BytesIO()
            if isinstance(array, bytes):
                stream.write(array)
            else:
                npy.write_array(stream, array, allow_pickle=True)
            archive.writestr(f"{name}.npy", stream.getvalue())
    return path


def npy_bytes(header: dict, data: bytes = b"") -> bytes:
    stream = io.BytesIO()
    npy.write_array_header_1_0(stream, header)
    return stream.getvalue() + data


def claims(shape, descr="<f8", data=b"") -> bytes:
    return npy_bytes({"descr": descr, "fortran_order": False, "shape": shape}, data)


class Trap:
    """Unpickled, it would leave a mark."""

    def __reduce__(self):
        """Return what a careless reader would call."""
        return Path.touch, (Path("unpickled"),)


def test_npz_in_foreign_byte_order(tmp_path):
    members = {"data": lecture().data.astype(">f8"), "indptr": np.array([0, 2, 3, 5, 6], ">i4")}
    A = sc.load(npz(tmp_path / "A.npz", **members))
    assert A.dtype.isnative
    assert A.equals(lecture())


def test_npy_version_2(tmp_path):
    stream = io.BytesIO()
    npy.write_array(stream, np.array(lecture().data), version=(2, 0))
    assert sc.load(npz(tmp_path / "A.npz", data=stream.getvalue())).equals(lecture())


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
def test_bad_npz_members(tmp_path, monkeypatch, members, message):
    monkeypatch.chdir(tmp_path)
    path = npz(tmp_path / "A.npz", **members)
    with pytest.raises(ValueError, match=rf"(?s)A\.npz: .*{message}"):
        sc.load(path)
    assert not Path("unpickled").exists()


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions(tmp_path, compression):
    with pytest.raises(ValueError, match="compression"):
        sc.load(npz(tmp_path / "A.npz", compression=compression))


def patched_sizes(content: bytes, member: bytes, *, claimed: int) -> bytes:
    """Return a zip archive whose directory claims another size for a member once inflated."""
    at = content.index(b"PK\x01\x02")
    while content[at + 46 : at + 46 + len(member)] != member:
        at = content.index(b"PK\x01\x02", at + 4)
    return content[: at + 24] + struct.pack("<I", claimed) + content[at + 28 :]


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


def test_truncated_npz_at_every_byte(tmp_path):
    path = npz(tmp_path / "A.npz")
    content = path.read_bytes()
    for size in range(len(content)):
        path.write_bytes(content[:size])
        with pytest.raises(ValueError, match=r"A\.npz: "):
            sc.load(path)


@settings(SHARED, max_examples=300)
@given(st.data())
def test_flipped_bytes_of_npz_load_or_raise_value_error(tmp_path, data):
    compression = data.draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))
    path = npz(tmp_path / "A.npz", compression=compression)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        sc.load(path).check()
    except ValueError as error:
        assert str(path) in str(error)  # noqa: PT017 - a fault is allowed, not demanded


# ---- memory ----


def peak_of_failed_load(path: Path) -> int:
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=path.name):
            sc.load(path)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_nothing_is_allocated_beyond_the_file(tmp_path):
    """A megabyte is far more than these files hold, and far less than they claim."""
    tensors = tmp_path / "A.safetensors"
    content = saved(tensors)
    lies = [
        rewritten(content, set_entry("data", "shape", [2**30])),
        rewritten(content, set_entry("__metadata__", "shape", f"{2**40} 4")),
        rewritten(
            content,
            lambda h: h | {"data": h["data"] | {"shape": [2**30], "data_offsets": [0, 2**33]}},
        ),
    ]
    for lie in lies:
        tensors.write_bytes(lie)
        assert peak_of_failed_load(tensors) < 2**20
    archive = tmp_path / "A.npz"
    for members in ({"data": claims((2**30,))}, {"shape": np.array([2**40, 4])}):
        assert peak_of_failed_load(npz(archive, **members)) < 2**20
    npz(archive)
    archive.write_bytes(patched_sizes(archive.read_bytes(), b"data.npy", claimed=2**31))
    assert peak_of_failed_load(archive) < 2**20
    pattern = write(tmp_path / "A.smtx", f"4, 4, {2**40}\n0 2 3 5 6\n1 3 2 0 1 3")
    assert peak_of_failed_load(pattern) < 2**20


def test_no_pickle_in_any_file(tmp_path):
    for suffix in (".safetensors", ".npz"):
        content = saved(tmp_path / f"A{suffix}")
        assert b"sparsecore" not in content
        with pytest.raises(pickle.UnpicklingError):
            pickle.loads(content)
