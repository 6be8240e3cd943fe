#!/usr/bin/env python3
"""Says which tags an image gets for which push, by the rules in .github/workflows/release.yaml.

    image_tags.py [--check] [--workflow FILE]

Reads the workflow itself: its triggers, the conditions of its jobs, and the inputs of docker/metadata-action, of
whose semantics (version 5) it has the part that is used there. With --check it fails unless every case gets what
docs/releasing.md promises, and unless a pull request builds both architectures and can push nothing. Rules that it
does not understand are an error, not a guess. Needs PyYAML.
"""

import argparse
import csv
import functools
import pathlib
import re
import subprocess
import sys

import yaml
from workflow_expressions import evaluate, interpolate, text_of

ROOT = pathlib.Path(__file__).resolve().parent.parent
WORKFLOW = ROOT / ".github/workflows/release.yaml"
RUNNERS = {"amd64": "ubuntu-24.04", "arm64": "ubuntu-24.04-arm"}
SHA = "abc1234def5678abc1234def5678abc1234def56"
OTHER_SHA = "f" * 40
NUMBER = "123"
BUILD = [f"build-{NUMBER}", f"sha-{SHA[:7]}"]

# name, ref, other refs of the repository, expected tags (None: the workflow does not run), expected version
CASES = [
    ("push to main", "refs/heads/main", [], ["latest", "main", *BUILD], f"build-{NUMBER}"),
    ("push to main, overtaken", "refs/heads/main", [f"{OTHER_SHA} refs/heads/main"], BUILD, f"build-{NUMBER}"),
    ("push to another branch", "refs/heads/topic", [], None, None),
    ("tag v1.2.3", "refs/tags/v1.2.3", ["v1.2.2", "v1.1.9", "v0.4.0"], ["1.2.3", "1.2", "1", *BUILD], "1.2.3"),
    ("tag v1.2.3 after v1.10.0", "refs/tags/v1.2.3", ["v1.2.2", "v1.10.0"], ["1.2.3", "1.2", *BUILD], "1.2.3"),
    ("tag v1.2.3 after v1.2.10", "refs/tags/v1.2.3", ["v1.2.10"], ["1.2.3", *BUILD], "1.2.3"),
    ("tag v1.2.3 after v2.0.0-rc.1", "refs/tags/v1.2.3", ["v1.3.0-rc.1", "v2.0.0-rc.1"], ["1.2.3", "1.2", "1", *BUILD], "1.2.3"),
    ("tag v0.4.0", "refs/tags/v0.4.0", ["v0.3.9"], ["0.4.0", "0.4", *BUILD], "0.4.0"),
    ("tag v1.2.3-rc.1", "refs/tags/v1.2.3-rc.1", ["v1.2.2"], ["1.2.3-rc.1", *BUILD], "1.2.3-rc.1"),
    ("tag nightly", "refs/tags/nightly", [], None, None),
    ("pull request", "refs/pull/7/merge", [], [], None),
]

PRIORITIES = {"semver": 900, "ref": 600, "raw": 200, "sha": 100}
ATTRIBUTES = {"type", "value", "pattern", "event", "enable", "priority"}
SEMVER = re.compile(r"v?(\d+)\.(\d+)\.(\d+)(?:-([0-9A-Za-z.-]+))?")
PUSHING = re.compile(
    r"imagetools create|\b(?:docker|podman|buildah|helm|oras)\b.*\bpush\b|\b(?:crane|skopeo)\b|cosign|\bgh (?:release|api)\b|git push"
)


def wildcard(pattern, name):
    """GitHub's filter patterns."""
    if re.search(r"[!\\]", pattern):
        raise ValueError(f"filter pattern {pattern!r} is not understood")
    pattern = re.sub(r"\*\*|\*|\.", lambda match: {"**": ".*", "*": "[^/]*", ".": r"\."}[match[0]], pattern)
    return re.fullmatch(pattern, name) is not None


def starts(workflow, github):
    event = github["event_name"]
    if event not in workflow["on"]:
        return False
    filters = workflow["on"][event] or {}
    if unknown := set(filters) - {"branches", "tags"}:
        raise ValueError(f"filters {unknown} are not understood")
    if event == "pull_request":
        kind, name = "branches", "main"
    else:
        kind, name = {"tag": "tags", "branch": "branches"}[github["ref_type"]], github["ref_name"]
    # A filter on branches alone keeps tags out, and the reverse.
    return any(wildcard(pattern, name) for pattern in filters[kind]) if kind in filters else not filters


def handlebars(text, values):
    def value(match):
        if match[1] not in values:
            raise ValueError(f"{match[0]} is not understood")
        return str(values[match[1]])

    return re.sub(r"\{\{\s*(\S+?)\s*\}\}", value, text)


def rules_of(text):
    for line in filter(None, map(str.strip, text.splitlines())):
        rule = dict(field.strip().split("=", 1) for field in next(csv.reader([line])))
        if rule.get("type") not in PRIORITIES or set(rule) - ATTRIBUTES:
            raise ValueError(f"rule {line!r} is not understood")
        yield rule


def value_of(rule, ref):
    """The tag that a rule gives; None if it gives none for this ref."""
    if rule["type"] == "raw":
        return rule["value"]
    if rule["type"] == "sha":
        return f"sha-{SHA[:7]}"
    if rule["type"] == "ref":
        if rule["event"] not in ("branch", "tag", "pr"):
            raise ValueError(f"event={rule['event']} is not understood")
        match = re.fullmatch({"branch": "refs/heads/(.+)", "tag": "refs/tags/(.+)", "pr": "refs/pull/(.+)/merge"}[rule["event"]], ref)
        return match and ("pr-" if rule["event"] == "pr" else "") + match[1]
    if not ref.startswith("refs/tags/") or not (match := SEMVER.fullmatch(ref.removeprefix("refs/tags/"))):
        return None
    version = match[0].removeprefix("v")
    # Of a pre-release metadata-action makes the whole version, whatever the pattern.
    pattern = "{{version}}" if match[4] else rule["pattern"]
    return handlebars(pattern, {"version": version, "major": match[1], "minor": match[2], "patch": match[3]})


def tags_of(inputs, ref):
    """What docker/metadata-action makes of its inputs: the tags, the first being the version of the image."""
    flavor = dict(line.strip().split("=", 1) for line in inputs.get("flavor", "latest=auto").split())
    if set(flavor) != {"latest"} or flavor["latest"] not in ("auto", "true", "false"):
        raise ValueError(f"flavor {flavor} is not understood")
    tags, latest = [], None
    rules = sorted(rules_of(inputs["tags"]), key=lambda rule: -int(rule.get("priority", PRIORITIES[rule["type"]])))
    for rule in rules:
        is_default = "true" if ref == "refs/heads/main" else "false"
        enable = handlebars(rule.get("enable", "true"), {"is_default_branch": is_default})
        if enable not in ("true", "false"):
            raise ValueError(f"enable={enable} is neither true nor false")
        if enable == "false" or not (value := value_of(rule, ref)):
            continue
        tags.append(re.sub(r"[^a-zA-Z0-9._-]+", "-", value))
        if latest is None:
            released = rule["type"] == "semver" and "-" not in ref or (rule["type"], rule.get("event")) == ("ref", "tag")
            latest = flavor["latest"] == "true" or flavor["latest"] == "auto" and released
    return list(dict.fromkeys([*tags, "latest"] if latest else tags))


@functools.cache
def newest(ref, refs):
    """The outputs of the step that runs scripts/newest.sh: what that script really prints."""
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "GITHUB_REF": ref, "GITHUB_SHA": SHA}
    printed = subprocess.run(
        [ROOT / "scripts/newest.sh"], input="\n".join(refs) + "\n", env=environment, check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    return dict(line.split("=", 1) for line in printed.splitlines())


def context_of(ref, refs):
    """What the workflow's expressions can ask for. What other steps would print is named, not known."""
    refs = [each if " " in each else f"{OTHER_SHA} refs/tags/{each}" for each in refs]
    if not any(each.endswith(f" {ref}") for each in refs):
        refs.append(f"{SHA} {ref}")
    github = {
        "event_name": "pull_request" if ref.startswith("refs/pull/") else "push",
        "ref": ref,
        "ref_name": re.sub("^refs/(heads|tags|pull)/", "", ref),
        "ref_type": "tag" if ref.startswith("refs/tags/") else "branch",
        "sha": SHA,
        "run_number": NUMBER,
        "run_id": "99",
        "repository": "so2liu/llm-cache-server",
        "actor": "ACTOR",
        "token": "TOKEN",
        "event": {"pull_request": {"number": 7}},
    }
    plan = {"image": "ghcr.io/so2liu/llm-cache-server", "version": "VERSION", "created": "TIME"}
    digest = {"outputs": {"digest": "DIGEST"}}
    steps = {"newest": {"outputs": newest(ref, tuple(refs))}, "meta": {"outputs": {"json": "{}"}}, "build": digest, "manifest": digest}
    needs = {"plan": {"outputs": plan}, "publish": digest}
    secrets = {"GITHUB_TOKEN": "TOKEN"}
    return {"github": github, "needs": needs, "steps": steps, "secrets": secrets, "runner": {"temp": "TEMP"}}


def running_jobs(workflow, context):
    jobs, waiting = {}, dict(workflow["jobs"])
    while waiting:
        for name, job in waiting.items():
            needs = [job["needs"]] if isinstance(job.get("needs"), str) else job.get("needs", [])
            if not any(need in waiting for need in needs):
                if all(need in jobs for need in needs) and evaluate(text_of(job.get("if", True)), context):
                    jobs[name] = job
                del waiting[name]
                break
        else:
            raise ValueError(f"jobs need each other: {list(waiting)}")
    return jobs


def running_steps(jobs, context):
    """(job name, architecture, step, its evaluated inputs) of every step that runs."""
    for name, job in jobs.items():
        if "uses" in job:
            raise ValueError(f"job {name} calls another workflow, which is not understood")
        for leg in job.get("strategy", {}).get("matrix", {}).get("include", [{}]):
            here = {**context, "matrix": leg}
            runner = interpolate(job["runs-on"], here)
            for step in job["steps"]:
                if evaluate(text_of(step.get("if", True)), here):
                    inputs = {key: interpolate(text_of(value), here) for key, value in step.get("with", {}).items()}
                    yield name, leg.get("arch"), runner, step, inputs


def pushes(step, inputs):
    """Why this step could push something; None if it could not."""
    uses = step.get("uses", "")
    if uses.startswith("docker/login-action@"):
        return "logs in"
    if uses.startswith("docker/build-push-action@"):
        written = (inputs.get("push", "false") != "false", "push" in inputs.get("outputs", ""), "registry" in inputs.get("cache-to", ""))
        return "builds with push" if any(written) else None
    if uses.startswith(("actions/attest", "sigstore/")):
        return "signs"
    return "runs a command that pushes" if PUSHING.search(str(step.get("run", ""))) else None


def problems(workflow, ref, context, expected, expected_version):
    """(the tags that are pushed, what is wrong) for one case in which the workflow runs."""
    wrong, tags = [], []
    jobs = running_jobs(workflow, context)
    steps = list(running_steps(jobs, context))
    builds = [(arch, runner, inputs) for _, arch, runner, step, inputs in steps if "docker/build-push-action@" in step.get("uses", "")]
    if sorted((arch, runner) for arch, runner, _ in builds) != sorted(RUNNERS.items()):
        wrong.append(f"builds {[(arch, runner) for arch, runner, _ in builds]}, not one on each of {RUNNERS}")
    for name, _, _, step, inputs in steps:
        if step.get("uses", "").startswith("docker/metadata-action@"):
            tags += tags_of(inputs, ref)
    if context["github"]["event_name"] == "pull_request":
        for name, job in jobs.items():
            granted = job.get("permissions", workflow.get("permissions", "the default"))
            if not isinstance(granted, dict) or set(granted.items()) - {("contents", "read")}:
                wrong.append(f"job {name} has permissions {granted}")
            if re.search(r"secrets\s*[.\[]|github\.token", str(job)):
                wrong.append(f"job {name} uses a secret")
        wrong += [f"a step of job {name} {why}: {step.get('name')}" for name, _, _, step, inputs in steps if (why := pushes(step, inputs))]
    else:
        for arch, _, inputs in builds:
            if not {"type=image", "push-by-digest=true", "push=true"} <= set(inputs.get("outputs", "").split(",")) or inputs.get("tags"):
                wrong.append(f"{arch} is not pushed by digest alone")
            cached = inputs.get("cache-from") or inputs.get("cache-to") or inputs.get("no-cache") != "true"
            if context["github"]["ref_type"] == "tag" and cached:
                wrong.append(f"{arch} of a release is built with the cache")
    if sorted(tags) != sorted(expected):
        wrong.append(f"gets {tags}, should get {expected}")
    elif tags and tags[0] != expected_version:
        wrong.append(f"has version {tags[0]}, should have {expected_version}")
    return tags, wrong


def report(text):
    """(name, what it gets, what is wrong) for each case."""
    workflow = yaml.safe_load(text)
    workflow["on"] = workflow.pop(True)  # YAML 1.1 takes the key `on` for a truth value.
    outside = set(workflow["on"]) - {"push", "pull_request"}
    yield "triggers", "", [f"started by {each}: not looked at here, and dangerous if it serves pull requests" for each in outside]
    for name, ref, refs, expected, version in CASES:
        context = context_of(ref, refs)
        if not starts(workflow, context["github"]):
            yield name, "(does not run)", [] if expected is None else [f"does not run, should get {expected}"]
            continue
        tags, wrong = problems(workflow, ref, context, expected or [], version)
        if expected is None:
            wrong = [f"runs and gets {tags}, should not run"]
        yield name, " ".join(tags) or "(builds, pushes nothing)", wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="fail if a case does not get what it should")
    parser.add_argument("--workflow", type=pathlib.Path, default=WORKFLOW)
    arguments = parser.parse_args()
    failed = 0
    for name, gets, wrong in report(arguments.workflow.read_text(encoding="utf-8")):
        if gets:
            print(f"{name:30} {gets}")
        for each in wrong:
            print(f"{name}: {each}", file=sys.stderr)
        failed += len(wrong)
    if arguments.check and failed:
        sys.exit(f"image_tags.py: {failed} problems in {arguments.workflow}")


if __name__ == "__main__":
    main()
