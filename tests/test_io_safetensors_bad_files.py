"""safetensors files that lie, are cut or are damaged: ValueError with the file's name."""

import json
import struct

import hypothesis.strategies as st
import pytest
from hypothesis import given

import sparsecore as sc
from file_cases import check_loads_or_names_the_file, flipped, matrices, rewritten, saved, set_entry
from format_cases import EXAMPLES_SHARE_FIXTURES, LECTURE, lecture

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
def test_headers_that_lie(tmp_path, change, message):
    path = tmp_path / "A.safetensors"
    path.write_bytes(rewritten(saved(path), change))
    if message is None:  # a lie that tells the same matrix
        assert sc.load(path).equals(lecture())
        return
    with pytest.raises(ValueError, match=rf"(?s)A\.safetensors: .*{message}"):
        sc.load(path)


def test_truncated_at_every_byte(tmp_path):
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


@EXAMPLES_SHARE_FIXTURES
@given(matrices(), st.data())
def test_flipped_bytes_load_or_raise_value_error(tmp_path, A, data):
    path = tmp_path / "A.safetensors"
    path.write_bytes(flipped(data, saved(path, A), within=2000))
    check_loads_or_names_the_file(path)
