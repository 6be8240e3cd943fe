"""Markdown to what can be checked: fenced blocks, and code in the running text."""

import dataclasses
import re

MARKERS = ("a cluster", "Docker", "GitHub", "a provider key", "root")
COMMENT = {"sh": "#", "python": "#", "js": "//"}
LANGUAGES = ("sh", "python", "js", "yaml", "json", "toml", "ini", "promql", "text")

FENCE = re.compile(r"^(?P<indent>[ ]*)(?P<ticks>`{3,}|~{3,})(?P<info>[^`]*)$")
INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")


class Problem(Exception):
    """Something that is wrong, with the line of the file it is in."""

    def __init__(self, line, message):
        super().__init__(message)
        self.line = line


@dataclasses.dataclass
class Block:
    """A fenced block. `line` is the one of the file that holds the first line of `text`."""

    language: str
    text: str
    line: int
    file: str = ""

    @property
    def first_comment(self):
        """What the first line says if it is a comment, else an empty string."""
        sign = COMMENT.get(self.language)
        first = self.text.split("\n", 1)[0].strip()
        return first.removeprefix(sign).strip() if sign and first.startswith(sign) else ""

    @property
    def marker(self):
        """What the block says it needs, or None. A marker that nobody knows is a problem."""
        comment = self.first_comment
        if not re.match(r"needs?\b", comment, re.IGNORECASE):
            return None
        need = comment.removeprefix("needs ")
        if need not in MARKERS:
            known = ", ".join(f"`{COMMENT[self.language]} needs {each}`" for each in MARKERS)
            raise Problem(self.line, f"no such marker: {comment!r} (there are {known})")
        return need

    @property
    def packages(self):
        """The packages its first line tells the reader to install: `# pip install openai`."""
        match = re.fullmatch(r"(?:pip|npm) install ((?:\S+ ?)+)", self.first_comment)
        return match[1].split() if match else []


def read(text):
    """The blocks of a Markdown text, the code in its running text as (line, code), and the problems."""
    blocks, inline, problems = [], [], []
    opening = None
    for number, line in enumerate(text.split("\n"), 1):
        fence = FENCE.match(line)
        if opening is None and fence:
            opening, first, lines = fence, number, []
        elif opening is None:
            inline += [(number, code) for code in INLINE.findall(line)]
        elif fence and not fence["info"].strip() and fence["ticks"].startswith(opening["ticks"]):
            language = opening["info"].strip()
            if language not in LANGUAGES:
                known = ", ".join(LANGUAGES)
                said = f"the language {language!r} cannot be checked" if language else "a block without a language"
                problems.append(Problem(first, f"{said} (there are {known})"))
            blocks.append(Block(language, "\n".join(lines) + "\n", first + 1))
            opening = None
        else:
            lines.append(line.removeprefix(opening["indent"]))
    if opening is not None:
        problems.append(Problem(first, "a block that never ends"))
    return blocks, inline, problems
