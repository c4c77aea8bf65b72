#!/usr/bin/env python3
"""A step of the classifier in PyTorch, on the same weights, images and dropout masks: the constants of
`stages/src/classifier/tests.rs`; and how many parameters the notebook's class has.

    VENV/bin/pip install torch blake3 && VENV/bin/python tests/bench/images/network.py
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


class Residual(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width)

    def forward(self, x):
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + x)


class Network(nn.Module):
    def __init__(self, widths, hidden, channels, side, unused):
        super().__init__()
        self.count, self.numbers = len(widths), None
        for index, width in enumerate(widths):
            self.add_module(f"conv{2 * index + 1}", nn.Conv2d(channels, width, 3, padding=1))
            self.add_module(f"bn{2 * index + 1}", nn.BatchNorm2d(width))
            if unused:
                self.add_module(f"conv{2 * index + 2}", nn.Conv2d(width, width, 3, padding=1))
                self.add_module(f"bn{2 * index + 2}", nn.BatchNorm2d(width))
            self.add_module(f"res_block{index + 1}", Residual(width))
            channels = width
        self.fc1, self.fc2 = nn.Linear(channels * (side >> self.count) ** 2, hidden), nn.Linear(hidden, 10)

    def forward(self, x):
        for index in range(self.count):
            layer = lambda name, number: getattr(self, f"{name}{number}")
            x = F.relu(layer("bn", 2 * index + 1)(layer("conv", 2 * index + 1)(x)))
            x = F.max_pool2d(layer("res_block", index + 1)(x), 2)
            if self.training:
                number = self.numbers(index)
                mask = [0.0 if number(place) < 0.25 else 1 / 0.75 for place in range(x.numel())]
                x = x * torch.tensor(mask).reshape(x.shape)
        return self.fc2(F.relu(self.fc1(x.flatten(1))))


def begin(network):
    """`(37 i + 11 · length of the name) mod 101 / 101`, between minus and plus one over the root of a layer's inputs."""
    parameters = dict(network.named_parameters())
    for name, parameter in parameters.items():
        layer = name.rsplit(".", 1)[0]
        if "bn" not in layer:
            bound = 1 / math.sqrt(parameters[f"{layer}.weight"][0].numel())
            numbers = [((i * 37 + len(name) * 11) % 101) / 101 for i in range(parameter.numel())]
            values = torch.tensor([bound * (2 * number - 1) for number in numbers])
            parameter.data.copy_(values.reshape(parameter.shape))


print("torch", torch.__version__)
count = lambda network: sum(parameter.numel() for parameter in network.parameters())
print("the notebook's class:", count(Network([64, 128, 256], 128, 3, 32, True)), "parameters")
network = Network([8, 16], 32, 1, 8, False)
print("the small network:", count(network), "parameters")
begin(network)
images = torch.tensor([((i * 29) % 17) / 16 * 2 - 1 for i in range(6 * 64)]).reshape(6, 1, 8, 8)
labels = torch.tensor([0, 3, 9, 1, 3, 7])
network.numbers = lambda layer: quick(5, "dropout", 2, layer)
optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
logits = network(images)
loss = F.cross_entropy(logits, labels)
loss.backward()
print(f"loss {6 * loss.item():.6f}, right {(logits.argmax(1) == labels).sum().item()}")
for name, parameter in network.named_parameters():
    first = ", ".join(f"{value:.8g}" for value in parameter.grad.flatten()[:3].tolist())
    print(f"{name}: norm {parameter.grad.norm().item():.8f}, {first}")
print("all:", math.sqrt(sum((parameter.grad**2).sum().item() for parameter in network.parameters())))
optimizer.step()
for name in ["bn1.running_mean", "bn1.running_var", "res_block2.bn2.running_var"]:
    print(name, [float(f"{value:.8g}") for value in network.state_dict()[name][:3].tolist()])
network.eval()
print("after the step", [float(f"{value:.7g}") for value in F.log_softmax(network(images), 1)[0].tolist()])
print("loss", F.cross_entropy(network(images), labels, reduction="sum").item())
