"""Python code run in a process of its own, with a time limit, so that a hang is a failure."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

ADDRESS_SANITIZER = "libasan" in os.environ.get("LD_PRELOAD", "")


def run(code: str, *, timeout: float = 60, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code and return what came of it; TimeoutExpired fails the test."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=os.environ | environment,
        check=False,
    )


def output(code: str, *, timeout: float = 60, **environment: str) -> str:
    """Run code that must succeed and return what it printed."""
    done = run(code, timeout=timeout, **environment)
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout.strip()
