#!/usr/bin/env python3
"""Numbers of real mergekit for the tests of crates/merge.

usage: make_cases.py OUT.json       (a Python 3.11 with mergekit 0.1.5; its torch may be a CPU build)
tests/fixtures/vectors/mergekit.json is what it wrote.
Two parts. `merges`: every method that is offered here on small random tensors, computed by mergekit in float64 from
float32 numbers, with the uniform numbers that DARE's choice was made from. `plans`: for configurations, which tensors
mergekit's planner merges into which, and the parameters that it resolves for each.
"""
import json
import sys
import tempfile
from pathlib import Path

import torch
import transformers
import yaml
from mergekit import merge_methods
from mergekit.architecture import get_architecture_info
from mergekit.config import MergeConfiguration
from mergekit.merge import _model_out_config
from mergekit.merge_methods.base import PerInputValues, TensorGroup
from mergekit.options import MergeOptions
from mergekit.plan import MergePlanner

generator = torch.Generator().manual_seed(11)
uniform = []


def written(tensor):
    return [float(f"{x:.9g}") for x in tensor.reshape(-1).tolist()]


def bernoulli(chance):
    """As torch.bernoulli, from numbers that are written down."""
    numbers = torch.randint(1000, chance.shape, generator=generator) / 1000
    uniform.append(written(numbers))
    return (numbers < chance).to(chance.dtype)


torch.bernoulli = bernoulli


def cases():
    per = lambda name, *values: {name: list(values)}
    weights = per("weight", 0.7, 0.5, -0.3)
    for shape in [(6, 5), (7,), (2, 3, 4)]:
        yield "linear", shape, 3, False, {**weights}
        yield "linear", shape, 2, False, {**per("weight", 0.7, 0.9), "normalize": False}
        for t in (0.0, 0.3, 1.0):
            yield "slerp", shape, 1, True, {"t": t}
        for based in (False, True):
            for flatten, rows in [(True, False), (False, False), (False, True)]:
                flags = {"nuslerp_flatten": flatten, "nuslerp_row_wise": rows}
                yield "nuslerp", shape, 2, based, {**per("weight", 0.6, 0.2), **flags}
            yield "nuslerp", shape, 2, based, {**per("weight", 0.4, -0.4)}
        for normalize in (False, True):
            yield "task_arithmetic", shape, 3, True, {**weights, "normalize": normalize, "lambda": 0.7}
            density = per("density", 0.5, 0.25, 1.0)
            for rescale in (False, True):
                flags = {**weights, **density, "normalize": normalize, "rescale": rescale, "lambda": 1.3}
                for method in ("ties", "dare_linear", "dare_ties"):
                    yield method, shape, 3, True, flags
                for method in ("breadcrumbs", "breadcrumbs_ties"):
                    yield method, shape, 3, True, {**flags, **per("gamma", 0.01, 0.2, 0.1)}
                    yield method, shape, 3, True, {**flags, **per("gamma", 0.6, 0.9, 0.1)}
        for wise in (False, True):
            yield "model_stock", shape, 2, True, {"filter_wise": wise}
            yield "model_stock", shape, 4, True, {"filter_wise": wise}
        yield "passthrough", shape, 1, False, {}
        yield "passthrough", shape, 1, False, per("scale", -0.25)


def merges():
    for method, shape, count, based, parameters in cases():
        # An alternation of far and near models, and a base of other spread.
        base = torch.randn(shape, generator=generator)
        models = [base + (0.1 + i % 2) * torch.randn(shape, generator=generator) for i in range(count)]
        given = ([base] if based else []) + models
        group = TensorGroup.from_tensors([x.double() for x in given], base_index=0 if based else None, name="x.weight")
        ids = [entry.id for entry in group.entries if not entry.is_base]
        bound = {k: dict(zip(ids, v)) if isinstance(v, list) else v for k, v in parameters.items()}
        uniform.clear()
        result = execute(merge_methods.get(method), group, bound)
        yield {
            "method": method, "shape": list(shape), "parameters": parameters, "uniform": list(uniform),
            "base": written(base) if based else None,
            "models": [written(x) for x in models], "expected": written(result),
        }


def execute(run, group, parameters):
    bound = {}
    for spec in run.spec.parameters:
        value = parameters.get(spec.name, None if spec.required else spec.default)
        if spec in run.spec.input_parameters:
            entries = group.entries if spec.scope.value == "input" else group.non_base
            each = value if isinstance(value, dict) else {entry.id: value for entry in entries}
            value = PerInputValues([(entry.id, each[entry.id]) for entry in entries])
        bound[spec.name] = value
    (result,) = run._execute_resolved((group,), [bound], dtype=torch.float64, out_dtype=None)
    return result


CONFIGS = {
    "slerp with filtered gradients": """
slices:
  - sources:
      - {model: A, layer_range: [0, 4]}
      - {model: B, layer_range: [0, 4]}
merge_method: slerp
base_model: A
parameters:
  t:
    - filter: self_attn
      value: [0, 0.5, 0.3, 0.7, 1]
    - filter: mlp
      value: [1, 0.5, 0.7, 0.3, 0]
    - value: 0.5
dtype: bfloat16
""",
    "ties with gradients and a global density": """
models:
  - model: A
  - model: B
    parameters: {weight: [0, 0.3, 1], density: [1, 0.7, 0.1]}
  - model: C
    parameters:
      weight:
        - filter: mlp
          value: 0.5
        - filter: k_proj
          value: [0.25, 0.75]
        - value: 0
merge_method: ties
base_model: A
parameters:
  density: 0.6
  normalize: [true, false]
  lambda: [1.0, 0.9, 0.5]
  int8_mask: true
""",
    "stacked layers with a scale": """
slices:
  - sources:
      - model: A
        layer_range: [0, 3]
        parameters:
          scale:
            - {filter: o_proj, value: 0.0}
            - {value: 1.0}
  - sources:
      - {model: B, layer_range: [1, 2]}
  - sources:
      - {model: C, layer_range: [2, 4]}
merge_method: passthrough
""",
    "slices with parameters of their own": """
slices:
  - sources:
      - {model: A, layer_range: [0, 2]}
      - {model: B, layer_range: [2, 4], parameters: {weight: 0.2}}
    parameters: {weight: 0.4, lambda: 0.8}
  - sources:
      - {model: C, layer_range: [3, 4]}
      - {model: A, layer_range: [0, 1]}
    base_model: C
merge_method: breadcrumbs
base_model: A
parameters: {weight: [0.1, 0.9], density: 0.9, gamma: [0.02, 0.04]}
""",
    "a base that is not listed": """
models:
  - {model: B, parameters: {weight: 1}}
  - {model: C, parameters: {weight: [0, 1]}}
base_model: A
merge_method: nuslerp
""",
}


def plans(folder):
    config = transformers.Qwen3Config(
        vocab_size=32, hidden_size=8, intermediate_size=12, num_hidden_layers=4, num_attention_heads=2,
        num_key_value_heads=1, head_dim=4,
    )
    for name in "ABC":
        transformers.Qwen3ForCausalLM(config).save_pretrained(folder / name)
    short = lambda reference: Path(reference.model.path).name
    for name, text in CONFIGS.items():
        paths = text
        for model in "ABC":
            paths = paths.replace(f"model: {model}", f"model: {folder}/{model}")
        merge = MergeConfiguration.model_validate(yaml.safe_load(paths))
        options = MergeOptions()
        arch = get_architecture_info(merge, options)
        planner = MergePlanner(merge, arch, options=options, out_model_config=_model_out_config(merge, arch))
        planner._plan()
        tensors = []
        for weight, task in planner._tensors:
            own = {short(model): dict(values.items()) for model, values in task.input_parameters.items()}
            inputs = task.gather_tensors.weight_info
            tensors.append({
                "name": weight.name, "base": short(task.base_model) if task.base_model else None,
                "sources": [[short(model), inputs[model].name] for model in task.model_order],
                "shared": dict(task.parameters.items()), "own": own,
            })
        yield {"case": name, "config": text, "tensors": tensors}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        found = {"mergekit": "0.1.5", "merges": list(merges()), "plans": list(plans(Path(folder)))}
    Path(sys.argv[1]).write_text(json.dumps(found))
    print(len(found["merges"]), "merges,", len(found["plans"]), "plans")
