#!/usr/bin/env python3
"""Writes the shell scripts inside workflows to files, for shellcheck: workflow_scripts.py DIRECTORY WORKFLOW…

An expression inside a script is refused: what it stands for would be run as code. It belongs in the step's `env`.
So are jobs that do not say their permissions and their time limit, and checkouts that leave their token behind.
"""

import pathlib
import sys

import yaml


def main():
    directory = pathlib.Path(sys.argv[1])
    count = 0
    for path in map(pathlib.Path, sys.argv[2:]):
        workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
        shell = workflow.get("defaults", {}).get("run", {}).get("shell")
        for job_name, job in workflow["jobs"].items():
            if missing := {"permissions", "timeout-minutes"} - set(job):
                sys.exit(f"{path}: job {job_name} does not say its {' and '.join(sorted(missing))}")
            for number, step in enumerate(job.get("steps", [])):
                if step.get("uses", "").startswith("actions/checkout@") and step.get("with", {}).get("persist-credentials") is not False:
                    sys.exit(f"{path}: job {job_name} checks out without `persist-credentials: false`")
                if "run" not in step:
                    continue
                if shell != "bash" or "shell" in step:
                    sys.exit(f"{path}: shell {step.get('shell', shell)}: only `defaults: run: shell: bash` is checked")
                if "${{" in step["run"]:
                    sys.exit(f"{path}: job {job_name}, step {step.get('name', number)}: an expression inside a script")
                name = f"{path.stem}.{job_name}.{number}.sh"
                (directory / name).write_text(f"#!/usr/bin/env bash\nset -eo pipefail\n{step['run']}", encoding="utf-8")
                count += 1
    if not count:
        sys.exit("workflow_scripts.py: found no scripts")


if __name__ == "__main__":
    main()
