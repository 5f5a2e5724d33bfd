"""Python code run in a process of its own, with a time limit, so that a hang is a failure."""

from __future__ import annotations

import os
import signal
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


def killed(code: str, *, exchanges: int) -> None:
    """Run code that is killed when it would go on after so many exchanges of files by new ones."""
    head = f"""
import os, signal
from pathlib import Path
replace, unlink, done = Path.replace, Path.unlink, []
def stop():
    if len(done) == {exchanges}:
        os.kill(os.getpid(), signal.SIGKILL)
def replaced(self, target):
    stop()
    done.append(target)
    return replace(self, target)
def unlinked(self, missing_ok=False):
    stop()
    unlink(self, missing_ok=missing_ok)
Path.replace, Path.unlink = replaced, unlinked
"""
    done = run(head + textwrap.dedent(code))
    assert done.returncode == -signal.SIGKILL, f"exit status {done.returncode}\n{done.stderr}"
