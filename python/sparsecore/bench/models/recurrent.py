"""An LSTM with a head of linear layers, for inference."""

from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["LSTMClassifier"]


class LSTMClassifier(nn.Module):
    """The last state of an LSTM through two linear layers.

    The LSTM's own weights have no sparse form here: they stay as they are.

    References
    ----------
    Hochreiter and Schmidhuber, "Long Short-Term Memory", Neural Computation 9(8), 1997.
    """

    def __init__(self, inputs: int = 64, hidden: int = 128) -> None:
        super().__init__()
        self.lstm = nn.LSTM(inputs, hidden, batch_first=True)
        self.hidden, self.head = nn.Linear(hidden, 512), nn.Linear(512, 512)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, steps, inputs) to (n, 512)."""
        states, _ = self.lstm(x)
        logits: Tensor = self.head(F.relu(self.hidden(states[:, -1])))
        return logits
