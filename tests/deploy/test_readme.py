"""The examples in deploy/README.md do what is said beside them."""

import os
import pathlib
import re
import tempfile
import unittest

import cluster
from cluster import KUSTOMIZE, documents, helm, only, parse, run, server_config, workload
from test_schema import operator_problems, problems
from test_server import check

README = (cluster.DEPLOY / "README.md").read_text(encoding="utf-8")
EXAMPLES = dict(re.findall(r"^```yaml\n# ([^\n]+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL))
REMOTE = "https://github.com/so2liu/llm-cache-server//deploy/kustomize/"


def build(**files):
    """kustomize in a directory with these files, and this repository in the place of the one on GitHub."""
    with tempfile.TemporaryDirectory() as scratch:
        here = os.path.relpath(KUSTOMIZE, os.path.realpath(scratch))
        for name, text in files.items():
            text = re.sub(rf"{re.escape(REMOTE)}(\S+)\?ref=\w+", rf"{here}/\1", text)
            (pathlib.Path(scratch) / f"{name.replace('_', '-')}.yaml").write_text(text, encoding="utf-8")
        return documents(run([cluster.TOOLS / "venv/bin/kubectl", "kustomize", scratch]))


class Readme(unittest.TestCase):
    def test_every_example_is_known(self):
        names = ["kustomization.yaml", "llm-cache-server.yaml", "values of a fleet", "values of a bucket", "patch of the ServiceAccount", "backup-values.yaml", "patch of the StatefulSet",
                 "restore.yaml", "values.yaml", "patch of the NetworkPolicy"]
        self.assertEqual(list(EXAMPLES), names)
        self.assertEqual(README.count("```yaml"), len(names))

    def test_the_kustomization(self):
        objects = build(kustomization=EXAMPLES["kustomization.yaml"], llm_cache_server=EXAMPLES["llm-cache-server.yaml"])
        self.assertEqual(len(objects), 9)
        for each in objects:
            self.assertEqual(problems(each, "1.30"), [])
            self.assertEqual(each["metadata"]["namespace"], cluster.NAMESPACE)
        self.assertEqual(operator_problems(objects), [])
        config = only(objects, "ConfigMap", "llm-cache-server-config")
        self.assertIn("app.kubernetes.io/instance", config["metadata"]["labels"])
        self.assertEqual(parse(server_config(objects)), parse(EXAMPLES["llm-cache-server.yaml"]))
        check(server_config(objects))
        pod = only(objects, "StatefulSet")["spec"]["template"]["spec"]
        self.assertEqual(pod["containers"][0]["image"], "ghcr.io/so2liu/llm-cache-server:sha-0123abc")
        self.assertEqual(pod["volumes"][0]["configMap"]["name"], config["metadata"]["name"])

    def test_without_the_optional_parts(self):
        text = EXAMPLES["kustomization.yaml"]
        text = re.sub(r"^components:\n.*\n", "", text, flags=re.MULTILINE).split("configMapGenerator")[0]
        objects = build(kustomization=text)
        self.assertEqual(len(objects), 6)
        check(server_config(objects))

    def test_the_values(self):
        with cluster.values_file(EXAMPLES["values.yaml"]) as file:
            objects = helm(values=[file])
        check(server_config(objects))
        self.assertEqual(len(parse(server_config(objects))["upstreams"]), 2)
        self.assertEqual(only(objects, "ServiceMonitor")["metadata"]["labels"]["release"], "kube-prometheus-stack")
        self.assertEqual(len(objects), 9)
        # The patch says the same.
        kustomization = EXAMPLES["kustomization.yaml"].split("configMapGenerator")[0]
        patch = "patches: [{path: patch.yaml, target: {kind: NetworkPolicy}}]\n"
        patched = build(kustomization=kustomization + patch, patch=EXAMPLES["patch of the NetworkPolicy"])
        one, other = (only(each, "NetworkPolicy")["spec"] for each in (objects, patched))
        self.assertEqual(one, other)

    def test_the_values_of_a_fleet(self):
        with cluster.values_file(EXAMPLES["values of a fleet"]) as file:
            secret = "shared.passwordSecret=llm-cache-server-shared"
            for values in ([cluster.FLEET, file], [cluster.REPLICAS, file]):
                objects = helm(secret, values=values)
                container = workload(objects)["spec"]["template"]["spec"]["containers"][0]
                env = {each["name"]: each.get("value", "what a Secret holds") for each in container["env"]}
                check(server_config(objects), env)
                self.assertEqual(len(parse(server_config(objects))["shared"]["nodes"]), 2)
                self.assertEqual(workload(objects)["kind"], "Deployment" if cluster.FLEET in values else "StatefulSet")

    def test_the_values_of_a_bucket(self):
        with cluster.values_file(EXAMPLES["values of a bucket"]) as file:
            objects = helm(values=[cluster.FLEET, file])
        env = {each["name"]: each.get("value", "what a Secret holds") for each in workload(objects)["spec"]["template"]["spec"]["containers"][0]["env"]}
        check(server_config(objects), env)
        self.assertTrue(parse(server_config(objects))["objects"]["bucket"])
        # The patch says the same.
        kustomization = EXAMPLES["kustomization.yaml"].split("configMapGenerator")[0]
        patch = "patches: [{path: patch.yaml, target: {kind: ServiceAccount}}]\n"
        patched = build(kustomization=kustomization + patch, patch=EXAMPLES["patch of the ServiceAccount"])
        one, other = (only(each, "ServiceAccount")["metadata"]["annotations"] for each in (objects, patched))
        self.assertEqual(one, other)

    def test_the_backup(self):
        with cluster.values_file(EXAMPLES["backup-values.yaml"]) as file:
            theirs = only(helm(values=[file]), "StatefulSet")["spec"]
        kustomization = EXAMPLES["kustomization.yaml"].split("configMapGenerator")[0]
        patch = "patches: [{path: patch.yaml, target: {kind: StatefulSet}}]\n"
        patched = build(kustomization=kustomization + patch, patch=EXAMPLES["patch of the StatefulSet"])
        ours = only(patched, "StatefulSet")["spec"]
        server = theirs["template"]["spec"]
        for spec in (ours["template"]["spec"], server):
            self.assertEqual(spec["volumes"][-1]["persistentVolumeClaim"]["claimName"], "llm-cache-backup")
            self.assertEqual(spec["containers"][0]["volumeMounts"][-1], {"name": "backup", "mountPath": "/backup"})
        # The pod that restores is one like the server's.
        pod = parse(EXAMPLES["restore.yaml"])
        self.assertEqual(problems(pod, "1.30"), [])
        self.assertEqual(pod["metadata"]["namespace"], cluster.NAMESPACE)
        spec = pod["spec"]
        for key in ("securityContext", "automountServiceAccountToken", "enableServiceLinks"):
            self.assertEqual(spec[key], server[key], key)
        one, other = spec["containers"][0], server["containers"][0]
        self.assertEqual(one["securityContext"], other["securityContext"])
        mounts = {each["name"]: each["mountPath"] for each in other["volumeMounts"]}
        for each in one["volumeMounts"]:
            self.assertEqual(each["mountPath"], mounts[each["name"]])
        claim = theirs["volumeClaimTemplates"][0]["metadata"]["name"]
        self.assertEqual(spec["volumes"][0]["persistentVolumeClaim"]["claimName"], f"{claim}-llm-cache-server-0")
        path = parse(server_config(helm()))["store"]["path"]
        self.assertEqual(one["env"], [{"name": "LLM_CACHE__STORE__PATH", "value": path}])

    def test_the_table_of_hits(self):
        rows = re.findall(r"^\|[^|]*?(\w+)(?: times)?(?:: share of hits)? \| (\d+) % \| (\d+) % \| (\d+) % \|$", README, re.MULTILINE)
        self.assertEqual(len(rows), 3)
        for asked, *shares in rows:
            asked = 2 if asked == "twice" else int(asked)
            for replicas, share in zip((1, 3, 6), shares):
                # Each replica that is asked at all, misses once.
                misses = replicas * (1 - (1 - 1 / replicas) ** asked)
                self.assertAlmostEqual(int(share), 100 * (asked - misses) / asked, delta=0.51)


if __name__ == "__main__":
    unittest.main()
