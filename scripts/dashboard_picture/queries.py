"""Evaluates the panels of a Grafana dashboard by Prometheus' HTTP API."""

import json
import re
import urllib.parse
import urllib.request


class Prometheus:
    def __init__(self, url, start, end, step, rate_interval):
        self.url, self.start, self.end, self.step = url, start, end, step
        seconds = f"{round(end - start)}s"
        self.variables = {"__rate_interval": rate_interval, "__interval": f"{step}s", "__range": seconds}

    def get(self, path, **parameters):
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{query}", timeout=30) as answer:
            return json.load(answer)["data"]["result"]

    def substitute(self, text):
        """What Grafana does with variables; those of the dashboard itself are all set to "All"."""
        for name, value in self.variables.items():
            text = text.replace(f"${name}", value)
        return re.sub(r"\$\w+", ".*", text)

    def evaluate(self, panel):
        """A list of {name, labels, points}; points are [time, value]."""
        found = []
        for target in panel["targets"]:
            expr = self.substitute(target["expr"])
            if target.get("instant"):
                series = self.get("query", query=expr, time=self.end)
            else:
                series = self.get("query_range", query=expr, start=self.start, end=self.end, step=self.step)
            for one in series:
                labels = one["metric"]
                name = re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda m, labels=labels: labels.get(m[1], ""), target["legendFormat"])
                points = one.get("values") or [one["value"]]
                points = [[float(at), float(value)] for at, value in points]
                found.append({"name": name, "labels": labels, "points": points})
        return found


def panels_of(dashboard):
    """All panels that show something, those in collapsed rows included."""
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            yield from panel["panels"]
        else:
            yield panel
