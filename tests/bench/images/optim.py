#!/usr/bin/env python3
"""Five steps of PyTorch's optimizers in float64: the constants of `train/src/optim/tests.rs`.

    VENV/bin/pip install torch && VENV/bin/python tests/bench/images/optim.py
"""
import math

import torch

torch.set_default_dtype(torch.float64)

CASES = {
    "ADAM": lambda p: torch.optim.Adam(p, lr=1e-2, weight_decay=0.1),
    "SGD_MOMENTUM": lambda p: torch.optim.SGD(p, lr=1e-2, momentum=0.9, weight_decay=0.1),
    "SGD": lambda p: torch.optim.SGD(p, lr=1e-2),
    "RMSPROP": lambda p: torch.optim.RMSprop(p, lr=1e-2, weight_decay=0.1),
    "RMSPROP_SHORT": lambda p: torch.optim.RMSprop(p, lr=1e-2, alpha=0.9, eps=1e-3),
    "ADADELTA": lambda p: torch.optim.Adadelta(p, lr=1.0, weight_decay=0.1),
    "ADADELTA_SHORT": lambda p: torch.optim.Adadelta(p, lr=0.5, rho=0.8, eps=1e-4),
}

print("torch", torch.__version__)
for name, make in CASES.items():
    parameter = torch.nn.Parameter(torch.tensor([math.cos(i * 0.9) for i in range(12)]).reshape(4, 3))
    optimizer = make([parameter])
    print(name)
    for step in range(5):
        gradient = [math.sin((step * 12 + i) * 1.7) * 0.3 + 0.05 for i in range(12)]
        parameter.grad = torch.tensor(gradient).reshape(4, 3)
        optimizer.step()
        values = parameter.detach().flatten()[[0, 5, 11]].tolist()
        print("   ", ", ".join(f"{value:.12f}" for value in values))
