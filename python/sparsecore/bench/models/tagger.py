"""An encoder called as those of Hugging Face's transformers are: keywords in, a mapping out."""

import torch
from torch import Tensor, nn

from sparsecore.bench.models.transformer import BertLayer

__all__ = ["Tagger"]


class Tagger(nn.Module):
    """Two BERT layers between an embedding and two heads.

    Which head runs, and whether padding is cleared, depends on arguments and on their values, which
    no symbolic tracer follows.
    """

    def __init__(self, width: int = 256, tokens: int = 1000) -> None:
        super().__init__()
        self.embeddings = nn.Embedding(tokens, width)
        self.layers = nn.ModuleList(BertLayer(width, heads=4) for _ in range(2))
        self.pooler, self.classifier = nn.Linear(width, width), nn.Linear(width, 9)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, *, return_pooled: bool = True
    ) -> dict[str, Tensor]:
        """Map token numbers, (n, tokens), to logits and, if asked for, a vector for the whole."""
        x = self.embeddings(input_ids)
        if attention_mask is not None and not bool(attention_mask.all()):
            x = x * attention_mask[..., None]
        for layer in self.layers:
            x = layer(x)
        found = {"logits": self.classifier(x)}
        if return_pooled:
            found["pooler_output"] = torch.tanh(self.pooler(x[:, 0]))
        return found
