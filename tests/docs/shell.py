"""Shell text to commands, as far as documentation needs it: words, no expansion."""

import re
import shlex

HEREDOC = re.compile(r"<<-?\s*(['\"]?)(\w+)\1([^\n]*)\n.*?^\s*\2$", re.MULTILINE | re.DOTALL)
DUPLICATION = re.compile(r"\d*[<>]&\d+")
SUBSTITUTION = re.compile(r"\$\(([^()]*)\)")
OPERATORS = ";()|&<>"
ASSIGNMENT = re.compile(r"^[A-Za-z_]\w*=")
OPTIONS_WITH_VALUE = {"-e", "--env", "-u", "--user", "-w", "--workdir", "--index"}
IMAGE = re.compile(r"^(\S+/)?llm-cache-server([:@]\S+)?$")
SERVER = ("llm-cache-server", "/usr/local/bin/llm-cache-server")


def without_comments(text):
    """Comments become empty, here-documents lines without content; line numbers stay."""
    lines = []
    for line in HEREDOC.sub(lambda match: match[3] + "\n" * match[0].count("\n"), text).split("\n"):
        for match in re.finditer(r"(^|\s)#", line):
            before = line[: match.start()]
            if before.count("'") % 2 == 0 and before.count('"') % 2 == 0:
                line = before
                break
        lines.append(line)
    return "\n".join(lines)


def commands(text):
    """Each command as (line counted from 0, words), without assignments and redirections."""
    logical, first = "", 0
    for number, line in enumerate(without_comments(text).split("\n")):
        logical, first = (f"{logical}{line}", first) if logical else (line, number)
        if logical.endswith("\\"):
            logical = logical[:-1] + " "
            continue
        try:
            shlex.split(logical)
        except ValueError:  # a quotation goes on in the next line
            logical += "\n"
            continue
        yield from ((first, words) for words in _commands_of(logical))
        logical = ""


def _commands_of(line):
    line = DUPLICATION.sub(" ", line)
    for inner in SUBSTITUTION.findall(line):
        yield from _commands_of(inner)
    lexer = shlex.shlex(SUBSTITUTION.sub("substituted", line), posix=True, punctuation_chars=OPERATORS)
    lexer.whitespace_split = True
    lexer.commenters = ""
    words, skip = [], False
    for token in [*lexer, ";"]:
        if not set(token) <= set(OPERATORS):
            if not skip and not (not words and ASSIGNMENT.match(token)):
                words.append(token)
            skip = False
        elif set(token) & set("<>"):
            skip = True
            if words and words[-1].isdigit():
                words.pop()  # the number of the file in `2>file`
        elif words:
            yield list(words)
            words.clear()


def server_calls(text):
    """What the server itself is asked to do in a script, also inside containers: (line, arguments)."""
    for line, words in commands(text):
        name, rest = words[0].rsplit("/", 1)[-1], words[1:]
        if name == "sudo" and rest:
            name, rest = rest[0].rsplit("/", 1)[-1], rest[1:]
        if name == "llm-cache-server":
            yield line, rest
        elif name == "kubectl" and "--" in rest:
            inside = rest[rest.index("--") + 1 :]
            if inside and inside[0] in SERVER:
                yield line, inside[1:]
        elif name in ("docker", "podman") and "exec" in rest:
            inside = _after_options(rest[rest.index("exec") + 1 :])[1:]
            if inside and inside[0] in SERVER:
                yield line, inside[1:]
        elif name in ("docker", "podman") and rest[:2] == ["compose", "run"]:
            yield line, _after_options(rest[2:])[1:]
        elif name in ("docker", "podman") and rest[:1] == ["run"]:
            names = {at + 1 for at, word in enumerate(rest) if word in ("--name", "--hostname", "--network")}
            image = [at for at, word in enumerate(rest) if IMAGE.match(word) and at not in names]
            if image and "--entrypoint" not in rest:
                yield line, rest[image[0] + 1 :]


def _after_options(words):
    words = list(words)
    while words and words[0].startswith("-"):
        option = words.pop(0)
        if option in OPTIONS_WITH_VALUE and words:
            words.pop(0)
    return words
