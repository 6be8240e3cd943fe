#!/usr/bin/env python3
"""A stand-in LLM for the SDK suites, in the wire formats of `mock_*.py`; standard library only.

    mock_llm.py [--port 0] [--chunk-delay-ms 2] [--forms DIR…]

Prints `listening on http://127.0.0.1:PORT` once it accepts connections, and ends on SIGTERM.

Every answer has a fresh id, so two equal answers prove that one of them was replayed. What a request
contains decides how it is answered:

* a model named `error-400`, `error-401`, `error-429`, `error-500` or `error-529` gets that status;
* a model named `error-stream` gets a stream under status 200 that ends with an error;
* a model named `error-cut` gets a stream that ends in the middle, with the connection;
* a model named `error-unfinished` gets a stream of Gemini or Ollama that ends well before its last frame;
* a model named `form-…` gets a file, byte for byte: see `mock_forms.py`;
* `tools`, unless the last message already holds a tool's result, get a call of the first tool;
* everything else gets its prompt back, word by word when streamed.

`GET /_count` tells how many requests there were, by path: `answers` (worth caching), `errors` (asked
for by the models above), `uncached` (models named `uncached-…`, which are answered like any other, for
tests that mean to reach the LLM every time) and `other`.
"""

import argparse
import asyncio
import collections
import email
import email.policy
import json
import pathlib
import re
import urllib.parse

import mock_anthropic
import mock_forms
import mock_google
import mock_media
import mock_ollama
import mock_openai
from mock_base import Body, Call, Cut, Done, Error, Pieces

# The paths of an API, what answers there, and the body of an error in its family.
ROUTES = [
    (re.compile(pattern), api, error_body)
    for routes, error_body in [
        (mock_openai.ROUTES, mock_openai.error_body),
        (mock_media.ROUTES, mock_openai.error_body),
        (mock_media.RERANK_ROUTES, mock_media.rerank_error_body),
        (mock_anthropic.ROUTES, mock_anthropic.error_body),
        (mock_google.ROUTES, mock_google.error_body),
        (mock_ollama.ROUTES, mock_ollama.error_body),
    ]
    for pattern, api in routes
]

COUNTS = {kind: collections.Counter() for kind in ("answers", "errors", "uncached", "other")}
BODY_BYTES_MAX = 64 * 1024 * 1024


async def read_head(reader):
    """The request line and headers (lower-case names), or None when the client is done."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    lines = head.decode("latin-1").split("\r\n")
    method, path, _version = lines[0].split(" ", 2)
    headers = {}
    for line in filter(None, lines[1:]):
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    return method, path, headers


async def read_body(reader, writer, headers):
    if headers.get("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await writer.drain()
    if "chunked" not in headers.get("transfer-encoding", "").lower():
        length = int(headers.get("content-length", 0))
        if length > BODY_BYTES_MAX:
            raise ValueError("body too large")
        return await reader.readexactly(length)
    body = b""
    while size := int((await reader.readline()).split(b";")[0], 16):
        if len(body) + size > BODY_BYTES_MAX:
            raise ValueError("body too large")
        body += await reader.readexactly(size)
        await reader.readline()
    while (await reader.readline()).strip():
        pass
    return body


def write_json(writer, status, value, headers=()):
    body = json.dumps(value, ensure_ascii=False).encode()
    lines = [f"HTTP/1.1 {status} Status", "content-type: application/json", f"content-length: {len(body)}"]
    lines += [f"{name}: {text}" for name, text in headers]
    writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)


def write_body(writer, body):
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {body.content_type}\r\ncontent-length: {len(body.content)}\r\n\r\n"
    writer.write(head.encode() + body.content)


def frames(events):
    """Server-sent events."""
    for event in events:
        if event is Cut:
            yield Cut
        elif event is Done:
            yield b"data: [DONE]\n\n"
        else:
            name, data = event
            frame = (f"event: {name}\n" if name else "") + f"data: {json.dumps(data, ensure_ascii=False)}\n\n"
            yield frame.encode()


async def write_pieces(writer, content_type, pieces, delay_s):
    """A stream, each piece a chunk of its own, so that the other side sees them arrive one by one."""
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ntransfer-encoding: chunked\r\n\r\n"
    writer.write(head.encode())
    for piece in pieces:
        if piece is Cut:
            raise ConnectionAbortedError
        writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        await writer.drain()
        await asyncio.sleep(delay_s)
    writer.write(b"0\r\n\r\n")


def read_request(headers, body):
    """The fields of a JSON body, or those of a form, whose file is bytes."""
    content_type = headers.get("content-type", "")
    if not content_type.startswith("multipart/form-data"):
        return json.loads(body)
    head = f"content-type: {content_type}\r\n\r\n".encode()
    fields = {}
    for part in email.message_from_bytes(head + body, policy=email.policy.HTTP).iter_parts():
        content = part.get_payload(decode=True)
        name = part.get_param("name", header="content-disposition")
        fields[name] = content if part.get_filename() else content.decode()
    return fields


def kind_of(model):
    if model.startswith("error-"):
        return "errors"
    return "uncached" if model.startswith("uncached-") else "answers"


async def answer(writer, method, path, headers, body, delay_s, forms):
    if (method, path) == ("GET", "/_count"):
        write_json(writer, 200, COUNTS)
        return
    if (method, path) == ("GET", "/v1/models"):
        COUNTS["other"][path] += 1
        model = {"id": "mock-1", "object": "model", "created": 1, "owned_by": "mock"}
        write_json(writer, 200, {"object": "list", "data": [model]})
        return
    path, _, query = path.partition("?")
    matches = ((pattern.fullmatch(path), *rest) for pattern, *rest in ROUTES if method == "POST")
    match, api, error_body = next((each for each in matches if each[0]), (None, None, None))
    if match is None:
        COUNTS["other"][path] += 1
        write_json(writer, 404, {"error": {"message": f"no such path: {path}", "type": "not_found_error"}})
        return
    try:
        request = read_request(headers, body)
        named = match.groupdict()
        request["model"] = named.get("model") or request.get("model") or named["deployment"]
        COUNTS[kind_of(request["model"])][path] += 1
        if request["model"].startswith(mock_forms.PREFIX):
            result = mock_forms.answer(forms, path, request)
        else:
            result = api(request, Call(path, dict(urllib.parse.parse_qsl(query)), headers))
    except (Error, KeyError, ValueError) as error:
        if not isinstance(error, Error):
            error = Error(400)
        write_json(writer, error.status, error_body(error.status), error.headers())
        return
    if isinstance(result, dict):
        write_json(writer, 200, result)
    elif isinstance(result, Body):
        write_body(writer, result)
    elif isinstance(result, Pieces):
        await write_pieces(writer, result.content_type, result.pieces, delay_s)
    else:
        await write_pieces(writer, "text/event-stream; charset=utf-8", frames(result), delay_s)


async def serve_connection(reader, writer, delay_s, forms):
    try:
        while head := await read_head(reader):
            method, path, headers = head
            body = await read_body(reader, writer, headers)
            await answer(writer, method, path, headers, body, delay_s, forms)
            await writer.drain()
            if headers.get("connection", "").lower() == "close":
                break
    except (ConnectionError, asyncio.IncompleteReadError):
        pass  # The client left; a proxy under test may do so at any moment.
    finally:
        writer.close()


async def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0, help="0: any free port")
    parser.add_argument("--chunk-delay-ms", type=float, default=2)
    parser.add_argument("--forms", type=pathlib.Path, nargs="*", default=[], metavar="DIR", help="see mock_forms.py")
    options = parser.parse_args()
    server = await asyncio.start_server(
        lambda reader, writer: serve_connection(reader, writer, options.chunk_delay_ms / 1000, options.forms),
        "127.0.0.1",
        options.port,
        limit=1024 * 1024,
    )
    port = server.sockets[0].getsockname()[1]
    print(f"listening on http://127.0.0.1:{port}", flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        pass
