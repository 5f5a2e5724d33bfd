"""Whether the compiler made of the CUDA kernels what they are written for, from the code itself.

check_kernels.py FILE...: objects or a library with device code. Needs cuobjdump on PATH. Prints a
line a kernel and architecture, and fails where one keeps a stack (spilled registers, arrays in
local memory) of more than 16 bytes, where a product that is for tensor cores has none of their
instructions, or where a load that should be of 16 bytes is not there.
"""

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator

_OURS = "sparsecore4cuda"
_MOST_STACK = 16  # bytes: two addresses that are kept for the end
# What the code of a kernel must hold, by a part of its name.
_WANTED = {
    r"13bitmap_stripsINS_4Half": r"HMMA\.16816\.F32 ",
    r"13bitmap_stripsINS_8BFloat16": r"HMMA\.16816\.F32\.BF16",
    r"12delta_stripsINS_4Half": r"HMMA\.16816\.F32 ",
    r"12delta_stripsINS_8BFloat16": r"HMMA\.16816\.F32\.BF16",
    # Products that are not each waited for.
    r"10wide_tilesI": r"HGMMA\.SP\.64x128x32\.F32[^;]* 0x0 ;",
    r"5tilesIL": r"HMMA\.1688\.F32\.TF32",
    r"(bitmap|delta)_stripsI": r"LDG\.E\.128",
    r"12delta_stripsI": r"LDS\.128",
    r"9wide_rowsIfN\w+RowsELi\d+ELi4E": r"LDG\.E\.128",
    r"9wide_rowsINS_8BFloat16EN\w+RowsELi\d+ELi8E": r"LDG\.E\.128",
    # Of S's values and of X: of 8 bits the first or both, "a" being int8.
    r"8strips24I\w*4Half": r"HMMA\.SP\.16832\.F32 ",
    r"8strips24I\w*8BFloat16": r"HMMA\.SP\.16832\.F32\.BF16",
    r"8strips24Iaa": r"IMMA\.SP\.16864\.S8\.S8",
    r"8strips24I(aa|NS_\w+ES\d*_)L": r"LDG\.E\.128",
    r"8compressI\w+ELb1EEE": r"LDG\.E\.128",
    r"7extractI[hjmt]Li(2|4|8|16)E": r"LDG\.E\.128",
}

_OF_SM90A = {r"10wide_tilesI"}


def _asked(option: str, path: str) -> str:
    return subprocess.run(
        ["cuobjdump", option, path], capture_output=True, text=True, check=True
    ).stdout


def _resources(text: str) -> Iterator[tuple[str, str, dict[str, int]]]:
    """Yield (architecture, kernel, counts) of ``cuobjdump -res-usage``."""
    architecture = name = ""
    for line in text.splitlines():
        if found := re.search(r"arch = (\w+)", line):
            architecture = found[1]
        elif found := re.search(r"Function (\w+):", line):
            name = found[1]
        elif "REG:" in line and _OURS in name:
            counts = {key: int(count) for key, count in re.findall(r"(\w+):(\d+)", line)}
            yield architecture, name, counts


def _codes(text: str) -> Iterator[tuple[str, str, str]]:
    """Yield (architecture, kernel, its code) of ``cuobjdump -sass``."""
    architecture = ""
    for part in re.split(r"(?=arch = |Function : )", text):
        if found := re.match(r"arch = (\w+)", part):
            architecture = found[1]
        elif (found := re.match(r"Function : (\w+)", part)) and _OURS in found[1]:
            yield architecture, found[1], part


def _faults(path: str) -> Iterator[str]:
    for architecture, name, counts in _resources(_asked("-res-usage", path)):
        print(f"{architecture} {counts['REG']:4} registers {counts['SHARED']:6} shared  {name}")
        if counts["STACK"] > _MOST_STACK or counts["LOCAL"]:
            yield f"{architecture} {name} has a stack of {counts['STACK']} bytes"
    seen: Counter[str] = Counter()
    for architecture, name, code in _codes(_asked("-sass", path)):
        for part, wanted in _WANTED.items():
            # What only one architecture has is a trap in the code for others.
            if not re.search(part, name) or (part in _OF_SM90A and architecture != "sm_90a"):
                continue
            seen[part] += 1
            if not re.search(wanted, code):
                yield f"{architecture} {name} has no {wanted}"
    yield from (f"{path} has no kernel {part}" for part in _WANTED if not seen[part])


def main() -> None:
    """Check each file."""
    faults = [fault for path in sys.argv[1:] for fault in _faults(path)]
    print(*faults, sep="\n", file=sys.stderr)
    sys.exit(1 if faults or len(sys.argv) < 2 else 0)


if __name__ == "__main__":
    main()
