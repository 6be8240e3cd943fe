"""The questions that are asked, written to files."""

import json
import random

SLOT = "@@@@@@@@"
# Orders of keys of the same question.
VARIANTS = 512
PROSE = "please review the change below and tell me whether its errors are handled and its tests cover them "


def small(tag, **fields):
    """A question of 1 KB."""
    body = {"model": "gpt-4o-mini", "temperature": 0, "max_tokens": 512, **fields}
    body["messages"] = [{"role": "system", "content": "You are a careful assistant."}, {"role": "user", "content": ""}]
    room = 1024 - len(json.dumps(body)) - len(tag) - 1
    body["messages"][1]["content"] = tag + " " + (PROSE * 20)[:room]
    return body


def large():
    """What an agent sends: a long conversation and the tools it has, 100 KB."""
    parameters = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}
    function = {"description": "Runs a tool in the workspace and returns its output.", "parameters": parameters}
    tools = [{"type": "function", "function": {"name": f"tool_{i}", **function}} for i in range(24)]
    turn = (PROSE + '\n\t"quoted" code { } \\ ') * 9
    messages = [{"role": "system", "content": "You are a coding agent. " * 120}]
    while len(json.dumps(messages)) < 93_000:
        number = len(messages)
        messages.append({"role": ["user", "assistant"][number % 2], "content": f"turn {number}: {turn}"})
    return {"model": "gpt-4o-mini", "temperature": 0, "max_tokens": 4096, "tools": tools, "messages": messages}


def reordered(body, rng):
    """The same question, its keys and those of its messages in another order."""

    def shuffled(fields):
        return dict(rng.sample(list(fields.items()), len(fields)))

    return shuffled({**body, "messages": [shuffled(message) for message in body["messages"]]})


def write(folder):
    """Writes all of them below `folder`."""
    questions = {
        "1k": small("one"),
        "stream": small("stream", stream=True),
        "entries": small(f"entry {SLOT}"),
        "100k": large(),
    }
    for name, body in questions.items():
        (folder / f"{name}.json").write_text(json.dumps(body))
    rng = random.Random(1)
    with open(folder / "reordered.json", "w", encoding="utf-8") as file:
        for _ in range(VARIANTS):
            file.write(json.dumps(reordered(questions["100k"], rng)) + "\n")
