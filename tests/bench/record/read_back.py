#!/usr/bin/env python3
"""What a training leaves in its `history`, read by TensorBoard and by pyarrow.

    pip install tensorboard pyarrow
    tests/bench/record/read_back.py

Runs `base`, `sft` and `grpo` of pipelines/gazal-r1.toml in the profile `smoke`, with completions logged, into a store
of its own. TensorBoard's event accumulator must have every number of trainer_state.json, at its step and in its order,
and nothing else; pyarrow a file of completions for each generation, with TRL's columns and a row for each completion.
GAZAL_PIPE names the binary (else target/release/gazal-pipe).
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy
import pyarrow
import pyarrow.parquet
import tensorboard
from tensorboard.backend.event_processing import event_accumulator

ROOT = pathlib.Path(__file__).resolve().parents[3]
PROGRAM = os.environ.get("GAZAL_PIPE", str(ROOT / "target/release/gazal-pipe"))
PIPELINE = str(ROOT / "pipelines/gazal-r1.toml")
SETTINGS = ["--profile", "smoke", "--set", "stages.grpo.params.log_completions=true"]
REWARDS = [
    "accuracy_reward",
    "think_format_reward",
    "get_cosine_scaled_reward",
    "get_repetition_penalty_reward",
]
TYPES = {"step": "int64", "prompt": "string", "completion": "string"}


def main():
    print(f"tensorboard {tensorboard.__version__}, pyarrow {pyarrow.__version__}")
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        tell(["run", PIPELINE, "grpo", *SETTINGS, "--store", str(folder / "store")])
        for stage in ["base", "sft", "grpo"]:
            history = folder / stage
            words = ["get", PIPELINE, f"{stage}.history", str(history), *SETTINGS, "--store", str(folder / "store")]
            tell(words)
            state = json.loads((history / "trainer_state.json").read_text())
            print(f"{stage}: {compare(history, state)}")
        print(f"grpo: {completions(folder / 'grpo', state)}")


def tell(words):
    subprocess.run([PROGRAM, *words], check=True, stdout=subprocess.DEVNULL)


def compare(history, state):
    wanted = {}
    for entry in state["log_history"]:
        for name, value in entry.items():
            if name != "step" and isinstance(value, (int, float)):
                tag = "eval/" + name[len("eval_") :] if name.startswith("eval_") else "train/" + name
                wanted.setdefault(tag, []).append((entry["step"], float(numpy.float32(value)), 0.0))
    events = event_accumulator.EventAccumulator(str(history), size_guidance={event_accumulator.SCALARS: 0})
    events.Reload()
    found = {
        tag: [(event.step, event.value, event.wall_time) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }
    assert found == wanted, {tag: (found.get(tag), wanted.get(tag)) for tag in found.keys() | wanted.keys()}
    scalars = sum(len(values) for values in found.values())
    assert scalars > 0
    return f"{len(state['log_history'])} entries, {len(found)} tags, {scalars} scalars, all equal"


def completions(history, state):
    files = sorted((history / "completions").iterdir())
    assert [path.name for path in files] == [f"completions_{step + 1:05d}.parquet" for step in range(state["max_steps"])]
    rows = 0
    for path, entry in zip(files, state["log_history"]):
        table = pyarrow.parquet.read_table(path)
        columns = {field.name: str(field.type) for field in table.schema}
        assert columns == TYPES | {name: "double" for name in [*REWARDS, "advantage"]}, columns
        assert list(columns) == [*TYPES, *REWARDS, "advantage"]
        assert set(table["step"].to_pylist()) == {entry["step"]}
        for name in REWARDS:
            values = [value for value in table[name].to_pylist() if value is not None]
            assert numpy.isclose(numpy.mean(values), entry[f"rewards/{name}/mean"]), name
        assert table.num_rows == 8, "4 completions of 2 prompts"
        rows += table.num_rows
    return f"{len(files)} files of completions, {rows} rows, columns {', '.join(columns)}"


if __name__ == "__main__":
    sys.exit(main())
