#!/usr/bin/env python3
"""What transformers makes of a tokenizer's folder, as `cases.json` in that folder.

    python make_tokenizer_cases.py FOLDER                           # needs: transformers, trl (read, not imported)
    GAZAL_TOKENIZER=FOLDER cargo test -p gazal-lm of_the_world -- --nocapture
"""
import importlib.util, json, os, random, sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
from transformers import AutoTokenizer

from make_cases import CHATS, OPTIONS

TEXTS = ["", " ", "\n\n\n  x", "Hello\n\n  world ", "<|im_start|>user\nhi<|im_end|>", "<think>\nStep 1.\n</think>\n\nA", "don't I'LL we'Re",
         "1234567890 3.14 37.5°C 120/80 mmHg", "诊断 治疗 预后 résumé naïve", "e\u0301 \u212b \ufb01", "def f(x):\n\treturn  x**2  # ok\r\n\r\n",
         "👩‍⚕️🏽 नमस्ते สวัสดี שלום", "<|endoftext|><|im_end|>  <|im_end|>\n", "a" * 300, "\u00a0\u2003x\u200b", "<tool_call>\n{}</tool_call>", "\x00\x01\x7f"]


def random_texts(number):
    chance = random.Random(7)
    pools = ["abc XYZ", " \n\t\r", "0123456789", "éüßñ诊断療あ한", "'’\"-_.,;:!?()[]{}<>|/\\@#$%^&*+=~`", "👩🏽‍⚕️\u0301\u200d\ufe0f", "\u2003\u00a0\u3000"]
    special = ["<|im_start|>", "<|im_end|>", "<|endoftext|>", "<think>", "</think>"]
    for _ in range(number):
        parts = [chance.choice(special) if chance.random() < 0.05 else chance.choice(chance.choice(pools)) for _ in range(chance.randrange(1, 80))]
        yield "".join(parts)


def write(tok, path):
    texts = []
    for text in [*TEXTS, *random_texts(2000)]:
        ids = tok(text, add_special_tokens=False)["input_ids"]
        texts.append({"text": text, "ids": ids, "decoded": tok.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)})
    chats = []
    for messages in CHATS.values():
        for options in OPTIONS[:6]:
            try:
                rendered = tok.apply_chat_template(messages, tokenize=False, **options)
            except Exception:
                continue
            ids = tok(rendered, add_special_tokens=False)["input_ids"]
            chats.append({"messages": messages, "options": options, "rendered": rendered, "ids": ids})
    training = (Path(importlib.util.find_spec("trl").origin).parent / "chat_templates" / "qwen3_training.jinja").read_text()
    masks = []
    for name in ["pair", "turns", "thinking", "empty", "call"]:
        out = tok.apply_chat_template(CHATS[name], chat_template=training, tokenize=True, return_dict=True, return_assistant_tokens_mask=True)
        masks.append({"messages": CHATS[name], "ids": out["input_ids"], "mask": out["assistant_masks"]})
    cases = {"eos": tok.eos_token_id, "texts": texts, "chats": chats, "masks": masks, "training_template": training}
    path.write_text(json.dumps(cases, ensure_ascii=False))
    print(len(tok), "tokens;", len(texts), "texts,", len(chats), "chats,", len(masks), "masks")


if __name__ == "__main__":
    write(AutoTokenizer.from_pretrained(sys.argv[1]), Path(sys.argv[1]) / "cases.json")
