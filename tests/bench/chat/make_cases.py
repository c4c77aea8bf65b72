#!/usr/bin/env python3
"""What transformers renders with every chat template that TRL ships, as cases for the tests of `gazal-lm`.

    python make_cases.py OUT.json                                   # needs: transformers, trl (read, not imported)
    GAZAL_CHAT_CASES=OUT.json cargo test -p gazal-lm chat -- --nocapture
"""
import datetime, importlib.util, json, sys
from pathlib import Path

from transformers.utils import chat_template_utils as hf

NOW = datetime.datetime(2026, 7, 4, 15, 6, 9)


class Clock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return NOW


hf.datetime = Clock

TOOL = {"type": "function", "function": {"name": "dose", "description": "Dose <mg> & \"rate\" für Ärzte",
        "parameters": {"type": "object", "properties": {
            "drug": {"type": "string", "description": "a name", "enum": ["a", "b"]},
            "weight": {"type": "number", "minimum": 0.5, "maximum": 1e16}, "child": {"type": "boolean", "default": False}},
            "required": ["drug"]}, "return": {"type": "string"}}}
CALL = {"type": "function", "id": "abc123def", "function": {"name": "dose", "arguments": {"drug": "a", "weight": 70.0, "child": True, "note": None, "list": [1, 2]}}}
CHATS = {
    "user": [{"role": "user", "content": "only"}],
    "pair": [{"role": "user", "content": " Q1 "}, {"role": "assistant", "content": "<think>\nr1\n</think>\n\nA1"}],
    "turns": [{"role": "system", "content": "S\n"}, {"role": "user", "content": "Q1"}, {"role": "assistant", "content": "A1"},
              {"role": "user", "content": "诊断 'q' \"d\""}, {"role": "assistant", "content": "A2é", "reasoning_content": "r2"}],
    "thinking": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A", "thinking": "t"}],
    "empty": [{"role": "user", "content": ""}, {"role": "assistant", "content": ""}],
    "no system": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "4.\n</think>\n\nfour"}, {"role": "user", "content": "R"}],
    "parts": [{"role": "user", "content": [{"type": "text", "text": "T1"}, {"type": "text", "text": "T2"}]},
              {"role": "assistant", "content": [{"type": "text", "text": "T3"}]}],
    "call": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "", "tool_calls": [CALL]},
             {"role": "tool", "name": "dose", "tool_call_id": "abc123def", "content": "{\"mg\": 5}"}, {"role": "assistant", "content": "5 mg"}],
    "calls": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "hm", "tool_calls": [CALL, CALL]},
              {"role": "tool", "name": "dose", "tool_call_id": "abc123def", "content": "1"}, {"role": "tool", "name": "dose", "tool_call_id": "abc123def", "content": "2"}],
    "wrong order": [{"role": "assistant", "content": "A"}, {"role": "user", "content": "Q"}],
    "odd role": [{"role": "critic", "content": "A"}],
}
OPTIONS = [{}, {"add_generation_prompt": True}, {"add_generation_prompt": True, "enable_thinking": False},
           {"add_generation_prompt": True, "enable_thinking": True}, {"tools": [TOOL]}, {"tools": [TOOL, TOOL], "add_generation_prompt": True},
           {"documents": [{"title": "t", "text": "x"}]}]
TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}


def render(source, messages, options):
    [text], spans = hf.render_jinja_template([messages], chat_template=source, return_assistant_tokens_mask=True, **TOKENS, **options)
    return {"rendered": text, "spans": spans[0]}


def main(out):
    folder = Path(importlib.util.find_spec("trl").origin).parent / "chat_templates"
    templates = {path.stem: path.read_text() for path in sorted(folder.glob("*.jinja"))}
    cases = []
    for name, source in templates.items():
        for chat, messages in CHATS.items():
            for options in OPTIONS:
                case = {"template": name, "chat": chat, "options": options}
                try:
                    case |= render(source, messages, options)
                except Exception as error:
                    case["error"] = f"{type(error).__name__}: {error}"
                cases.append(case)
    now = int(NOW.replace(tzinfo=datetime.timezone.utc).timestamp())
    Path(out).write_text(json.dumps({"now": now, "tokens": TOKENS, "templates": templates, "chats": CHATS, "cases": cases}, ensure_ascii=False, indent=0))
    print(len(templates), "templates,", len(cases), "cases,", sum("error" in case for case in cases), "errors")


if __name__ == "__main__":
    main(sys.argv[1])
