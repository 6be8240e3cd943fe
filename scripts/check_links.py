#!/usr/bin/env python3
"""Checks the links of every Markdown file that point into the repository: file and heading must exist."""

import pathlib
import re
import subprocess
import sys
import urllib.parse

FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]*`")
LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)\s>]+)>?[^)]*\)|^\[[^\]]+\]:\s*(\S+)", re.MULTILINE)
HEADING = re.compile(r"^#+\s+(.+?)\s*#*$", re.MULTILINE)
ROOT = pathlib.Path(__file__).resolve().parent.parent


def text_of(path):
    return FENCE.sub("", path.read_text(encoding="utf-8"))


def anchors(path):
    """The anchors of a file's headings, made as Git hosts make them."""
    found = set()
    for heading in HEADING.findall(text_of(path)):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        number = 0
        while (anchor := f"{slug}-{number}" if number else slug) in found:
            number += 1
        found.add(anchor)
    return found


def problems(source):
    for match in LINK.finditer(CODE.sub("", text_of(source))):
        url = urllib.parse.urlsplit(match[1] or match[2])
        if url.scheme or url.netloc:
            continue
        target = (source.parent / urllib.parse.unquote(url.path)).resolve() if url.path else source
        if not target.is_relative_to(ROOT):
            yield f"{url.geturl()} leaves the repository"
        elif not target.exists():
            yield f"{url.geturl()} does not exist"
        elif url.fragment and target.suffix == ".md" and url.fragment not in anchors(target):
            yield f"{url.geturl()} has no such heading"


def main():
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "*.md"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    files = [ROOT / name for name in listed.split("\0") if name and (ROOT / name).exists()]
    count = 0
    for source in files:
        for problem in problems(source):
            print(f"{source.relative_to(ROOT)}: {problem}", file=sys.stderr)
            count += 1
    if count or not files:
        sys.exit(f"check_links.py: {count} broken links in {len(files)} files")


if __name__ == "__main__":
    main()
