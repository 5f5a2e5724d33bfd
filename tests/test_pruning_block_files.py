"""A model in files is pruned as one in memory is, and nothing of its files is lost."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
nn = torch.nn

from safetensors.numpy import load_file  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

from language_model_cases import GPT, one_thread  # noqa: E402, F401
from sparsecore.checkpoint import load_checkpoint  # noqa: E402
from sparsecore.files.tensor_writing import write_tensors  # noqa: E402
from sparsecore.pruning import NM, ModelFiles, prune_blocks, token_batches  # noqa: E402

LENGTH = 12
build = functools.partial(GPT, 40, 16, 3, heads=2)
OPTIONS = {"blocks": "h", "sparsity": 0.5, "sequence_length": LENGTH}


def batches(seed: int = 3) -> list[Any]:
    text = torch.randint(40, (300,), generator=torch.Generator().manual_seed(seed))
    return token_batches(text, sequence_length=LENGTH, count=4)


def source(folder: Path, dtype: Any = None, *, shard_bytes: int | None = None) -> Any:
    """Write a model, and tensors that it does not have; return it."""
    torch.manual_seed(2)
    model = build().to(dtype or torch.float32)
    folder.mkdir()
    if shard_bytes is None:
        state = {**model.state_dict(), "extra": torch.arange(3)}
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    else:
        arrays = {name: x.numpy() for name, x in model.state_dict().items()}
        path = folder / "model.safetensors"
        write_tensors(path, arrays, metadata=lambda *_: {"format": "pt"}, shard_bytes=shard_bytes)
    return model


def written(folder: Path) -> dict[str, Any]:
    """Return all tensors of the files that the index names."""
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    found = {name: load_file(folder / name) for name in set(index["weight_map"].values())}
    assert {n: file for file, held in found.items() for n in held} == index["weight_map"]
    assert index["metadata"]["total_size"] == sum(
        x.nbytes for held in found.values() for x in held.values()
    )
    return {name: x for held in found.values() for name, x in held.items()}


@pytest.mark.parametrize("method", ["sparsegpt", "wanda", "magnitude"])
@pytest.mark.parametrize("shard_bytes", [None, 9000])
def test_files_are_pruned_as_the_model_in_memory_is_bit_by_bit(method, shard_bytes, tmp_path):
    model = source(tmp_path / "in", shard_bytes=shard_bytes)
    files = ModelFiles(tmp_path / "in", tmp_path / "out", build)
    spill = {"spill": tmp_path / "spill", "pattern": NM(2, 4)}
    layers = prune_blocks(files, batches(), method=method, **OPTIONS, **spill)
    assert layers == prune_blocks(model, batches(), method=method, pattern=NM(2, 4), **OPTIONS)
    found = written(tmp_path / "out")
    if shard_bytes is None:
        np.testing.assert_array_equal(found.pop("extra"), [0, 1, 2])
    assert found.keys() == model.state_dict().keys()
    for name, x in model.state_dict().items():
        np.testing.assert_array_equal(found[name].view(np.uint32), x.numpy().view(np.uint32))
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names[-1] == "pruning.json"
    assert sum(name.startswith("model-") for name in names) == len(names) - 2 >= 4
    checkpoint = load_checkpoint(tmp_path / "out")  # and the library reads it
    np.testing.assert_array_equal(checkpoint["h.0.key.weight"], found["h.0.key.weight"])


def test_bfloat16_stays_bfloat16_and_metadata_stay(tmp_path):
    source(tmp_path / "in", torch.bfloat16)

    def narrow_buffers() -> Any:
        model = build()  # its parameters get the files' dtype
        model.places = model.places.bfloat16()
        return model

    files = ModelFiles(tmp_path / "in" / "model.safetensors", tmp_path / "out", narrow_buffers)
    prune_blocks(files, method="magnitude", blocks="h", sparsity=0.5)
    found = written(tmp_path / "out")
    assert {str(x.dtype) for name, x in found.items() if name != "extra"} == {"bfloat16"}
    assert np.count_nonzero(found["h.1.grow.weight"]) == found["h.1.grow.weight"].size / 2
    header = (tmp_path / "out" / "model-00001-of-00004.safetensors").read_bytes()[8:200]
    assert b'"__metadata__":{"format":"pt"}' in header


def test_what_does_not_fit_is_refused_and_says_what(tmp_path):
    source(tmp_path / "in")

    def refused(message: str, make: Any = build, target: str = "out", **changes: Any) -> None:
        files = ModelFiles(tmp_path / "in", tmp_path / target, make)
        given = {"method": "wanda", **OPTIONS, **changes}
        data = given.pop("batches", batches())
        with pytest.raises((ValueError, TypeError), match=message):
            prune_blocks(files, data, **given)

    refused("target is .*in, the source's own folder", target="in")
    refused("has no tensor 'h.3.norm1.weight', which the block 'h.3'", lambda: GPT(40, 16, 4))
    refused(r"'tokens.weight' has shape \(40, 16\), the model's \(41, 16\)", lambda: GPT(41, 16, 3))
    refused("build returned a int", lambda: 1)
    with torch.device("meta"):
        on_meta = build()
    refused("the buffer 'places' is on the meta device", lambda: on_meta)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.safetensors").touch()
    refused("target has a.safetensors and no pruning.json", target="full")


def test_a_target_that_was_begun_otherwise_is_refused_and_a_complete_one_is_left(tmp_path):
    source(tmp_path / "in")
    files = ModelFiles(tmp_path / "in", tmp_path / "out", build)
    layers = prune_blocks(files, batches(), method="wanda", **OPTIONS)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    assert prune_blocks(files, None, method="wanda", **OPTIONS) == layers
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()} == before
    with pytest.raises(ValueError, match=r"begun with sparsity=0\.5, now it is 0\.25"):
        prune_blocks(files, batches(), method="wanda", **{**OPTIONS, "sparsity": 0.25})
    with pytest.raises(ValueError, match="begun with layers="):
        prune_blocks(files, batches(), method="wanda", where=lambda n, _: "key" in n, **OPTIONS)
    journal = tmp_path / "out" / "pruning.json"
    content = json.loads(journal.read_text())
    content["blocks"].pop()
    journal.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="begun with other calibration batches"):
        prune_blocks(files, batches(seed=4), method="wanda", **OPTIONS)
    journal.write_text("{}")
    with pytest.raises(ValueError, match=r"pruning.json: not a journal of prune_blocks"):
        prune_blocks(files, batches(), method="wanda", **OPTIONS)


def test_a_head_that_is_tied_to_the_embedding_need_not_be_in_the_files(tmp_path):
    def tied() -> Any:
        model = build()
        model.head.weight = model.tokens.weight
        assert model.head.weight is model.tokens.weight
        return model

    torch.manual_seed(4)
    model = tied()
    state = {name: x for name, x in model.state_dict().items() if name != "head.weight"}
    save_file(state, tmp_path / "in.safetensors")
    files = ModelFiles(tmp_path / "in.safetensors", tmp_path / "out", tied)
    prune_blocks(files, batches(), **OPTIONS)
    prune_blocks(model, batches(), **OPTIONS)
    found = written(tmp_path / "out")
    assert found.keys() == state.keys()
    np.testing.assert_array_equal(found["h.2.shrink.weight"], model.h[2].shrink.weight.detach())
