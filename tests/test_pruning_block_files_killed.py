"""A run over files that is killed goes on, to the same bits; and it never holds the whole model."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

pytest.importorskip("torch")

from child import output

_SET_UP = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import os, pathlib, signal, torch
from safetensors.torch import save_file
from language_model_cases import GPT
from sparsecore.pruning import ModelFiles, prune_blocks, token_batches
torch.set_num_threads(1)
torch.manual_seed(0)
folder = pathlib.Path(os.environ["FOLDER"])
"""

_KILLED = """
def build():
    return GPT(40, 16, 3, heads=2)

save_file(build().state_dict(), folder / "in.safetensors")
batches = token_batches(torch.arange(600) * 7 % 40, sequence_length=12, count=4)

def run(target):
    files = ModelFiles(folder / "in.safetensors", folder / target, build)
    return prune_blocks(files, batches, blocks="h", sparsity=0.5, sequence_length=12)

replace = pathlib.Path.replace

def kill_at(number, after):
    # Files appear by being renamed: the process dies just before, or just after, one of these.
    counted = []
    def counting(self, other):
        counted.append(self)
        if len(counted) == number and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(self, other)
        if len(counted) == number:
            os.kill(os.getpid(), signal.SIGKILL)
    pathlib.Path.replace = counting

expected = run("whole")
files = {path.name: path.read_bytes() for path in (folder / "whole").iterdir()}
# The journal; three blocks, each with the journal; the rest; the index.
for number, after in ((1, 0), (2, 0), (2, 1), (5, 0), (5, 1), (8, 1), (9, 0), (9, 1)):
    target = f"killed-{number}-{after}"
    child = os.fork()
    if not child:
        kill_at(number, after)
        run(target)
        os._exit(1)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, (number, status)
    there = {path.name for path in (folder / target).iterdir()}
    whole = "model.safetensors.index.json" in there
    assert whole == (number == 9 and after), (number, after, there)
    assert run(target) == expected
    found = {path.name: path.read_bytes() for path in (folder / target).iterdir()}
    assert found.keys() == files.keys(), (number, after, found.keys())
    assert found == files, (number, after)
print("as if never killed")
"""

_BOUNDED = """
from sparsecore.bench.sparse_training.process_memory import Growth

class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.grow, self.shrink = torch.nn.Linear(256, 2048), torch.nn.Linear(2048, 256)
    def forward(self, x):
        return x + self.shrink(self.grow(x).relu())

def build():
    parts = torch.nn.Embedding(64, 256), torch.nn.Sequential(*(Block() for _ in range(DEPTH)))
    return torch.nn.Sequential(*parts)

def run(name):
    one = Block().state_dict()
    whole = {f"1.{i}.{n}": x.clone() for i in range(DEPTH) for n, x in one.items()}
    whole["0.weight"] = torch.randn(64, 256)
    save_file(whole, folder / f"{name}.safetensors")
    model_bytes = sum(x.nbytes for x in whole.values())
    del whole, one
    growth = Growth()
    files = ModelFiles(folder / f"{name}.safetensors", folder / name, build)
    prune_blocks(files, batches, where=lambda name, _: "grow" in name, **options)
    return model_bytes, growth.peak()

batches = token_batches(torch.arange(9000) % 64, sequence_length=64, count=8)
options = {"blocks": "1", "sparsity": 0.5, "sequence_length": 64, "spill": folder / "spill"}
DEPTH = 1
run("first")  # what libraries allocate when they are first used
DEPTH = 24
print(*run("large"))
"""


def test_a_run_that_is_killed_at_any_point_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    code = _SET_UP + textwrap.dedent(_KILLED)
    assert output(code, timeout=180, FOLDER=str(tmp_path)) == "as if never killed"


def test_a_model_in_files_is_never_whole_in_memory(tmp_path: Path) -> None:
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("peaks of resident memory are read as Linux counts them")
    # glibc keeps what lies between blocks of less than 32 MiB, which real models' tensors are not.
    small = {"MALLOC_MMAP_THRESHOLD_": "131072"}
    done = output(_SET_UP + _BOUNDED, timeout=180, FOLDER=str(tmp_path), **small)
    model, peak = map(int, done.split())
    block = model // 24
    # The block, twice more while it is written, and two for the Hessian, its factor, copies of one
    # weight and a batch's activations.
    assert block < peak < 6 * block
