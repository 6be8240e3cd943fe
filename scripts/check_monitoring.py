#!/usr/bin/env python3
"""Checks what promtool does not: the dashboard, the alerts' annotations and runbook, and that every alert is tested.

check_monitoring.py [DASHBOARD ALERTS TESTS RUNBOOK]
"""

import json
import pathlib
import re
import sys

import yaml
from check_links import anchors

ROOT = pathlib.Path(__file__).resolve().parent.parent
FILES = ("deploy/monitoring/dashboard.json", "deploy/monitoring/alerts.yaml", "deploy/monitoring/alerts_test.yaml", "docs/operations.md")
RUNBOOK_URL = "https://github.com/so2liu/llm-cache-server/blob/main/docs/operations.md#"
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
SEVERITIES = {"page", "ticket"}
COLUMNS = 24
SCHEMA_MIN = 39  # Grafana 11
KINDS = {"row", "stat", "timeseries", "bargauge", "table"}
# What Grafana itself fills in, beside the dashboard's own variables.
BUILT_IN = {"__rate_interval", "__range"}


def without_doubles(pairs):
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError(f"a key comes twice: {sorted(name for name, _ in pairs)}")
    return found


def all_panels(dashboard):
    for panel in dashboard["panels"]:
        yield panel
        yield from panel.get("panels", ())


def cells(panel):
    at = panel["gridPos"]
    return {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}


def of_dashboard(dashboard):
    if dashboard.get("schemaVersion", 0) < SCHEMA_MIN:
        yield f"schemaVersion is below {SCHEMA_MIN}"
    if dashboard.get("id") is not None or not dashboard.get("uid"):
        yield "to be importable it needs a uid, and an id of null"
    variables = {each["name"]: each for each in dashboard["templating"]["list"]}
    for name in ("datasource", "namespace", "instance", "api", "upstream"):
        if name not in variables:
            yield f"there is no variable {name}"
    if variables.get("datasource", {}).get("type") != "datasource":
        yield "the variable datasource is of another type"
    for name, variable in variables.items():
        if variable["type"] == "query" and variable.get("datasource") != DATASOURCE:
            yield f"the variable {name} does not ask ${{datasource}}"
        if variable["type"] == "query" and variable.get("allValue") != ".*":
            yield f"the variable {name} would leave out series without the label (allValue)"
    known = set(variables) | BUILT_IN
    ids, taken, titles = set(), {}, set()
    for panel in all_panels(dashboard):
        title = panel.get("title", "")
        place = f"panel {panel.get('id')} ({title})"
        if not title.strip():
            yield f"{place} has no title"
        if panel["type"] not in KINDS:
            yield f"{place} is of the unknown type {panel['type']}"
        if panel["id"] in ids:
            yield f"{place}: its id comes twice"
        ids.add(panel["id"])
        for cell in cells(panel):
            if cell in taken:
                yield f"{place} overlaps {taken[cell]}"
                break
            if not 0 <= cell[0] < COLUMNS or cell[1] < 0:
                yield f"{place} sticks out of the grid"
                break
        taken.update(dict.fromkeys(cells(panel), place))
        if panel["type"] == "row":
            continue
        if title in titles:
            yield f"{place}: its title comes twice"
        titles.add(title)
        yield from (f"{place}: {problem}" for problem in of_panel(panel, known))
    for annotation in dashboard["annotations"]["list"]:
        if not annotation.get("builtIn") and annotation.get("datasource") != DATASOURCE:
            yield f"the annotation {annotation['name']} does not ask ${{datasource}}"


def of_panel(panel, known):
    if len(panel.get("description", "")) < 20:
        yield "has no description"
    if not panel["fieldConfig"]["defaults"].get("unit"):
        yield "has no unit"
    if panel.get("datasource") != DATASOURCE:
        yield "does not ask ${datasource}"
    if not panel.get("targets"):
        yield "asks for nothing"
    letters = [target["refId"] for target in panel.get("targets", ())]
    if len(set(letters)) != len(letters):
        yield "has two queries of one name"
    for target in panel.get("targets", ()):
        if target.get("datasource") != DATASOURCE:
            yield f"query {target['refId']} does not ask ${{datasource}}"
        for name in re.findall(r"\$\{?(\w+)", target["expr"]):
            if name not in known:
                yield f"query {target['refId']} uses the unknown variable {name}"
        for selector in re.findall(r"\bllm_cache_\w+(?:\{([^}]*)\})?", target["expr"]):
            # The right side of `and on (…)` needs none: it is joined.
            if "$instance" not in selector and not re.search(r"on \(namespace, job", target["expr"]):
                yield f"query {target['refId']} does not heed the variable instance"


def of_alerts(alerts, runbook):
    headings = anchors(runbook)
    names = set()
    for rule in alerts:
        name = rule["alert"]
        if name in names:
            yield f"{name} comes twice"
        names.add(name)
        if rule.get("labels", {}).get("severity") not in SEVERITIES:
            yield f"{name}: its severity is none of {sorted(SEVERITIES)}"
        notes = rule.get("annotations", {})
        for note in ("summary", "description", "runbook_url"):
            if not notes.get(note):
                yield f"{name} has no {note}"
        url = notes.get("runbook_url", "")
        anchor = url.removeprefix(RUNBOOK_URL)
        if anchor == url or anchor != name.lower():
            yield f"{name}: its runbook_url is not {RUNBOOK_URL}{name.lower()}"
        elif anchor not in headings:
            yield f"{name}: {runbook.name} has no heading for it"
    for heading in re.findall(r"^### (LlmCache\w+)", runbook.read_text(encoding="utf-8"), re.MULTILINE):
        if heading not in names:
            yield f"{runbook.name} has an entry for {heading}, which is no alert"


def of_tests(alerts, tests):
    names = {rule["alert"] for rule in alerts}
    fires, silent = set(), set()
    for test in tests["tests"]:
        cases = test.get("alert_rule_test", [])
        loud = {case["alertname"] for case in cases if case.get("exp_alerts")}
        fires |= loud
        # Silent before it fires is no second story, and without any series everything is silent.
        if test.get("input_series"):
            silent |= {case["alertname"] for case in cases} - loud
        for unknown in {case["alertname"] for case in cases} - names:
            yield f"the test {test.get('name')} is about {unknown}, which is no alert"
    for name in sorted(names):
        if name not in fires:
            yield f"no test makes {name} fire"
        if name not in silent:
            yield f"in no test of its own {name} is silent"


def main():
    dashboard, alerts, tests, runbook = [ROOT / path for path in sys.argv[1:] or FILES]
    rules = [rule for group in yaml.safe_load(alerts.read_text())["groups"] for rule in group["rules"] if "alert" in rule]
    panels = json.loads(dashboard.read_text(), object_pairs_hook=without_doubles)
    problems = [f"{dashboard.name}: {problem}" for problem in of_dashboard(panels)]
    problems += [f"{alerts.name}: {problem}" for problem in of_alerts(rules, runbook)]
    problems += [f"{tests.name}: {problem}" for problem in of_tests(rules, yaml.safe_load(tests.read_text()))]
    if problems:
        print(*problems, sep="\n", file=sys.stderr)
        sys.exit(f"check_monitoring.py: {len(problems)} problems")
    count = sum(panel["type"] != "row" for panel in all_panels(panels))
    print(f"{count} panels and {len(rules)} alerts are good")


if __name__ == "__main__":
    main()
