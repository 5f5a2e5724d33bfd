"""weight_files/from_torch.py: what torch.save wrote, read with no code run."""

import copy
import pickle
import sys
import zipfile
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from sparsecore.weight_files import open_weights

torch = pytest.importorskip("torch")


def saved(tmp_path: Path, content: Any, **options: Any) -> Path:
    torch.save(content, tmp_path / "m.pt", **options)
    return tmp_path / "m.pt"


def test_a_state_dict_with_views_ties_and_dtypes(tmp_path: Path) -> None:
    base = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    state = {
        "a.weight": base,
        "tied.weight": base,
        "view": base[1:, ::2],
        "turned": base.t(),
        "half": base.to(torch.bfloat16),
        "narrow": base.to(torch.float8_e4m3fn),
        "parameter": torch.nn.Parameter(base.double()),
        "count": torch.tensor(7),
        "_extra_state": {"no": "tensor"},
    }
    opened = open_weights(saved(tmp_path, state))
    assert (opened.kind, list(opened)) == ("torch", [n for n in state if n != "_extra_state"])
    assert opened.nbytes == (tmp_path / "m.pt").stat().st_size
    assert (opened["tied.weight"].tied_to, opened["tied.weight"].nbytes) == ("a.weight", 0)
    assert opened["turned"].tied_to is None
    assert (opened["view"].shape, opened["view"].nbytes) == ((3, 3), 36)
    for name in ("a.weight", "tied.weight", "view", "turned", "parameter", "count"):
        expected = state[name].detach().numpy()
        np.testing.assert_array_equal(opened.dense(name), expected, strict=True)
    W = base.numpy()
    np.testing.assert_array_equal(opened.dense("half"), W.astype(ml_dtypes.bfloat16), strict=True)
    narrow = W.astype(ml_dtypes.float8_e4m3fn)
    np.testing.assert_array_equal(opened.dense("narrow"), narrow, strict=True)


@pytest.mark.parametrize("place", [("state_dict",), ("model",), ("model", "module")])
def test_trainers_put_the_state_deeper(tmp_path: Path, place: tuple[str, ...]) -> None:
    content: Any = {"fc.weight": torch.eye(3)}
    for key in reversed(place):
        content = {key: content, "epoch": torch.tensor(3), "optimizer": {"state": {}}}
    opened = open_weights(saved(tmp_path, content))
    assert list(opened) == ["fc.weight"]
    assert opened.source.place == place


def test_files_of_before_archives_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before torch sees them: 8 GB are what one of 600 bytes may claim."""
    path = saved(tmp_path, {"w": torch.eye(3)}, _use_new_zipfile_serialization=False)
    monkeypatch.setattr(torch, "load", None)
    with pytest.raises(ValueError, match=r"m\.pt: not an archive.* before 1\.6 .* saved again"):
        open_weights(path)


def test_what_cannot_be_read_is_listed(tmp_path: Path) -> None:
    state = {"sparse": torch.eye(3).to_sparse(), "wide": torch.zeros(1).expand(1000, 1000)}
    opened = open_weights(saved(tmp_path, state))
    assert opened["sparse"].stored == "sparse_coo"
    with pytest.raises(ValueError, match=r"m\.pt: 'sparse' has layout torch.sparse_coo"):
        opened.read("sparse")
    with pytest.raises(ValueError, match="takes 4000000 bytes, of which the file has 4"):
        opened.read("wide")


class _Code:
    def __reduce__(self) -> Any:
        return (print, ("run",))


@pytest.mark.parametrize("content", [_Code(), [1, 2], {"a": 1}, {}, torch.zeros(2)])
def test_no_state_dict(tmp_path: Path, content: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match=r"m\.pt: ") as caught:
        open_weights(saved(tmp_path, content))
    assert "\n" not in str(caught.value)
    assert capsys.readouterr().out == ""


def test_claims_are_not_believed(tmp_path: Path) -> None:
    """A storage that claims more than the file has, a member that inflates."""
    path = saved(tmp_path, {"w": torch.zeros(16)})
    members = {}
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    (name,) = (name for name in members if name.endswith("data.pkl"))
    # BININT1 16, the storage's length, becomes BININT of two thousand million.
    claimed = members[name].replace(b"K\x10", b"J" + (2_000_000_000).to_bytes(4, "little"))
    assert claimed != members[name]
    for content, kind, message in (
        (claimed, zipfile.ZIP_STORED, "torch does not load it"),
        (members[name], zipfile.ZIP_DEFLATED, "archive is compressed"),
    ):
        with zipfile.ZipFile(path, "w", kind) as archive:
            for member, data in (members | {name: content}).items():
                archive.writestr(member, data)
        with pytest.raises(ValueError, match=message):
            open_weights(path)


def test_members_that_overlap_are_refused(tmp_path: Path) -> None:
    """Many that are one place of the file would be many times the file's bytes."""
    path = saved(tmp_path, {f"w{i}": torch.zeros(4096) for i in range(4)})
    with zipfile.ZipFile(path, "a") as archive:
        first = next(info for info in archive.infolist() if info.filename.endswith("data/0"))
        for info in archive.infolist():
            if info.filename[-6:-1] == "data/":
                info.header_offset, info.CRC = first.header_offset, first.CRC
        for i in range(8):
            copied = copy.copy(first)
            copied.filename = first.filename[:-1] + str(10 + i)
            archive.filelist.append(copied)
        archive.writestr("archive/more", b"")  # so that the directory is written anew
    with pytest.raises(ValueError, match=r"m\.pt: its archive lists \d+ bytes in a file of \d+"):
        open_weights(path)


def test_the_extra_is_named_where_torch_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "m.pt").write_bytes(pickle.dumps({}))
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'sparsecore\[torch\]'"):
        open_weights(tmp_path / "m.pt")
