"""Builds the objects, by kustomize and from the chart, and compares them. For the tests beside this file.

DEPLOY_TOOLS and SERVER come from scripts/check_deploy.sh."""

import contextlib
import functools
import json
import os
import pathlib
import re
import subprocess
import tempfile

import helm_python
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "helm/llm-cache-server"
KUSTOMIZE = DEPLOY / "kustomize"
TOOLS = pathlib.Path(os.environ["DEPLOY_TOOLS"])
SERVER = os.environ["SERVER"]
NAMESPACE = "llm-cache"
CONFIG = "llm-cache-server.yaml"
# What turns on what the component `monitoring` has.
MONITORING = [f"monitoring.{each}.enabled=true" for each in ("serviceMonitor", "prometheusRule", "dashboard")]
# What has the same effect as the component `admin-token`.
TOKEN = "admin.tokenSecret=llm-cache-server-admin-token"
# And what the component `objects-keys` has.
KEYS_OF_A_BUCKET = "objects.keysSecret=llm-cache-server-objects"
REPLICAS = CHART / "values-replicas.yaml"
FLEET = CHART / "values-fleet.yaml"


class Loader(yaml.SafeLoader):
    """Refuses keys that are there twice, as Kubernetes does, and reads `on` and `off` as Go's YAML does."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = {str(key) for key in keys if keys.count(key) > 1}
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"twice: {', '.join(twice)}", node.start_mark)
        return super().construct_mapping(node, deep)


def parse(text):
    return yaml.load(text, Loader)


def run(command, **options):
    done = subprocess.run([str(each) for each in command], capture_output=True, text=True, timeout=120, **options)
    if done.returncode:
        raise RuntimeError(done.stderr.strip() or done.stdout.strip() or f"{command[0]}: {done.returncode}")
    return done.stdout


def documents(text):
    return [each for each in yaml.load_all(text, Loader) if each]


@functools.cache
def kustomize(directory):
    """Text, so that no test can change what another one sees."""
    return run([TOOLS / "venv/bin/kubectl", "kustomize", directory])


def merged(under, over):
    """As Helm lays files with values over each other."""
    if not (isinstance(under, dict) and isinstance(over, dict)):
        return over
    return {**under, **{key: merged(under.get(key), value) for key, value in over.items()}}


def values_of(sets, files=()):
    """What `--values FILE` and `--set KEY.KEY=VALUE` give; the value is YAML."""
    values = {}
    for each in files:
        values = merged(values, parse(pathlib.Path(each).read_text(encoding="utf-8")))
    for each in sets:
        path, text = each.split("=", 1)
        value = parse(text)
        for key in reversed(path.split(".")):
            value = {key: value}
        values = merged(values, value)
    return values


def templates(*sets, values=(), chart=CHART, release="llm-cache-server"):
    """{path: text} by Helm's own code."""
    with helm_python.Chart.load(chart) as loaded:
        return loaded.render(values=values_of(sets, values), name=release, namespace=NAMESPACE)


def notes(*sets, **options):
    (text,) = [text for path, text in templates(*sets, **options).items() if path.endswith("/NOTES.txt")]
    return text


def helm(*sets, **options):
    """The objects that `helm template` prints."""
    files = templates(*sets, **options).items()
    return [each for path, text in files if not path.endswith("/NOTES.txt") for each in documents(text)]


def pairs():
    """What must be equal: a name, the objects by kustomize, those of the chart."""
    for name, values in (("single", []), ("replicas", [REPLICAS]), ("fleet", [FLEET])):
        yield name, documents(kustomize(KUSTOMIZE / "overlays" / name)), helm(values=values)
        overlay = pathlib.Path(__file__).parent / "overlays" / name
        yield f"{name} with monitoring", documents(kustomize(overlay)), helm(*MONITORING, values=values)
    overlays = pathlib.Path(__file__).parent / "overlays"
    yield "single with a token", documents(kustomize(overlays / "token")), helm(TOKEN)
    yield "fleet with a token", documents(kustomize(overlays / "fleet-with-a-token")), helm(TOKEN, values=[FLEET])
    objects = helm(TOKEN, KEYS_OF_A_BUCKET, values=[FLEET])
    yield "fleet with a bucket", documents(kustomize(overlays / "fleet-with-a-bucket")), objects


def only(objects, kind, name="llm-cache-server"):
    found = [each for each in objects if each["kind"] == kind and each["metadata"]["name"].startswith(name)]
    exact = [each for each in found if each["metadata"]["name"] == name] or found
    (one,) = exact
    return one


def workload(objects):
    """What makes the pods: a Deployment, if they have no volume."""
    (one,) = [each for each in objects if each["kind"] in ("StatefulSet", "Deployment")]
    return one


def server_config(objects):
    return only(objects, "ConfigMap", "llm-cache-server-config")["data"][CONFIG]


def normal(objects):
    """{kind/name: object} without what may differ: the hash in the ConfigMap's name here, in an annotation there;
    who manages the objects; comments and the order of keys inside the files of ConfigMaps."""
    text = json.dumps(objects)
    for each in objects:
        name = each["metadata"]["name"]
        if each["kind"] == "ConfigMap" and re.fullmatch(r"llm-cache-server-config-[0-9a-z]{10}", name):
            # Wherever it stands: had a reference not been renamed, it would differ now.
            text = text.replace(json.dumps(name), json.dumps(name[:-11]))
    found = {}
    for each in json.loads(text):
        labels = each["metadata"].get("labels", {})
        labels.pop("helm.sh/chart", None)
        if labels.get("app.kubernetes.io/managed-by") in ("Helm", "kustomize"):
            labels["app.kubernetes.io/managed-by"] = "*"
        if each["kind"] in ("StatefulSet", "Deployment"):
            meta = each["spec"]["template"]["metadata"]
            if meta.get("annotations", {}).pop("checksum/config", None) and not meta["annotations"]:
                del meta["annotations"]
        if each["kind"] == "ConfigMap":
            each["data"] = {
                name: json.loads(content) if name.endswith(".json") else parse(content)
                for name, content in each["data"].items()
            }
        key = f"{each['kind']}/{each['metadata']['name']}"
        assert key not in found, f"{key} is there twice"
        found[key] = each
    return found


def differences(one, other, path=""):
    """Where two values differ, in words. Lists are compared in their order, and 1 is neither True nor 1.0."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted(one.keys() | other.keys()):
            if key not in one or key not in other:
                yield f"{path}/{key}: only in the {'second' if key not in one else 'first'}"
            else:
                yield from differences(one[key], other[key], f"{path}/{key}")
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for index, (a, b) in enumerate(zip(one, other)):
            yield from differences(a, b, f"{path}/{index}")
    elif type(one) is not type(other) or one != other:
        yield f"{path}: {one!r} and {other!r}"


SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
BYTES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


def seconds(span):
    parts = re.findall(r"(\d+) *(ms|s|m|h|d)", span)
    assert re.fullmatch(r"(\d+ *(ms|s|m|h|d) *)+", span), span
    return sum(int(number) * SECONDS[unit] for number, unit in parts)


def size(quantity):
    """Kubernetes' 2Gi, and the server's 512MiB."""
    number, unit = re.fullmatch(r"(\d+)([A-Za-z]*?)B?", str(quantity)).groups()
    return int(number) * BYTES[unit]


@contextlib.contextmanager
def values_file(text):
    with tempfile.NamedTemporaryFile("w", suffix=".yaml", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        yield file.name
