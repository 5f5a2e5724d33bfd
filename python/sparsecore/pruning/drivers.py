"""What all that hangs on an optimizer's hooks has in common."""

from __future__ import annotations

from typing import NoReturn

__all__ = ["NotCopied"]


class NotCopied:
    """Is neither copied nor pickled: optimizers lose their hooks by it, and masks their force."""

    def __reduce__(self) -> NoReturn:
        """Refuse.

        Raises
        ------
        TypeError
            Always.
        """
        msg = (
            f"{type(self).__name__}: cannot be copied or pickled, as optimizers are without their "
            "hooks; expected its state_dict() to be, and loaded by one that is made for the copied "
            "model and optimizer"
        )
        raise TypeError(msg)
