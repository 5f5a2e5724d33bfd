"""The layers of BERT-base, and one step of a GPT's decoder, for inference."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["BertLayer", "DecodeStep", "bert_base", "encoder"]


class BertLayer(nn.Module):
    """A layer of BERT's encoder, normalised after each half: 7,087,872 parameters at base size.

    References
    ----------
    Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers for Language
    Understanding", NAACL 2019, section 3.
    """

    def __init__(self, width: int = 768, heads: int = 12) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
        self.value, self.output = nn.Linear(width, width), nn.Linear(width, width)
        self.norm1 = nn.LayerNorm(width, eps=1e-12)
        self.grow, self.shrink = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.norm2 = nn.LayerNorm(width, eps=1e-12)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, tokens, width) to the same shape."""
        q, k, v = (_split(part(x), self.heads) for part in (self.query, self.key, self.value))
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = self.norm1(x + self.output(mixed))
        y: Tensor = self.norm2(x + self.shrink(F.gelu(self.grow(x))))
        return y


def bert_base() -> nn.Module:
    """Return the twelve layers, without the embeddings and without a head."""
    return nn.Sequential(*(BertLayer() for _ in range(12)))


def encoder(width: int = 256, heads: int = 4) -> nn.Module:
    """Return two layers of torch's own encoder, which in evaluation mode has a kernel for each."""
    layer = nn.TransformerEncoderLayer(width, heads, 4 * width, batch_first=True)
    return nn.TransformerEncoder(layer, 2)


class DecodeStep(nn.Module):
    """One layer of a GPT that makes one token a call, keys and values of the earlier ones given.

    Normalised before each half. At width 2048 it has 50 M parameters, read once a call.

    References
    ----------
    Radford et al., "Language Models are Unsupervised Multitask Learners", 2019, section 2.3.
    """

    def __init__(self, width: int = 2048, heads: int = 16) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
        self.value, self.output = nn.Linear(width, width), nn.Linear(width, width)
        self.grow, self.shrink = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Map (n, 1, width), with keys and values (n, heads, tokens, width / heads)."""
        y = self.norm1(x)
        q, k, v = (_split(part(y), self.heads) for part in (self.query, self.key, self.value))
        keys, values = torch.cat([keys, k], 2), torch.cat([values, v], 2)
        mixed = F.scaled_dot_product_attention(q, keys, values).transpose(1, 2).flatten(2)
        x = x + self.output(mixed)
        z: Tensor = x + self.shrink(F.gelu(self.grow(self.norm2(x))))
        return z


def _split(x: Tensor, heads: int) -> Tensor:
    """Bring (n, tokens, width) to (n, heads, tokens, width / heads)."""
    return x.reshape(*x.shape[:2], heads, -1).transpose(1, 2)
