#!/usr/bin/env python3
"""A step of the character model in PyTorch, written as EXAdam's notebook `mingpt.ipynb` has it, on the same weights, text
and dropout masks: the constants of `stages/src/character_model/tests.rs`; and how many parameters the notebook's has.

    VENV/bin/pip install torch blake3 && VENV/bin/python tests/bench/text/network.py
"""
import math
import struct

import torch
import torch.nn as nn
import torch.nn.functional as F
from blake3 import blake3

MASK, GOLDEN = (1 << 64) - 1, 0x9E3779B97F4A7C15


def quick(seed, purpose, step, row):
    """`gazal_data::Stream::quick`: a number in [0, 1) by its index."""
    key = blake3(struct.pack("<Q", seed) + purpose.encode(), derive_key_context="gazal-pipe 2026-11 random stream")
    start = struct.unpack("<Q", blake3(struct.pack("<QQ", step, row), key=key.digest()).digest()[:8])[0]

    def uniform(index):
        bits = (start + index * GOLDEN + GOLDEN) & MASK
        bits = ((bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        bits = ((bits ^ (bits >> 27)) * 0x94D049BB133111EB) & MASK
        return ((bits ^ (bits >> 31)) >> 11) / (1 << 53)

    return uniform


class Head(nn.Module):
    def __init__(self, width, size):
        super().__init__()
        self.key, self.query, self.value = (nn.Linear(width, size, bias=False) for _ in range(3))

    def forward(self, x, mask):
        _, length, width = x.shape
        scores = self.query(x) @ self.key(x).transpose(-2, -1) * width**-0.5
        scores = scores.masked_fill(torch.ones(length, length).triu(1).bool(), float("-inf"))
        return (F.softmax(scores, dim=-1) * mask) @ self.value(x)


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = nn.ModuleList(Head(width, width // heads) for _ in range(heads))
        self.proj = nn.Linear(width, width)

    def forward(self, x, dropout):
        batch, length, _ = x.shape
        mask = dropout((batch, len(self.heads), length, length))
        x = self.proj(torch.cat([head(x, mask[:, at]) for at, head in enumerate(self.heads)], dim=-1))
        return x * dropout(x.shape)


class FeedForward(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(width, 4 * width), nn.ReLU(), nn.Linear(4 * width, width))

    def forward(self, x, dropout):
        return self.net(x) * dropout(x.shape)


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.sa, self.ff = Attention(width, heads), FeedForward(width)
        self.ln1, self.ln2 = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, x, dropout):
        x = x + self.sa(self.ln1(x), dropout)
        return x + self.ff(self.ln2(x), dropout)


class Model(nn.Module):
    def __init__(self, layers, heads, width, length, characters):
        super().__init__()
        self.token_embedding_table = nn.Embedding(characters, width)
        self.position_embedding_table = nn.Embedding(length, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.ln_f, self.lm_head = nn.LayerNorm(width), nn.Linear(width, characters)

    def forward(self, ids, dropout):
        x = self.token_embedding_table(ids) + self.position_embedding_table.weight
        for block in self.blocks:
            x = block(x, dropout)
        return self.lm_head(self.ln_f(x))


def begin(model):
    """From `u(i) = (37 i + 11 · length of the name) mod 101 / 101`: standard normal embeddings by Box and Muller's two
    numbers, all else uniform between minus and plus one over the root of a layer's inputs; norms stay."""
    parameters = dict(model.named_parameters())
    for name, parameter in parameters.items():
        u = lambda i: ((i * 37 + len(name) * 11) % 101) / 101
        normal = lambda i: math.sqrt(-2 * math.log(1 - u(2 * i))) * math.cos(math.tau * u(2 * i + 1))
        layer = name.rsplit(".", 1)[0]
        if "ln" not in layer:
            bound = 1 / math.sqrt(parameters[f"{layer}.weight"].shape[1])
            uniform = lambda i: bound * (2 * u(i) - 1)
            values = map(normal if "embedding" in name else uniform, range(parameter.numel()))
            parameter.data.copy_(torch.tensor(list(values)).reshape(parameter.shape))


class Dropout:
    """Factors of one pass, the calls numbered in their order."""

    def __init__(self, share, seed, step):
        self.share, self.seed, self.step, self.calls = share, seed, step, 0

    def __call__(self, shape):
        number = quick(self.seed, "dropout", self.step, self.calls)
        self.calls += 1
        kept = 1 / (1 - self.share)
        factors = [0.0 if number(place) < self.share else kept for place in range(math.prod(shape))]
        return torch.tensor(factors).reshape(shape)


print("torch", torch.__version__)
count = sum(parameter.numel() for parameter in Model(8, 8, 384, 256, 65).parameters())
print("the notebook's:", count, "parameters")
model = Model(2, 2, 8, 6, 7)
print("the small one's:", sum(parameter.numel() for parameter in model.parameters()), "parameters")
begin(model)
text = torch.tensor([(5 * i + i * i // 3) % 7 for i in range(40)])
starts = [0, 9, 23]
ids, targets = (torch.stack([text[at + by : at + by + 6] for at in starts]) for by in (0, 1))
plain = lambda shape: torch.ones(shape)
loss = lambda dropout: F.cross_entropy(model(ids, dropout).flatten(0, 1), targets.flatten())
print(f"loss without dropout {loss(plain).item():.8f}")
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
trained = loss(Dropout(0.2, 5, 2))
trained.backward()
print(f"loss {trained.item():.8f}")
for name, parameter in model.named_parameters():
    first = ", ".join(f"{value:.8g}" for value in parameter.grad.flatten()[:3].tolist())
    print(f'("{name}", {parameter.grad.norm().item():.8f}, [{first}]),')
print("all:", math.sqrt(sum((parameter.grad**2).sum().item() for parameter in model.parameters())))
optimizer.step()
print(f"loss without dropout after the step {loss(plain).item():.8f}")
