"""Answers that are files: a model named `form-NAME` is answered with what was recorded.

A folder of forms holds `chat/NAME.sse`, `chat/NAME.json` and the same under `responses` and `messages`. A
request with `stream: true` gets the stream, byte for byte, another one the JSON; the first folder that has the
file answers. Where there is none the answer is an error: what was recorded in one form cannot be asked for in
the other.
"""

from mock_base import Body, Error, Pieces

PREFIX = "form-"
PIECE_BYTES = 4096
FAMILIES = {"/v1/chat/completions": "chat", "/v1/responses": "responses", "/v1/messages": "messages"}


def answer(folders, path, request):
    suffix = "sse" if request.get("stream") else "json"
    name = request["model"].removeprefix(PREFIX)
    for folder in folders:
        file = folder / FAMILIES[path] / f"{name}.{suffix}"
        if file.is_file() and file.parent.parent == folder:
            content = file.read_bytes()
            break
    else:
        raise Error(400)
    if suffix == "json":
        return Body("application/json", content)
    pieces = (content[at : at + PIECE_BYTES] for at in range(0, len(content), PIECE_BYTES))
    return Pieces("text/event-stream; charset=utf-8", pieces)
