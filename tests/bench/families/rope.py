#!/usr/bin/env python3
"""The frequencies of rotary positions as transformers computes them, for `tests/fixtures/vectors/rope.json`.

    python tests/bench/families/rope.py > tests/fixtures/vectors/rope.json

Needs torch and transformers (5.23.0 wrote the file).
"""
import json

import transformers
from transformers import LlamaConfig, Qwen2Config, Qwen3_5TextConfig, Qwen3Config
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

LLAMA3 = dict(rope_type="llama3", factor=32.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=8192)
YARN = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=32768)
CASES = [
    (LlamaConfig, 500000.0, 64, 131072, LLAMA3),
    (LlamaConfig, 500000.0, 16, 256, {**LLAMA3, "factor": 8.0, "original_max_position_embeddings": 64}),
    (Qwen3Config, 1000000.0, 128, 131072, YARN),
    (Qwen2Config, 1000000.0, 64, 131072, {**YARN, "attention_factor": 1.5}),
    (Qwen3Config, 10000.0, 64, 4096, {**YARN, "factor": 8.0, "original_max_position_embeddings": 512,
                                      "beta_fast": 16, "beta_slow": 2}),
    (Qwen3Config, 10000.0, 64, 163840, {**YARN, "factor": 40.0, "original_max_position_embeddings": 4096,
                                        "mscale": 1.0, "mscale_all_dim": 0.8}),
    (LlamaConfig, 150000.0, 64, 131072, {**YARN, "factor": 32.0, "original_max_position_embeddings": 4096,
                                         "truncate": False}),
    (Qwen3_5TextConfig, 10000000.0, 256, 1048576, {**YARN, "original_max_position_embeddings": 262144,
                                                   "partial_rotary_factor": 0.25}),
]


def case(cls, theta, head_dim, context, scaling):
    shape = dict(vocab_size=8, hidden_size=4 * head_dim, intermediate_size=8, num_hidden_layers=1,
                 num_attention_heads=4, num_key_value_heads=4, head_dim=head_dim, rms_norm_eps=1e-6,
                 max_position_embeddings=context)
    config = cls(**shape, rope_parameters={"rope_theta": theta, **scaling})
    frequencies, factor = ROPE_INIT_FUNCTIONS[scaling["rope_type"]](config, device="cpu")
    new = {"model_type": cls.model_type, **shape, "rope_parameters": {"rope_theta": theta, **scaling}}
    return {"config": new, "inv_freq": frequencies.tolist(), "attention_factor": factor}


def main():
    made = [case(*arguments) for arguments in CASES]
    print("{", f' "by": "transformers {transformers.__version__}, tests/bench/families/rope.py",', ' "cases": [', sep="\n")
    print(",\n".join("  " + json.dumps(one) for one in made))
    print(" ]\n}")


main()
