#!/usr/bin/env python3
"""The fixtures of the GGUF import, from the `gguf` package: blocks with the numbers in them, and a small whole file.

    python make_fixtures.py ../../fixtures/gguf         # needs: gguf, numpy, torch, transformers

`blocks.json`: of each type some blocks in hexadecimal and what `gguf.quants.dequantize` makes of them.
`tiny-llama.gguf`: two layers of the llama architecture with a tensor of every type; `tiny-llama.json`: of each tensor
as Hugging Face has it the shape and a digest of its float32 bytes (FNV-1a), and ids and logits by transformers' own reading,
which splits digits for none (the file says `smollm`, which does), so that no two stand together.
"""
import json, os, sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
import gguf, numpy as np
from gguf import GGMLQuantizationType as Q
from gguf.quants import dequantize, quantize

rng = np.random.default_rng(7)
HEADS, KV, DIM, HIDDEN, FFN, LAYERS = 4, 2, 16, 256, 64, 2
TYPES = [Q.F32, Q.F16, Q.BF16, Q.Q8_0, Q.Q4_0, Q.Q4_1, Q.Q4_K, Q.Q6_K]


def blocks(shape, kind):
    """Random numbers of a type; ggml's Python cannot quantise K types, so that those are random blocks."""
    if kind not in (Q.Q4_K, Q.Q6_K):
        return quantize((rng.standard_normal(shape) * 0.1).astype(np.float32), kind)
    elements, size = gguf.GGML_QUANT_SIZES[kind]
    raw = rng.integers(0, 256, (int(np.prod(shape)) // elements, size), dtype=np.uint8)
    at = {Q.Q4_K: [0, 2], Q.Q6_K: [208]}[kind]
    for place in at:
        raw[:, place : place + 2] = (rng.random((len(raw), 1)) * 0.02).astype(np.float16).view(np.uint8)
    return raw.reshape(*shape[:-1], shape[-1] // elements * size)


def block_cases():
    cases = []
    for kind in TYPES:
        raw = blocks((2, 256), kind)
        values = dequantize(raw, kind).astype(np.float32)
        if kind == Q.F32:
            raw, values = raw[:, :16], values[:, :16]
        data = np.ascontiguousarray(raw).tobytes()
        if kind in (Q.F16, Q.BF16):
            data, values = data[:64], values.reshape(-1)[:32]
        cases.append({"type": int(kind), "name": kind.name, "bytes": data.hex(), "values": [float(x) for x in values.reshape(-1)]})
    return cases


def fnv(data):
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 % (1 << 64)
    return f"{value:016x}"


def unpermute(w, heads):
    return w.reshape(heads, w.shape[0] // heads // 2, 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def vocabulary():
    """Bytes as GPT-2 writes them, some merges of English, and tokens of every type."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [chr(b) for b in plain] + [chr(256 + i) for i in range(256 - len(plain))]
    merges = ["Ġ t", "h e", "Ġt he", "i n", "e r", "Ġ a", "o n", "1 2", "Ġ Ġ", "' s", "Ċ Ċ", "r e"]
    tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *letters, *[m.replace(" ", "") for m in merges], "<think>", "</think>", "[PAD273]"]
    types = [3, 3, 3, *[1] * (len(letters) + len(merges)), 4, 4, 5]
    return tokens, types, merges


def write(path):
    w = gguf.GGUFWriter(path, "llama")
    tokens, types, merges = vocabulary()
    w.add_block_count(LAYERS); w.add_embedding_length(HIDDEN); w.add_feed_forward_length(FFN); w.add_context_length(512)
    w.add_head_count(HEADS); w.add_head_count_kv(KV); w.add_key_length(DIM); w.add_value_length(DIM); w.add_rope_dimension_count(DIM)
    w.add_rope_freq_base(100000.0); w.add_layer_norm_rms_eps(1e-5); w.add_vocab_size(len(tokens))
    w.add_tokenizer_model("gpt2"); w.add_tokenizer_pre("smollm"); w.add_token_list(tokens); w.add_token_types(types); w.add_token_merges(merges)
    w.add_bos_token_id(1); w.add_eos_token_id(2); w.add_pad_token_id(2); w.add_unk_token_id(0); w.add_add_bos_token(False)
    w.add_eot_token_id(0)
    w.add_chat_template("{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")
    expected = {}
    names = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
             "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}

    def add(name, hf, shape, kind, heads=None):
        raw = blocks(shape, kind)
        w.add_tensor(name + ".weight", raw, raw_dtype=kind)
        values = dequantize(raw, kind).astype(np.float32).reshape(shape)
        values = unpermute(values, heads) if heads else values
        expected[hf + ".weight"] = {"shape": list(shape), "fnv1a": fnv(np.ascontiguousarray(values).tobytes())}

    add("token_embd", "model.embed_tokens", (len(tokens), HIDDEN), Q.Q4_0)
    add("output_norm", "model.norm", (HIDDEN,), Q.F32)
    for layer in range(LAYERS):
        kinds = [[Q.Q4_K, Q.Q6_K, Q.Q8_0, Q.Q4_1, Q.BF16, Q.F16, Q.Q4_0], [Q.F16, Q.F32, Q.Q4_K, Q.Q8_0, Q.Q6_K, Q.Q4_K, Q.Q4_1]][layer]
        shapes = {"attn_q": (HEADS * DIM, HIDDEN), "attn_k": (KV * DIM, HIDDEN), "attn_v": (KV * DIM, HIDDEN), "attn_output": (HIDDEN, HEADS * DIM),
                  "ffn_gate": (FFN, HIDDEN), "ffn_up": (FFN, HIDDEN), "ffn_down": (HIDDEN, FFN)}
        for (name, shape), kind in zip(shapes.items(), kinds):
            add(f"blk.{layer}.{name}", f"model.layers.{layer}.{names[name]}", shape, kind, {"attn_q": HEADS, "attn_k": KV}.get(name))
        for name in ("attn_norm", "ffn_norm"):
            add(f"blk.{layer}.{name}", f"model.layers.{layer}.{names[name]}", (HIDDEN,), Q.F32)
    w.write_header_to_file(); w.write_kv_data_to_file(); w.write_tensors_to_file(); w.close()
    return expected


def main(out):
    out = Path(out); out.mkdir(parents=True, exist_ok=True)
    (out / "blocks.json").write_text(json.dumps(block_cases()) + "\n")
    path = out / "tiny-llama.gguf"
    tensors = write(path)
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    model = AutoModelForCausalLM.from_pretrained(out, gguf_file=path.name, quantization_config=GgufConfig(dequantize=True), dtype=torch.float32)
    prompt = [1, 87, 85, 263, 201, 74, 75, 2, 259, 260]
    logits = model(input_ids=torch.tensor([prompt])).logits[0, -1].tolist()
    tok = AutoTokenizer.from_pretrained(out, gguf_file=path.name)
    texts = ["the thin hen's\n\n  on re", "<|im_start|>user\nhi<|im_end|>", "<think>é</think> 诊", "", "a1b 2 +3"]
    ids = [{"text": text, "ids": tok(text, add_special_tokens=False)["input_ids"]} for text in texts]
    (out / "tiny-llama.json").write_text(json.dumps({"tensors": tensors, "texts": ids, "prompt": prompt, "logits": logits}, indent=1, ensure_ascii=False) + "\n")
    print(path.stat().st_size, "bytes,", len(tensors), "tensors")


main(sys.argv[1])
