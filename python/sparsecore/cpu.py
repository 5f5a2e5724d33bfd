"""Which CPU target the kernels run: baseline, avx2 or avx512 on x86-64."""

from sparsecore import _core


def target() -> str:
    """Return the active target.

    It is the widest that the processor runs, or what ``SPARSECORE_TARGET`` named when first asked.

    Raises
    ------
    ValueError
        Where ``SPARSECORE_TARGET`` names a target that cannot run here.

    Examples
    --------
    >>> import sparsecore as sc
    >>> sc.cpu.target() in sc.cpu.targets()
    True
    """
    return _core.target()


def targets() -> list[str]:
    """Return the targets that this processor and build can run, narrowest first."""
    return _core.supported_targets()


def compiled_targets() -> list[str]:
    """Return the targets in this build, also those that this processor cannot run."""
    return _core.compiled_targets()


def set_target(name: str) -> None:
    """Run another target from now on.

    Raises
    ------
    ValueError
        Where `name` is unknown or cannot run here; the message lists those that can.
    """
    _core.set_target(name)
