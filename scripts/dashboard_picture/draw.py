"""Draws the panels of a dashboard in its own grid. No Grafana: the values are Prometheus' own, the looks are ours."""

import io
import math
import textwrap

import matplotlib
from matplotlib import pyplot
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator
from PIL import Image

matplotlib.use("Agg")

WIDTH_PX, UNIT_PX, GAP_PX, DPI = 1680, 28, 4, 100
BACK, PANEL, EDGE, TEXT, FAINT = "#111217", "#181b1f", "#2c3038", "#d5d9e0", "#8e95a3"
COLOURS = {"green": "#73bf69", "blue": "#5794f2", "orange": "#ff9830", "red": "#f2495c", "yellow": "#fade2a", "purple": "#b877d9", "text": TEXT}
PALETTE = ["#73bf69", "#f2cc0c", "#5794f2", "#ff9830", "#f2495c", "#b877d9", "#8ab8ff", "#ff85c0", "#96d98d", "#ffb357"]
LEGEND_MAX = 8


def number(value, decimals=None):
    """Three digits, with k, M, G."""
    if decimals is not None and abs(value) < 1000:
        return f"{value:.{decimals}f}"
    for bound, word in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= bound:
            return f"{value / bound:.3g} {word}"
    return f"{value:.3g}"


def seconds(value):
    for bound, scale, word in ((1e-3, 1e6, "µs"), (1, 1e3, "ms"), (120, 1, "s"), (7200, 1 / 60, "min"), (172800, 1 / 3600, "h")):
        if abs(value) < bound:
            return f"{value * scale:.3g} {word}"
    return f"{value / 86400:.3g} d"


def size(value):
    for bound, word in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if abs(value) >= bound:
            return f"{value / bound:.3g} {word}"
    return f"{value:.3g} B"


def formatted(value, unit, decimals=None):
    if value is None or math.isnan(value):
        return "–"
    if value == 0 and unit in ("s", "bytes"):
        return "0"
    match unit:
        case "percentunit":
            return f"{value * 100:.{1 if decimals is None else decimals}f} %".replace(".0 %", " %")
        case "s":
            return seconds(value)
        case "bytes":
            return size(value)
        case "currencyUSD":
            return f"${number(value, decimals)}"
        case "reqps":
            return f"{number(value, decimals)}/s"
        case _:
            return number(value, decimals)


def ticks(highest, unit):
    """A few round numbers from 0 on, round in the unit's own words."""
    scale = 1
    if unit == "bytes":
        scale = 1024 ** int(math.log(max(highest, 1), 1024))
    elif unit == "s" and highest > 120:
        scale = 60
    return [at * scale for at in MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]).tick_values(0, highest / scale) if at * scale <= highest]


def threshold_colour(value, thresholds):
    colour = "text"
    for step in thresholds["steps"]:
        if step["value"] is None or value >= step["value"]:
            colour = step["color"]
    return COLOURS[colour]


def properties(panel, name):
    """What the overrides say about one series."""
    found = {}
    for override in panel["fieldConfig"]["overrides"]:
        if override["matcher"]["options"] == name:
            found.update({each["id"]: each["value"] for each in override["properties"]})
    return found


class Canvas:
    def __init__(self, dashboard, caption):
        self.units = max(p["gridPos"]["y"] + p["gridPos"]["h"] for p in dashboard["panels"]) + 2
        self.height_px = self.units * UNIT_PX
        self.figure = pyplot.figure(figsize=(WIDTH_PX / DPI, self.height_px / DPI), dpi=DPI, facecolor=BACK)
        self.text(GAP_PX + 4, UNIT_PX, dashboard["title"], size=15, weight="bold")
        self.text(WIDTH_PX - GAP_PX - 4, UNIT_PX, caption, color=FAINT, size=8.5, ha="right")

    def text(self, x, y, text, **how):
        how = {"color": TEXT, "size": 9, "va": "center", **how}
        return self.figure.text(x / WIDTH_PX, 1 - y / self.height_px, text, parse_math=False, **how)

    def box(self, grid):
        """Pixels of a panel: left, top, width, height."""
        unit = WIDTH_PX / 24
        left, top = grid["x"] * unit + GAP_PX, (grid["y"] + 2) * UNIT_PX + GAP_PX
        return left, top, grid["w"] * unit - 2 * GAP_PX, grid["h"] * UNIT_PX - 2 * GAP_PX

    def frame(self, left, top, width, height):
        corner = (left / WIDTH_PX, 1 - (top + height) / self.height_px)
        shape = (width / WIDTH_PX, height / self.height_px)
        self.figure.patches.append(
            Rectangle(corner, *shape, transform=self.figure.transFigure, facecolor=PANEL, edgecolor=EDGE, linewidth=0.8, zorder=-1)
        )

    def axes(self, left, top, width, height):
        shape = [left / WIDTH_PX, 1 - (top + height) / self.height_px, width / WIDTH_PX, height / self.height_px]
        return self.figure.add_axes(shape, facecolor=PANEL)

    def draw(self, panel, series):
        left, top, width, height = self.box(panel["gridPos"])
        if panel["type"] == "row":
            self.text(left + 2, top + height / 2, f"▾ {panel['title']}", size=10.5, weight="bold")
            return
        self.frame(left, top, width, height)
        self.text(left + 9, top + 13, panel["title"], size=9, weight="bold")
        draw = {"stat": self.stat, "timeseries": self.lines, "bargauge": self.bars, "table": self.table}[panel["type"]]
        if series:
            draw(panel, series, left, top + 24, width, height - 24)
        else:
            self.text(left + width / 2, top + height / 2, "No data", color=FAINT, ha="center")

    def stat(self, panel, series, left, top, width, height):
        defaults = panel["fieldConfig"]["defaults"]
        if panel["options"]["graphMode"] == "area":
            axes = self.axes(left + 1, top + height * 0.62, width - 2, height * 0.36)
            axes.axis("off")
            times, values = zip(*series[0]["points"])
            axes.fill_between(times, values, color=COLOURS["green"], alpha=0.25, linewidth=0)
            axes.plot(times, values, color=COLOURS["green"], linewidth=0.8)
            axes.margins(0, 0.1)
        share = width / len(series)
        for position, one in enumerate(series):
            value = one["points"][-1][1]
            thresholds = properties(panel, one["name"]).get("thresholds", defaults["thresholds"])
            words = formatted(value, defaults["unit"], defaults.get("decimals"))
            if "name" in panel["options"]["textMode"]:
                words = f"{words} {one['name']}"
            middle = left + share * (position + 0.5)
            self.text(middle, top + height * 0.36, words, size=19 if len(series) == 1 else 13, weight="bold", ha="center", color=threshold_colour(value, thresholds))

    def lines(self, panel, series, left, top, width, height):
        defaults = panel["fieldConfig"]["defaults"]
        unit, custom = defaults["unit"], defaults["custom"]
        axes = self.axes(left + 58, top + 4, width - 70, height - 44)
        colours = [self.colour(panel, one["name"], i) for i, one in enumerate(series)]
        if custom["stacking"]["mode"] == "normal":
            times = sorted({at for one in series for at, _ in one["points"]})
            known = [dict(map(tuple, one["points"])) for one in series]
            layers = [[points.get(at, 0) for at in times] for points in known]
            axes.stackplot(times, layers, colors=colours, alpha=0.75, linewidth=0)
        else:
            for one, colour in zip(series, colours):
                times, values = zip(*one["points"])
                axes.plot(times, values, color=colour, linewidth=1.1)
                if custom["fillOpacity"]:
                    axes.fill_between(times, values, color=colour, alpha=0.12, linewidth=0)
        if "max" in defaults:
            axes.set_ylim(0, defaults["max"] * 1.02)
        elif "min" in defaults:
            highest = max(value for one in series for _, value in one["points"] if not math.isnan(value))
            axes.set_ylim(0, None if highest > 0 else 1)
        if custom["thresholdsStyle"]["mode"] != "off":
            axes.axhline(defaults["thresholds"]["steps"][-1]["value"], color=COLOURS["red"], linestyle="--", linewidth=0.8)
        axes.set_xlim(self.start, self.end)
        axes.set_yticks(ticks(axes.get_ylim()[1], unit))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: formatted(v, unit)))
        every = 60 * math.ceil((self.end - self.start) / 60 / 6)
        minutes = range(0, int(self.end - self.start) + 1, every)
        axes.set_xticks([self.start + at for at in minutes], [f"{at // 60} min" for at in minutes])
        axes.set_axisbelow(True)
        axes.tick_params(colors=FAINT, labelsize=7, length=0)
        axes.grid(color=EDGE, linewidth=0.6)
        for spine in axes.spines.values():
            spine.set_visible(False)
        self.legend(series, colours, left + 12, top + height - 10, width - 20)

    def legend(self, series, colours, left, y, width):
        order = sorted(range(len(series)), key=lambda i: -max(v for _, v in series[i]["points"]))[:LEGEND_MAX]
        x = left
        for i in sorted(order):
            room = 20 + 5.9 * len(series[i]["name"])
            if x + room > left + width and x > left:
                self.text(x, y, "…", size=7.5, color=FAINT)
                break
            self.text(x, y, "▬", color=colours[i], size=8)
            self.text(x + 13, y, series[i]["name"], size=7.5, color=FAINT)
            x += room

    def bars(self, panel, series, left, top, width, height):
        defaults = panel["fieldConfig"]["defaults"]
        highest = max(one["points"][-1][1] for one in series) or 1
        share = (height - 8) / len(series)
        for i, one in enumerate(series):
            value, y = one["points"][-1][1], top + share * i
            self.text(left + 10, y + share * 0.22, one["name"], size=8, color=FAINT)
            axes = self.axes(left + 10, y + share * 0.42, width - 20, share * 0.4)
            axes.axis("off")
            axes.set_xlim(0, 1)
            axes.barh(0, 1, color=EDGE, height=1)
            axes.barh(0, value / highest, color=self.colour(panel, one["name"], i), height=1)
            axes.margins(0)
            words = formatted(value, defaults["unit"], defaults.get("decimals"))
            self.text(left + width - 12, y + share * 0.22, words, size=9, ha="right", weight="bold")

    def table(self, panel, series, left, top, width, height):
        columns = sorted({name for one in series for name in one["labels"]})
        for row, one in enumerate([{name: name for name in columns}] + [one["labels"] for one in series]):
            for i, name in enumerate(columns):
                how = {"weight": "bold", "color": COLOURS["blue"]} if row == 0 else {}
                self.text(left + 12 + i * (width - 20) / len(columns), top + 10 + 20 * row, one[name], **how)

    def colour(self, panel, name, position):
        fixed = properties(panel, name).get("color")
        return COLOURS[fixed["fixedColor"]] if fixed else PALETTE[position % len(PALETTE)]


def picture(dashboard, results, start, end, path, caption):
    """`results`: the series of each panel by its id. Few colours are enough and make a small file."""
    pyplot.rcParams["font.family"] = "DejaVu Sans"
    canvas = Canvas(dashboard, "\n".join(textwrap.wrap(caption, 130)))
    canvas.start, canvas.end = start, end
    for panel in dashboard["panels"]:
        canvas.draw(panel, results.get(str(panel["id"]), []))
    raw = io.BytesIO()
    canvas.figure.savefig(raw, dpi=DPI, facecolor=BACK)
    pyplot.close(canvas.figure)
    image = Image.open(raw).convert("RGB").quantize(255, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    image.save(path, optimize=True)
