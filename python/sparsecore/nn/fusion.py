"""What a fused model has in other places than the one that it was, and the way back."""

from dataclasses import dataclass
from typing import Any

from torch import nn

from sparsecore.nn.fused import FusedConv2d, FusedLinear
from sparsecore.nn.fused_forward import FusedForward

__all__ = ["Change", "Fusion"]


@dataclass(frozen=True, slots=True)
class Change:
    """A place of the model, and what is there: a submodule, or the forward of an instance."""

    parent: nn.Module
    key: str
    before: Any
    after: Any

    def put(self, fused: bool) -> None:
        """Put one of them there."""
        value = self.after if fused else self.before
        if isinstance(value, nn.Module):
            self.parent.register_module(self.key, value)
        elif value is None:
            vars(self.parent).pop(self.key, None)
        else:
            vars(self.parent)[self.key] = value


@dataclass(frozen=True, slots=True)
class Fusion:
    """What was changed, and can be changed back."""

    changes: tuple[Change, ...] = ()
    folded: int = 0  # BatchNorms
    added: int = 0  # residuals
    activated: int = 0

    @property
    def layers(self) -> list[FusedConv2d | FusedLinear]:
        """The layers that something was fused with."""
        return [c.after for c in self.changes if isinstance(c.after, FusedConv2d | FusedLinear)]

    @property
    def _forwards(self) -> list[FusedForward]:
        return [c.after for c in self.changes if isinstance(c.after, FusedForward)]

    @property
    def takes_images(self) -> bool:
        """Whether there is a memory order of images to choose."""
        return any(isinstance(layer, FusedConv2d) for layer in self.layers)

    @property
    def channels_last(self) -> bool:
        """Whether fused forwards bring images into channels_last order."""
        return any(forward.channels_last for forward in self._forwards)

    def order_images(self, *, channels_last: bool) -> None:
        """Say whether fused forwards bring images into channels_last order."""
        for forward in self._forwards:
            forward.channels_last = channels_last

    def chain(self, on: bool) -> None:
        """Let fused forwards run what follows one another in one call, as the layers are now."""
        for forward in self._forwards:
            forward.chain(on)

    def __str__(self) -> str:
        """Return how many of each kind, as a sentence's part."""
        counts = {"BatchNorm": self.folded, "residual": self.added, "activation": self.activated}
        parts = [f"{n} {name}{'s' if n > 1 else ''}" for name, n in counts.items() if n]
        if chained := sum(forward.chained for forward in self._forwards):
            parts.append(f"{chained} layers chained")
        return ", ".join(parts)

    def put(self, fused: bool) -> None:
        """Make the model the fused one, or the one that it was."""
        for change in self.changes if fused else reversed(self.changes):
            change.put(fused)

    def __add__(self, other: "Fusion") -> "Fusion":
        """Return both."""
        return Fusion(
            self.changes + other.changes,
            self.folded + other.folded,
            self.added + other.added,
            self.activated + other.activated,
        )
