#!/usr/bin/env python3
"""Seconds and memory of evaluations, beside lm-evaluation-harness.

    tests/bench/lm_eval/speed.py [--data FOLDER] [--questions 12] [--tokens 32] [--batches 1,8,32] [--rounds 2] [MODEL...]

Needs lm-eval 0.4.13, torch and transformers from PyPI. MODEL are Hugging Face folders; else the base that
pipelines/gazal-r1.toml trains in its smallest profile, and a model of SmolLM2-135M's shapes with random weights in
float32 and the tokenizer of that base. Questions are those of compare.py, the first of each of five tasks.

- loglikelihood: all tasks by log-likelihood, with lm-eval's `hf` at each batch size, here at the stage's default
- generate: so many new tokens, greedily, after the questions of MedQA; the models never end by themselves. Prompts are
  lm-eval's there and ours here, which is a sentence longer

`auto` is a batch size too, of 64 at most; it first reads that many texts of the model's full length, again and again.
Each is a process from start to end, loading included; here the stage runs from a store that has model and questions.
Two threads for both, in turns, the least of the rounds. busy is processor time of all processes; memory the peak of
resident pages in MiB of all processes together, and the anonymous ones of those. Accuracies must be equal.
GAZAL_PIPE names the binary (else target/release/gazal-pipe).
"""

import argparse
import json
import os
import pathlib
import shutil
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from processes import take

THREADS = 2
GENERATION = """
include: {task}
task: here_generate
output_type: generate_until
dataset_path: json
dataset_name: null
dataset_kwargs: {{data_files: {{test: {file}}}}}
training_split: null
validation_split: null
test_split: test
fewshot_split: null
doc_to_choice: null
doc_to_target: label
generation_kwargs: {{until: [], do_sample: false, max_gen_toks: {tokens}}}
metric_list: [{{metric: bypass}}]
"""
STAGE = """
[stages.generate]
kind = "eval"
inputs = { model = "model", benchmarks = "benchmarks" }
params = { label = "here", protocols = ["generate_cot"], tasks = ["medqa"], max_new_tokens = TOKENS }
needs = { cpus = 2 }
"""


def main():
    options = read_arguments()
    if options.there:
        return there(*options.models, *options.there)
    import compare

    print("| model | asked by | there at | seconds here, there | busy | memory | anonymous |")
    print("|---" * 7 + "|")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        folder = pathlib.Path(folder)
        compare.write_questions(folder, options)
        task = GENERATION.format(task=compare.TASKS / "medqa/medqa.yaml", file=folder / "tasks/medqa.jsonl", tokens=options.tokens)
        (folder / "tasks/generate.yaml").write_text(task)
        for model in options.models or own_models(compare, folder):
            measure(compare, model, folder, options)


def read_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", metavar="MODEL", nargs="*", type=pathlib.Path)
    parser.add_argument("--data", type=pathlib.Path)
    parser.add_argument("--questions", type=int, default=12)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--batches", type=lambda text: text.split(","), default=["1", "8", "32"])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--folder", type=pathlib.Path)
    parser.add_argument("--there", nargs=3, help=argparse.SUPPRESS)
    return parser.parse_args()


def own_models(compare, folder):
    base = next(compare.own_models(folder))
    yield base
    yield make_model(base, folder / "smollm2-135m")


def make_model(base, folder):
    """SmolLM2-135M's shapes, with the base's tokenizer."""
    import torch
    import transformers

    tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(base)
    config = transformers.LlamaConfig(
        vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
        num_key_value_heads=3, max_position_embeddings=2048, tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(config)
    with torch.no_grad():
        rows = model.get_input_embeddings().weight
        # Neither what the tokenizer does not know nor the end is ever the most likely.
        rows[len(tokenizer) :] = 0
        rows[[at for at in (tokenizer.eos_token_id, tokenizer.pad_token_id) if at is not None]] = 0
    model.save_pretrained(folder)
    for path in base.glob("tokenizer*"):
        shutil.copy(path, folder)
    return folder


def measure(compare, model, folder, options):
    pipeline = folder / f"{model.name}-speed.toml"
    text = compare.PIPELINE.replace("MODEL", str(model.resolve())) + "needs = { cpus = 2 }\n"
    pipeline.write_text(text + STAGE.replace("TOKENS", str(options.tokens)))
    for stage, asked_by in [("eval", "loglikelihood"), ("generate", "generate")]:
        found = {}
        for number in range(options.rounds):
            found.setdefault("here", []).append(here(compare, pipeline, stage, folder, number))
            for batch in options.batches:
                words = [sys.executable, __file__, model, "--there", folder, stage, batch]
                found.setdefault(batch, []).append(run(f"{model.name} {asked_by} {batch}", words))
        least = {name: [min(values) for values in zip(*taken)] for name, taken in found.items()}
        for batch in options.batches:
            pairs = zip(least["here"], least[batch], (".1f", ".1f", ".0f", ".0f"))
            columns = [f"{ours:{form}}, {theirs:{form}}: {theirs / ours:.1f} times" for ours, theirs, form in pairs]
            print(f"| {model.name} | {asked_by} | {batch} | {' | '.join(columns)} |", flush=True)


def here(compare, pipeline, stage, folder, number):
    store = folder / f"store-{pipeline.stem}-{stage}-{number}"
    command = [compare.PROGRAM, "run", pipeline, "--store", store, "--quiet"]
    take([*command, "model", "benchmarks"])
    found = run(f"{pipeline.stem} {stage} here", [*command, stage])
    shutil.rmtree(store)
    return found


def run(name, command):
    threads = {"OMP_NUM_THREADS": str(THREADS), "RAYON_NUM_THREADS": str(THREADS)}
    found = take(command, env={**os.environ, **threads})
    numbers = (found.seconds, found.busy, found.resident, found.anonymous)
    print(name, *(f"{number:.1f}" for number in numbers), file=sys.stderr, flush=True)
    return numbers


def there(model, folder, stage, batch):
    import compare
    import lm_eval
    import torch

    torch.set_num_threads(THREADS)
    tasks = [f"here_{name}" for name in compare.BENCHMARKS] if stage == "eval" else ["here_generate"]
    lm_eval.simple_evaluate(
        model="hf",
        model_args={"pretrained": str(model), "tokenizer": compare.read_tokenizer(model), "dtype": "float32"},
        tasks=tasks,
        task_manager=compare.TaskManager(include_path=str(pathlib.Path(folder) / "tasks"), include_defaults=False),
        num_fewshot=0,
        batch_size=batch if batch == "auto" else int(batch),
        max_batch_size=64,
        device="cpu",
        bootstrap_iters=0,
    )


if __name__ == "__main__":
    main()
