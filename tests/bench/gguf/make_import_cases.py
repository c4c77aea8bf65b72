#!/usr/bin/env python3
"""What transformers reads in a GGUF file: FOLDER/expected/model.safetensors, and FOLDER/imported/cases.json.

    python make_import_cases.py FOLDER FILE.gguf        # FILE lies in FOLDER; needs: gguf, torch, transformers, trl
    GAZAL_GGUF=FOLDER cargo test -p gazal-lm gguf::tests::a_file_of_the_world -- --nocapture
    GAZAL_TOKENIZER=FOLDER/imported cargo test -p gazal-lm tokenizer::tests::a_tokenizer_of_the_world -- --nocapture
"""
import os, sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
sys.path.insert(0, str(Path(__file__).parents[1] / "chat"))
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

import make_tokenizer_cases


def main(folder, file):
    folder = Path(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=file, quantization_config=GgufConfig(dequantize=True), dtype=torch.float32)
    model.save_pretrained(folder / "expected")
    (folder / "file.txt").write_text(file)
    (folder / "imported").mkdir(exist_ok=True)
    tok = AutoTokenizer.from_pretrained(folder, gguf_file=file)
    make_tokenizer_cases.write(tok, folder / "imported" / "cases.json")


main(*sys.argv[1:])
