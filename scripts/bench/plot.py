#!/usr/bin/env python3
"""Draws docs/img/performance.svg from docs/img/performance.json: how cost grows, one panel for each question.

    scripts/bench/plot.py

A panel has a title, the names of its axes, whether they are logarithmic, and series of points."""
import html
import json
import math
from pathlib import Path

IMG = Path(__file__).resolve().parents[2] / "docs" / "img"
WIDTH, HEIGHT = 440, 300
LEFT, RIGHT, TOP, BOTTOM = 62, 16, 34, 44
COLOURS = ("#1f6fb4", "#d9622b", "#3c8d40", "#8a56a8")
STYLE = (
    "text{font:12px sans-serif;fill:#333}.title{font-weight:bold}.grid{stroke:#ddd}"
    ".line{fill:none;stroke-width:2}"
)


def text(x, y, words, anchor="middle", extra=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{extra}>{html.escape(str(words))}</text>'


def short(value):
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


class Axis:
    """Values onto a stretch of pixels."""

    def __init__(self, values, is_log, begin, end):
        self.is_log, self.begin, self.end = is_log, begin, end
        if is_log:
            self.low, self.high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
        else:
            self.low, self.high = 0, max(values) * 1.05
        if self.low == self.high:
            self.high += 1

    def at(self, value):
        place = math.log10(value) if self.is_log else value
        return self.begin + (place - self.low) / (self.high - self.low) * (self.end - self.begin)

    def ticks(self):
        if self.is_log:
            return [10**n for n in range(math.ceil(self.low - 0.01), math.floor(self.high + 0.01) + 1)]
        step = 10 ** math.floor(math.log10(self.high))
        step = next(s for s in (step / 5, step / 2, step, step * 2) if self.high / s <= 6)
        return [n * step for n in range(int(self.high / step) + 1)]


def panel(of, x0, y0):
    points = [point for series in of["series"] for point in series["points"]]
    xs = Axis([p[0] for p in points], of.get("x_log", False), x0 + LEFT, x0 + WIDTH - RIGHT)
    ys = Axis([p[1] for p in points], of.get("y_log", False), y0 + HEIGHT - BOTTOM, y0 + TOP)
    out = [text(x0 + WIDTH / 2, y0 + 18, of["title"], extra=' class="title"')]
    for tick in ys.ticks():
        y = ys.at(tick)
        out.append(f'<line class="grid" x1="{xs.begin}" x2="{xs.end}" y1="{y:.1f}" y2="{y:.1f}"/>')
        out.append(text(xs.begin - 6, y + 4, short(tick), "end"))
    for tick in xs.ticks():
        x = xs.at(tick)
        out.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{ys.begin}" y2="{ys.end}"/>')
        out.append(text(x, ys.begin + 16, short(tick)))
    out.append(text((xs.begin + xs.end) / 2, y0 + HEIGHT - 10, of["x"]))
    middle = (ys.begin + ys.end) / 2
    out.append(text(x0 + 14, middle, of["y"], extra=f' transform="rotate(-90 {x0 + 14} {middle})"'))
    for number, series in enumerate(of["series"]):
        colour = COLOURS[number % len(COLOURS)]
        line = " ".join(f"{xs.at(x):.1f},{ys.at(y):.1f}" for x, y in series["points"])
        out.append(f'<polyline class="line" stroke="{colour}" points="{line}"/>')
        out += [f'<circle cx="{xs.at(x):.1f}" cy="{ys.at(y):.1f}" r="3" fill="{colour}"/>' for x, y in series["points"]]
        if len(of["series"]) > 1:
            y = ys.begin - 10 - 16 * (len(of["series"]) - 1 - number)
            out.append(text(xs.end - 8, y, series["name"], "end", f' style="fill:{colour}"'))
    return out


def main():
    panels = json.loads((IMG / "performance.json").read_text())
    rows = math.ceil(len(panels) / 2)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * WIDTH} {rows * HEIGHT}">',
        f'<style>{STYLE}</style><rect width="100%" height="100%" fill="#fff"/>',
    ]
    for number, of in enumerate(panels):
        out += panel(of, WIDTH * (number % 2), HEIGHT * (number // 2))
    (IMG / "performance.svg").write_text("\n".join([*out, "</svg>", ""]))


if __name__ == "__main__":
    main()
