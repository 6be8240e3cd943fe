#!/usr/bin/env python3
"""Copies of deploy/monitoring, where kustomize and Helm can read them: neither reads outside its own directory.

copies.py          fails if a copy is not fresh
copies.py --write  makes them"""

import pathlib
import sys

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
MADE = "# Made from deploy/monitoring/alerts.yaml by `scripts/check_deploy.sh --write`.\n"
RULE = """\
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: llm-cache-server
  labels:
    app.kubernetes.io/name: llm-cache-server
    app.kubernetes.io/instance: llm-cache-server
    app.kubernetes.io/component: monitoring
    app.kubernetes.io/managed-by: kustomize
"""


class Dumper(yaml.SafeDumper):
    """Longer texts line by line: kustomize before 5 puts empty lines into folded ones."""


def represent_text(dumper, text):
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


Dumper.add_representer(str, represent_text)


def copies(root=ROOT):
    """{path: what belongs there}"""
    deploy = root / "deploy"
    alerts = (deploy / "monitoring/alerts.yaml").read_text(encoding="utf-8")
    dashboard = (deploy / "monitoring/dashboard.json").read_text(encoding="utf-8")
    chart, component = deploy / "helm/llm-cache-server/files", deploy / "kustomize/components/monitoring"
    rule = {**yaml.safe_load(RULE), "spec": yaml.safe_load(alerts)}
    rule = yaml.dump(rule, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=10_000)
    return {
        chart / "alerts.yaml": MADE + alerts,
        chart / "dashboard.json": dashboard,
        component / "prometheusrule.yaml": MADE + rule,
        component / "dashboard.json": dashboard,
    }


def stale(root=ROOT):
    return [
        path
        for path, content in copies(root).items()
        if not path.is_file() or path.read_text(encoding="utf-8") != content
    ]


def main():
    if sys.argv[1:] == ["--write"]:
        for path, content in copies().items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
    elif sys.argv[1:]:
        sys.exit(__doc__)
    elif old := stale():
        names = ", ".join(str(path.relative_to(ROOT)) for path in old)
        sys.exit(f"not what deploy/monitoring has: {names}. Run scripts/check_deploy.sh --write")


if __name__ == "__main__":
    main()
