#!/usr/bin/env python3
"""Seconds and memory of merges, beside mergekit.

    tests/bench/mergekit/speed.py [--methods linear,slerp,...] [--rounds 2] [--dtype bfloat16] [--folder DIR]

Needs mergekit 0.1.5 with its torch from PyPI. Three models of Qwen2.5-0.5B's shapes with random weights (494M numbers,
988 MB of bfloat16 in two files each; `one` and `two` differ from `base` by a tenth of its spread) are merged by both
with the same configuration, in turns, on two threads. The files have been read before, so that they are in the page
cache. DIR needs 12 GB, and is where models, results and stores are written.

- merge: a process from start to end. Theirs loads Python, ours runs the stage `merge-models` from a store that has the
  models and writes the result into it, hashed and synced; theirs does not sync.
- of it storing: from the last tensor to the end of the stage, in which the result is hashed, copied and synced.
- busy: seconds of processor time of all processes, which others on the machine disturb less.
- memory: the peak of resident pages in MiB, of all processes together, mapped files included (theirs maps the models,
  ours reads them), and of those the anonymous ones.
Once a round a fresh store is filled with the three models (import): what a first run pays in addition. Copies are the
same files read and as much written as a merge does, by one thread, with and without a sync.
The least of the rounds is shown. GAZAL_PIPE names the binary (else target/release/gazal-pipe).
"""

import argparse
import json
import os
import pathlib
import shutil
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests/bench"))
from processes import take

PROGRAM = os.environ.get("GAZAL_PIPE", str(ROOT / "target/release/gazal-pipe"))
MODELS = ("base", "one", "two")
SHAPE = dict(
    vocab_size=151936, hidden_size=896, intermediate_size=4864, num_hidden_layers=24, num_attention_heads=14,
    num_key_value_heads=2, tie_word_embeddings=True,
)
# Whether the base is among the models that are merged or beside them, and parameters for all.
METHODS = {
    "linear": (True, {"weight": 0.4}, {}),
    "slerp": (True, {}, {"t": 0.4}),
    "task_arithmetic": (False, {"weight": 0.6}, {}),
    "ties": (False, {"weight": 0.6, "density": 0.5}, {"normalize": True}),
    "dare_ties": (False, {"weight": 0.6, "density": 0.5}, {"normalize": True}),
    "breadcrumbs": (False, {"weight": 0.6, "density": 0.9, "gamma": 0.01}, {}),
}
PIPELINE = """
[pipeline]
name = "merges"
[stages.models]
kind = "source"
params = { path = "${matrix.model}", type = "model" }
matrix = { model = ["base", "one", "two"] }
"""
MERGE = """
[stages.{method}]
kind = "merge-models"
inputs = {{ models = [{models}] }}
params = {{ config_file = "{method}.yaml", names = [{names}] }}
needs = {{ cpus = 2 }}
"""


def main():
    options = read_arguments()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        folder = pathlib.Path(folder)
        make_models(folder)
        write_configurations(folder, options)
        rounds = [measure(folder, options, number) for number in range(options.rounds)]
    show(rounds, options)


def read_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", type=lambda text: text.split(","), default=list(METHODS))
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--dtype", default="bfloat16", help="in which mergekit computes; ours computes in float32")
    parser.add_argument("--folder", type=pathlib.Path)
    return parser.parse_args()


def make_models(folder):
    import torch
    import transformers

    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    model = transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**SHAPE))
    for name in MODELS:
        model.save_pretrained(folder / name, max_shard_size="500MB")
        with torch.no_grad():
            for tensor in model.parameters():
                tensor.add_(torch.randn_like(tensor) * 0.002)


def models_of(method):
    return MODELS[:2] if method == "slerp" else MODELS


def write_configurations(folder, options):
    stages = PIPELINE
    for method in options.methods:
        listed, own, shared = METHODS[method]
        merged = [name for name in models_of(method) if listed or name != "base"]
        config = {
            "merge_method": method, "models": [{"model": str(folder / name), "parameters": own} for name in merged],
            "parameters": shared, "dtype": options.dtype, "out_dtype": "bfloat16",
        }
        if method != "linear":
            config["base_model"] = str(folder / "base")
        # JSON is YAML.
        (folder / f"{method}.yaml").write_text(json.dumps(config))
        inputs = ", ".join(f'"models@model={name}"' for name in models_of(method))
        names = ", ".join(f'"{folder / name}"' for name in models_of(method))
        stages += MERGE.format(method=method, models=inputs, names=names)
    (folder / "merges.toml").write_text(stages)


def measure(folder, options, number):
    """What everything of a round took, by name."""
    read_once(folder)
    store, found = folder / "store", {}
    run = [PROGRAM, "run", folder / "merges.toml", "--store", store, "--json"]
    found["import"] = taken(f"round {number + 1}, import", run + ["models"])
    for method in options.methods:
        ours = taken(f"round {number + 1}, {method}, here", run + [method], OMP_NUM_THREADS="2")
        found[method, "here"] = ours
        found[method, "storing"] = storing(ours.lines)
        words = ["-m", "mergekit.scripts.run_yaml", folder / f"{method}.yaml", folder / "out", "--num-threads", "2"]
        words += ["--no-copy-tokenizer", "--no-write-model-card", "--quiet"]
        found[method, "there"] = taken(f"round {number + 1}, {method}, there", [sys.executable, *words])
        shutil.rmtree(folder / "out")
    found["copied"], found["synced"] = copies(folder)
    shutil.rmtree(store)
    return found


def read_once(folder):
    for model in MODELS:
        for path in (folder / model).glob("*.safetensors"):
            with path.open("rb") as file:
                while file.read(1 << 24):
                    pass


def taken(name, command, **environment):
    # What was written before is not for this one to wait for.
    os.sync()
    found = take(command, env={**os.environ, **environment})
    print(f"{name}: {found.seconds:.1f} s, {found.busy:.1f} busy, {found.resident:.0f} MiB, {found.anonymous:.0f}", file=sys.stderr, flush=True)
    return found


def storing(lines):
    """Seconds of a merge after its last tensor."""
    events = [(came, json.loads(line)) for came, line in lines if line.startswith("{")]
    tensor = max(came for came, event in events if event["event"] == "progress")
    return next(came for came, event in events if event["event"] == "stage" and event["state"] == "ran") - tensor


def copies(folder):
    """Seconds to read three models and write one."""
    seconds = []
    for synced in (False, True):
        os.sync()
        begun = time.monotonic()
        with (folder / "copy").open("wb", buffering=0) as out:
            for model in MODELS:
                for path in (folder / model).glob("*.safetensors"):
                    with path.open("rb", buffering=0) as file:
                        while part := file.read(1 << 20):
                            if model == "base":
                                out.write(part)
            if synced:
                os.fsync(out.fileno())
        seconds.append(time.monotonic() - begun)
    (folder / "copy").unlink()
    return seconds


def show(rounds, options):
    least = lambda of: min(of(found) for found in rounds)
    imported = least(lambda found: found["import"].seconds)
    print(f"import {imported:.1f} s; copies {least(lambda f: f['copied']):.1f} s, synced {least(lambda f: f['synced']):.1f} s")
    print("| method | merge here, there | of it storing | busy here, there | memory here, there | anonymous |")
    print("|---" * 6 + "|")
    for method in options.methods:
        both = lambda field: [least(lambda found: getattr(found[method, where], field)) for where in ("here", "there")]
        columns = [beside(*both("seconds"), ".1f"), f"{least(lambda found: found[method, 'storing']):.1f}"]
        columns += [beside(*both("busy"), ".1f"), *(beside(*both(field), ".0f") for field in ("resident", "anonymous"))]
        print(f"| {method} | {' | '.join(columns)} |")


def beside(here, there, form):
    return f"{here:{form}}, {there:{form}}: {there / here:.1f} times"


if __name__ == "__main__":
    main()
