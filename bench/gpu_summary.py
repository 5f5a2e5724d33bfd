"""The summary of gpu.sh: what became of its parts, as JSON. Takes no more than Python itself.

python bench/gpu_summary.py PARTS.tsv SUMMARY.json GPU
"""

import json
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path


def main(parts: Path, summary: Path, gpu: str) -> None:
    """Write the summary of parts: a line each of name, state, seconds, reason and log."""
    rows = [line.split("\t") for line in parts.read_text(encoding="utf-8").splitlines()]
    document = {
        "date": datetime.now(UTC).date().isoformat(),
        "gpu": gpu,
        "python": platform.python_version(),
        "parts": [_part(*row) for row in rows],
    }
    summary.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _part(name: str, state: str, seconds: str, reason: str, log: str) -> dict[str, object]:
    lines = []
    if state != "absent":
        output = Path(log).read_text(encoding="utf-8", errors="replace")
        lines = [line.strip() for line in output.splitlines() if line.strip()]
    return {
        "name": name,
        "state": state,
        "seconds": int(seconds),
        "reason": reason.strip() or None,
        "last_line": lines[-1] if lines else None,
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
