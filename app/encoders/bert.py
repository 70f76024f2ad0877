"""A BERT encoder with mean pooling, small enough to read: what `all-MiniLM-L6-v2` needs, no more.

It takes the word embeddings as input, not the token ids, so that the 47 MB table can stay a
memory-mapped file outside the exported net. Architecture: Devlin et al., 2019; pooling: Reimers and
Gurevych, 2019. Parameter names are those of the checkpoint.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

HIDDEN, LAYERS, HEADS, INNER, POSITIONS = 384, 6, 12, 1536, 512
EPSILON = 1e-12


class Layer(nn.Module):
    """One transformer block, post-norm."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(HIDDEN, HIDDEN)
        self.key = nn.Linear(HIDDEN, HIDDEN)
        self.value = nn.Linear(HIDDEN, HIDDEN)
        self.attended = nn.Linear(HIDDEN, HIDDEN)
        self.attended_norm = nn.LayerNorm(HIDDEN, eps=EPSILON)
        self.wide = nn.Linear(HIDDEN, INNER)
        self.narrow = nn.Linear(INNER, HIDDEN)
        self.out_norm = nn.LayerNorm(HIDDEN, eps=EPSILON)

    def forward(self, states: Tensor, bias: Tensor) -> Tensor:
        count, length = states.shape[0], states.shape[1]

        def heads(part: Tensor) -> Tensor:
            return part.view(count, length, HEADS, HIDDEN // HEADS).transpose(1, 2)

        query, key, value = (heads(net(states)) for net in (self.query, self.key, self.value))
        scores = query @ key.transpose(2, 3) / (HIDDEN // HEADS) ** 0.5 + bias
        mixed = (scores.softmax(-1) @ value).transpose(1, 2).reshape(count, length, HIDDEN)
        states = self.attended_norm(states + self.attended(mixed))
        out: Tensor = self.out_norm(states + self.narrow(F.gelu(self.wide(states))))
        return out


class SentenceEncoder(nn.Module):
    """Word embeddings (n, t, 384) and mask (n, t), both float32 → unit sentence vectors (n, 384)."""

    def __init__(self) -> None:
        super().__init__()
        self.positions = nn.Parameter(torch.zeros(POSITIONS, HIDDEN))
        self.segment = nn.Parameter(torch.zeros(HIDDEN))
        self.norm = nn.LayerNorm(HIDDEN, eps=EPSILON)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))

    def forward(self, words: Tensor, mask: Tensor) -> Tensor:
        states = self.norm(words + self.positions[: words.shape[1]] + self.segment)
        bias = (1.0 - mask)[:, None, None, :] * -1e9
        for layer in self.layers:
            states = layer(states, bias)
        weight = mask.unsqueeze(-1)
        pooled = (states * weight).sum(1) / weight.sum(1).clamp(min=1e-9)
        return F.normalize(pooled, dim=1)


_NAMES = {
    "attention.self.query": "query",
    "attention.self.key": "key",
    "attention.self.value": "value",
    "attention.output.dense": "attended",
    "attention.output.LayerNorm": "attended_norm",
    "intermediate.dense": "wide",
    "output.dense": "narrow",
    "output.LayerNorm": "out_norm",
}


def from_checkpoint(weights: dict[str, Tensor]) -> SentenceEncoder:
    """A net with a BERT checkpoint's weights. Raises RuntimeError if one is missing or unknown."""
    state = {
        "positions": weights["embeddings.position_embeddings.weight"],
        "segment": weights["embeddings.token_type_embeddings.weight"][0],
        "norm.weight": weights["embeddings.LayerNorm.weight"],
        "norm.bias": weights["embeddings.LayerNorm.bias"],
    }
    for index in range(LAYERS):
        for theirs, ours in _NAMES.items():
            for part in ("weight", "bias"):
                source = f"encoder.layer.{index}.{theirs}.{part}"
                state[f"layers.{index}.{ours}.{part}"] = weights[source]
    net = SentenceEncoder()
    net.load_state_dict(state)
    return net.eval()
