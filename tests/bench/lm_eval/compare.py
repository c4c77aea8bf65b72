#!/usr/bin/env python3
"""Multiple-choice questions asked by lm-evaluation-harness and by `eval` here, with the same result.

    tests/bench/lm_eval/compare.py [--data FOLDER] [--questions 40] [MODEL...]

Needs lm-eval 0.4.13, torch and transformers from PyPI. MODEL are Hugging Face folders; else the base and the merged
model that pipelines/gazal-r1.toml trains in its smallest profile, and some of tests/fixtures/models. FOLDER holds the
publishers' files under their usual names, of which the first questions are asked; else questions of random words in
the same layouts are. There, lm-eval's own tasks (their wording, options and right answers) are included and read the
same questions from files in the layout of the Hugging Face hub; here, `eval` reads the publishers' layout.

For each model and task: how many questions, how many options are longer with their question than the model has
positions, accuracies, how many questions are answered otherwise (others), and the largest difference of an option's
log-likelihood where everything fits and where the beginning is cut off. Accuracies must be equal, log-likelihoods
agree within 1e-3, and the logged samples have the keys, requests and hashes of prompts that lm-eval's have. Tokenizers are taken from tokenizer.json as it is, also where transformers has one of its own for
the kind of model (Qwen2). GAZAL_PIPE names the binary (else target/release/gazal-pipe).
"""

import argparse
import csv
import io
import json
import logging
import math
import os
import pathlib
import random
import subprocess
import sys
import tempfile

os.environ["HF_HUB_OFFLINE"] = "1"

import lm_eval
import transformers
from lm_eval.tasks import TaskManager

ROOT = pathlib.Path(__file__).resolve().parents[3]
PROGRAM = os.environ.get("GAZAL_PIPE", str(ROOT / "target/release/gazal-pipe"))
TASKS = pathlib.Path(lm_eval.__file__).parent / "tasks"
LETTERS = "ABCD"
# As they are named here: the publishers' file, and lm-eval's task.
BENCHMARKS = {
    "medqa": ("medqa_usmle_4opt_test.jsonl", "medqa/medqa.yaml"),
    "medmcqa": ("medmcqa_dev.jsonl", "medmcqa/medmcqa.yaml"),
    "pubmedqa": ("pubmedqa_test500.json", "pubmedqa/pubmedqa.yaml"),
    "mmlu_anatomy": ("anatomy_test.csv", "mmlu/default/mmlu_anatomy.yaml"),
    "mmlu_clinical_knowledge": ("clinical_knowledge_test.csv", "mmlu/default/mmlu_clinical_knowledge.yaml"),
}
# Only where the questions come from is replaced, and acc_norm added to the tasks that do not tell it.
TASK = """
include: {task}
task: here_{name}
dataset_path: json
dataset_name: null
dataset_kwargs: {{data_files: {{test: {file}}}}}
training_split: null
validation_split: null
test_split: test
fewshot_split: null
metric_list:
  - {{metric: acc, aggregation: mean, higher_is_better: true}}
  - {{metric: acc_norm, aggregation: mean, higher_is_better: true}}
"""
PIPELINE = """
[pipeline]
name = "lm-eval"
[stages.model]
kind = "source"
params = { path = "MODEL", type = "model" }
[stages.benchmarks]
kind = "source"
params = { path = "published", type = "dataset" }
[stages.eval]
kind = "eval"
inputs = { model = "model", benchmarks = "benchmarks" }
params = { label = "here", protocols = ["loglikelihood"] }
"""
WORDS = """the a of with and in which is most likely after fever cough pain naïve β-blocker 37.5 °C 120/80 mmHg "acute"
left ventricle (chronic) anaemia, serum µg/dL year-old man woman presents does not reduce dose's risk""".split()


def main():
    options = read_arguments()
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    print(f"lm-eval {lm_eval.__version__}, transformers {transformers.__version__}")
    print("| model | task | questions | too long | acc here, there | acc_norm here, there | others | off by | cut |")
    print("|---" * 9 + "|")
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        write_questions(folder, options)
        lines = [line for model in options.models or own_models(folder) for line in compare(model, folder)]
    agree = all(line["equal"] and not line["logged"] and max(line["fits"], line["cut"]) <= 1e-3 for line in lines)
    print(f"rows that lm-eval would log otherwise: {sum(line['logged'] for line in lines)} of", end=" ")
    print(sum(line["questions"] for line in lines))
    worst = [max(line[which] for line in lines) for which in ("fits", "cut")]
    print("largest difference of a log-likelihood: {:.1e}, of questions that are cut {:.1e}".format(*worst))
    sys.exit(0 if agree else 1)


def read_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", metavar="MODEL", nargs="*", type=pathlib.Path)
    parser.add_argument("--data", type=pathlib.Path)
    parser.add_argument("--questions", type=int, default=40)
    return parser.parse_args()


def own_models(folder):
    """What is trained here, and what the tests read."""
    of_pipeline = [ROOT / "pipelines/gazal-r1.toml", "--profile", "smoke", "--store", folder / "store"]
    call(folder, "run", *of_pipeline, "merge", "--quiet")
    for stage in ["base", "merge"]:
        call(folder, "get", *of_pipeline, f"{stage}.model", stage)
        yield folder / stage
    yield from (ROOT / "tests/fixtures/models" / name for name in ("llama", "qwen2", "qwen3"))


def call(folder, *words):
    done = subprocess.run([PROGRAM, *map(str, words)], cwd=folder, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{words}: {done.stdout}{done.stderr}")


def write_questions(folder, options):
    """The same questions as they are published (`published`), and as on the hub with lm-eval's tasks (`tasks`)."""
    for part in ("published", "tasks"):
        (folder / part).mkdir()
    for name, (file, task) in BENCHMARKS.items():
        kind = name.split("_")[0]
        if options.data:
            rows = READ[kind]((options.data / file).read_text())[: options.questions]
        else:
            rows = list(MAKE[kind](random.Random(name), options.questions))
        write_published(folder / "published" / file, rows)
        hub = folder / "tasks" / f"{name}.jsonl"
        hub.write_text("".join(json.dumps(ON_HUB[kind](row)) + "\n" for row in rows))
        (folder / "tasks" / f"{name}.yaml").write_text(TASK.format(task=TASKS / task, name=name, file=hub))


def read_lines(text):
    return [json.loads(line) for line in text.strip().split("\n")]


READ = {
    "medqa": read_lines,
    "medmcqa": read_lines,
    "pubmedqa": lambda text: list(json.loads(text).items()),
    "mmlu": lambda text: list(csv.reader(io.StringIO(text))),
}


def write_published(path, rows):
    with path.open("w", newline="") as file:
        match path.suffix:
            case ".csv":
                csv.writer(file).writerows(rows)
            case ".json":
                json.dump(dict(rows), file)
            case _:
                file.writelines(json.dumps(row) + "\n" for row in rows)


# A row of the publishers' as the copy on the hub that lm-eval's task reads has it.
ON_HUB = {
    "medqa": lambda row: {
        "sent1": row["question"],
        **{f"ending{index}": row["options"][letter] for index, letter in enumerate(LETTERS)},
        "label": LETTERS.index(row["answer_idx"]),
    },
    "medmcqa": lambda row: {**row, "cop": row["cop"] - 1},
    "pubmedqa": lambda row: {key: row[1][key] for key in ("QUESTION", "CONTEXTS", "final_decision")},
    "mmlu": lambda row: {"question": row[0], "choices": row[1:5], "answer": LETTERS.index(row[5])},
}


def text(chance, most):
    return " ".join(chance.choices(WORDS, k=chance.randint(1, most)))


def make_medqa(chance, count):
    for _ in range(count):
        options = {letter: text(chance, 6) for letter in LETTERS}
        yield {"question": text(chance, 90) + "?", "options": options, "answer_idx": chance.choice(LETTERS)}


def make_medmcqa(chance, count):
    for index in range(count):
        options = {f"op{letter.lower()}": text(chance, 6) for letter in LETTERS}
        # All four occur, so that it is certain from where they count.
        yield {"id": f"question {index}", "question": text(chance, 30), "cop": 4 - index % 4, **options}


def make_pubmedqa(chance, count):
    for index in range(count):
        abstract = [text(chance, 60) + "." for _ in range(chance.randint(1, 4))]
        decision = chance.choice(["yes", "no", "maybe"])
        yield str(index), {"QUESTION": text(chance, 20) + "?", "CONTEXTS": abstract, "final_decision": decision}


def make_mmlu(chance, count):
    for _ in range(count):
        # With line breaks, also around it: the task trims questions.
        question = chance.choice(["", "\n"]) + text(chance, 15) + ",\n" + text(chance, 15) + chance.choice(["", " \n"])
        yield [question, *(text(chance, 6) for _ in LETTERS), chance.choice(LETTERS)]


MAKE = {"medqa": make_medqa, "medmcqa": make_medmcqa, "pubmedqa": make_pubmedqa, "mmlu": make_mmlu}


def compare(model, folder):
    """A line for each task."""
    ours, logged, our_samples = asked_here(model, folder)
    there = asked_there(model, folder)
    tokenizer = read_tokenizer(model)
    positions = transformers.AutoConfig.from_pretrained(model).max_position_embeddings
    for name in BENCHMARKS:
        samples = sorted(there["samples"][f"here_{name}"], key=lambda sample: sample["doc_id"])
        here = [sample for sample in our_samples if sample["benchmark"] == name]
        line = differences(here, samples, lambda text: len(tokenizer(text)["input_ids"]) > positions)
        results = [ours[name], there["results"][f"here_{name}"]]
        line["questions"] = len(here)
        line["equal"] = all(same(metric, *results) for metric in ("acc", "acc_norm"))
        line["logged"] = sum(not logged_alike(*rows) for rows in zip(logged[name], samples, strict=True))
        acc, norm = (", ".join(f"{one[f'{metric},none']:.4f}" for one in results) for metric in ("acc", "acc_norm"))
        cut = f"{line['cut']:.1e}" if line["long"] else ""
        print(
            f"| {model.name} | {name} | {len(here)} | {line['long']} of {line['options']} | {acc} | {norm} "
            f"| {line['others']} | {line['fits']:.1e} | {cut} |",
            flush=True,
        )
        yield line


def logged_alike(here, there):
    """Whether a row of `samples_TASK.jsonl` is the one that lm-eval logs, but for the question's layout and rounding."""
    asked = [[argument["arg_0"], argument["arg_1"]] for argument in here["arguments"].values()]
    greedy = [is_greedy for _, is_greedy in here["filtered_resps"]]
    return (
        set(here) == set(there)
        and all(here[key] == there[key] for key in ("doc_id", "prompt_hash", "filter", "acc", "acc_norm"))
        and sorted(here["metrics"]) == sorted(there["metrics"])
        and asked == [list(arguments) for arguments in there["arguments"]]
        and greedy == [str(bool(is_greedy)) for _, is_greedy in there["filtered_resps"]]
        and len(here["resps"]) == len(there["resps"])
    )


def same(metric, here, there):
    errors = [result[f"{metric}_stderr,none"] for result in (here, there)]
    return here[f"{metric},none"] == there[f"{metric},none"] and math.isclose(*errors, abs_tol=1e-12)


def read_tokenizer(model):
    return transformers.PreTrainedTokenizerFast.from_pretrained(model)


def asked_here(model, folder):
    """`results` of results.json, the samples of each task as lm-eval would log them, and our own."""
    pipeline = folder / f"{model.name}.toml"
    pipeline.write_text(PIPELINE.replace("MODEL", str(model.resolve())))
    call(folder, "run", pipeline, "--store", "store", "--quiet")
    outputs = [folder / f"{model.name}-{output}" for output in ("lm_eval", "samples")]
    for output in outputs:
        call(folder, "get", pipeline, f"eval.{output.name.split('-')[-1]}", output, "--store", "store")
    logged, samples = outputs
    results = json.loads((logged / "results.json").read_text())["results"]
    rows = {name: read_lines((logged / f"samples_{name}.jsonl").read_text()) for name in BENCHMARKS}
    return results, rows, read_lines((samples / "samples.jsonl").read_text())


def asked_there(model, folder):
    return lm_eval.simple_evaluate(
        model="hf",
        model_args={"pretrained": str(model), "tokenizer": read_tokenizer(model), "dtype": "float32"},
        tasks=[f"here_{name}" for name in BENCHMARKS],
        task_manager=TaskManager(include_path=str(folder / "tasks"), include_defaults=False),
        num_fewshot=0,
        batch_size=8,
        device="cpu",
    )


def differences(here, there, is_long):
    """Of the log-likelihoods of the same questions here and there."""
    line = {"options": 0, "long": 0, "others": 0, "fits": 0.0, "cut": 0.0}
    for ours, theirs in zip(here, there, strict=True):
        lls = [ll for ll, _ in theirs["filtered_resps"]]
        line["others"] += ours["answer"] != lls.index(max(lls)) or ours["correct"] != (theirs["acc"] == 1.0)
        for ll, their_ll, arguments in zip(ours["resps"], lls, theirs["arguments"], strict=True):
            long = is_long("".join(arguments))
            which = "cut" if long else "fits"
            line["options"] += 1
            line["long"] += long
            line[which] = max(line[which], abs(ll - their_ll))
    return line


if __name__ == "__main__":
    main()
