"""Evaluates the part of GitHub's expression language that our workflows use. Anything else is an error."""

import re

TOKEN = re.compile(
    r"\s*(?:(?P<string>'(?:[^']|'')*')|(?P<number>-?\d+(?:\.\d+)?)|(?P<name>[A-Za-z_][\w-]*(?:\.[A-Za-z_][\w-]*)*)"
    r"|(?P<sign>&&|\|\||==|!=|[!(),]))"
)
EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)
LITERALS = {"true": True, "false": False, "null": None}


def text_of(value):
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def equal(left, right):
    if isinstance(left, str) and isinstance(right, str):
        return left.lower() == right.lower()
    if type(left) is not type(right):
        raise ValueError(f"comparing {left!r} with {right!r}: GitHub would turn both into numbers")
    return left == right


FUNCTIONS = {
    "format": lambda text, *values: re.sub(r"\{(\d+)\}", lambda match: text_of(values[int(match[1])]), text),
    "startsWith": lambda text, start: text_of(text).lower().startswith(text_of(start).lower()),
}


class Parser:
    def __init__(self, source, context):
        self.context = context
        self.tokens = []
        at = 0
        while source[at:].strip():
            match = TOKEN.match(source, at)
            if not match:
                raise ValueError(f"not understood: {source[at:].strip()!r}")
            self.tokens.append((match.lastgroup, match[match.lastgroup]))
            at = match.end()
        self.tokens.append(("end", ""))

    def accept(self, sign):
        if self.tokens[0] == ("sign", sign):
            self.tokens.pop(0)
            return True
        return False

    def expect(self, sign):
        if not self.accept(sign):
            raise ValueError(f"{sign!r} expected, found {self.tokens[0][1]!r}")

    def parse(self):
        value = self.either()
        if self.tokens[0][0] != "end":
            raise ValueError(f"not understood: {self.tokens[0][1]!r}")
        return value

    # `&&` and `||` give one of their operands, as in JavaScript.
    def either(self):
        value = self.both()
        while self.accept("||"):
            other = self.both()
            value = value or other
        return value

    def both(self):
        value = self.comparison()
        while self.accept("&&"):
            other = self.comparison()
            value = other if value else value
        return value

    def comparison(self):
        value = self.unary()
        if self.accept("=="):
            return equal(value, self.unary())
        if self.accept("!="):
            return not equal(value, self.unary())
        return value

    def unary(self):
        if self.accept("!"):
            return not self.unary()
        if self.accept("("):
            value = self.either()
            self.expect(")")
            return value
        kind, token = self.tokens.pop(0)
        if kind == "string":
            return token[1:-1].replace("''", "'")
        if kind == "number":
            return float(token)
        if kind != "name":
            raise ValueError(f"a value expected, found {token!r}")
        if self.accept("("):
            return self.call(token)
        return LITERALS[token] if token in LITERALS else self.look_up(token)

    def call(self, name):
        arguments = []
        while not self.accept(")"):
            if arguments:
                self.expect(",")
            arguments.append(self.either())
        if name not in FUNCTIONS:
            raise ValueError(f"function {name}() is not known here")
        return FUNCTIONS[name](*arguments)

    def look_up(self, path):
        value = self.context
        for key in path.split("."):
            if not isinstance(value, dict) or key not in value:
                raise ValueError(f"{path} is not known here")
            value = value[key]
        return value


def evaluate(source, context):
    """The value of an `if:`, with or without ${{ }}."""
    whole = EXPRESSION.fullmatch(source.strip())
    return Parser(whole[1] if whole else source, context).parse()


def interpolate(text, context):
    return EXPRESSION.sub(lambda match: text_of(Parser(match[1], context).parse()), text)
