"""The objects are good by the schemas of Kubernetes and of the Prometheus operator, and by the rules for pods of the
profile `restricted`; values are checked by the chart's own schema."""

import copy
import json
import os
import pathlib
import shutil
import tempfile
import unittest
import warnings

import helm_python
import kubernetes_validate
from helm_python import HelmError

import cluster
from cluster import TOOLS, documents, helm, kustomize, only, run, workload

OPERATOR = "monitoring.coreos.com/v1"
# preStop with `sleep` is there from 1.30 on.
VERSIONS = [f"1.{minor}" for minor in range(30, 38)]

# What default values do not reach, all in one.
EVERYTHING = """
image: {digest: "sha256:%s"}
imagePullSecrets: [{name: registry}]
admin: {tokenSecret: operators, tokenKey: the-token}
shared: {passwordSecret: valkey, passwordKey: the-password}
objects: {keysSecret: bucket, accessKeyName: the-access-key, secretKeyName: the-secret-key}
extraEnv: [{name: LLM_CACHE__LOG__LEVEL, value: debug}]
extraEnvFrom: [{secretRef: {name: more, optional: true}}]
persistence: {storageClass: fast, annotations: {a: b}, whenScaled: Delete}
podDisruptionBudget: {enabled: true, maxUnavailable: 50%%}
service: {type: LoadBalancer, annotations: {a: b}, sessionAffinity: ClientIP}
ingress:
  {enabled: true, className: nginx, hosts: [llm-cache.example.com], tls: [{secretName: t, hosts: [llm-cache.example.com]}]}
networkPolicy:
  clients: []
  monitoring: []
  egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8}}], ports: [{port: 8000, protocol: TCP}]}]
monitoring:
  serviceMonitor: {enabled: true, labels: {release: prometheus}}
  prometheusRule: {enabled: true, labels: {release: prometheus}}
  dashboard: {enabled: true, annotations: {grafana_folder: LLM}}
serviceAccount: {name: other, annotations: {a: b}}
topologySpreadConstraints:
  - {topologyKey: rack, maxSkew: 2, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {a: b}}}
nodeSelector: {disk: ssd}
tolerations: [{key: a, operator: Exists}]
affinity: {nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [
  {weight: 1, preference: {matchExpressions: [{key: a, operator: Exists}]}}]}}
priorityClassName: high
podAnnotations: {a: b}
podLabels: {team: llm}
extraVolumes: [{name: tls, secret: {secretName: tls}}]
extraVolumeMounts: [{name: tls, mountPath: /run/tls, readOnly: true}]
fullnameOverride: cache
""" % ("a" * 64)


def problems(object_, version):
    if object_["apiVersion"] == OPERATOR:
        return []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            kubernetes_validate.validate(object_, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            return [f"{object_['kind']}: {error.message} at {list(error.path)}"]
    return []


def operator_problems(objects):
    chosen = [each for each in objects if each["apiVersion"] == OPERATOR]
    script = cluster.ROOT / "tests/deploy/node/crd.mjs"
    env = {**os.environ, "NODE_TOOLS": str(TOOLS)}
    return run(["node", script], input=json.dumps(chosen), env=env).splitlines()


def all_objects():
    for name, one, other in cluster.pairs():
        yield f"{name}, by kustomize", one
        yield f"{name}, by the chart", other
    with cluster.values_file(EVERYTHING) as file:
        yield "with every value", helm(values=[file])
    yield "without some", helm("persistence.enabled=false", "serviceAccount.create=false", "serviceAccount.name=a",
                               "networkPolicy.enabled=false", "providerKeys.existingSecret=", "resources=null")


class Kubernetes(unittest.TestCase):
    def test_every_object_in_every_version(self):
        for name, objects in all_objects():
            self.assertGreaterEqual(len(objects), 4)
            for version in VERSIONS:
                with self.subTest(name, version=version):
                    self.assertEqual([each for one in objects for each in problems(one, version)], [])

    def test_errors_are_seen(self):
        stateful = only(helm(), "StatefulSet")
        for change in (
            lambda spec: spec.update(podManagmentPolicy="Parallel"),
            lambda spec: spec.update(replicas="one"),
            lambda spec: spec["template"]["spec"]["containers"][0].pop("name"),
            lambda spec: spec["template"]["spec"]["containers"][0]["lifecycle"]["preStop"].update(slepp={}),
        ):
            broken = copy.deepcopy(stateful)
            change(broken["spec"])
            for version in VERSIONS:
                self.assertTrue(problems(broken, version), version)

    def test_names_and_namespaces(self):
        for name, objects in all_objects():
            for each in objects:
                self.assertEqual(each["metadata"]["namespace"], cluster.NAMESPACE, name)
                labels = each["metadata"]["labels"]
                for label in ("name", "instance", "component", "managed-by"):
                    self.assertIn(f"app.kubernetes.io/{label}", labels, (name, each["kind"]))

    def test_every_value_arrives(self):
        with cluster.values_file(EVERYTHING) as file:
            text = json.dumps(helm(values=[file]))
        for word in ("llm-cache-server:sha-0000000@sha256:aaaa", "registry", "LLM_CACHE__LOG__LEVEL", "secretRef", "fast",
                     "operators", "the-token", "valkey", "the-password",
                     "50%", "LoadBalancer", "ClientIP", "nginx", "llm-cache.example.com", "proxy-buffering", "10.0.0.0/8",
                     "release", "grafana_folder", "other", "rack", "ssd", "Exists", "preferredDuring", "high", '"team"',
                     "/run/tls", '"cache-headless"'):
            self.assertIn(word, text)


class Operator(unittest.TestCase):
    def test_good(self):
        for name, objects in all_objects():
            with self.subTest(name):
                self.assertEqual(operator_problems(objects), [])

    def test_errors_are_seen(self):
        objects = helm(*cluster.MONITORING)
        for kind, change in (
            ("ServiceMonitor", lambda spec: spec["endpoints"][0].update(scrapeIntervall="15s")),
            ("ServiceMonitor", lambda spec: spec["endpoints"][0].update(interval=15)),
            ("ServiceMonitor", lambda spec: spec["endpoints"][0].update(interval="often")),
            ("ServiceMonitor", lambda spec: spec.pop("selector")),
            ("ServiceMonitor", lambda spec: spec.update(joblabel="a")),
            ("PrometheusRule", lambda spec: spec["groups"][0].pop("name")),
            ("PrometheusRule", lambda spec: spec["groups"][1]["rules"][0].update(annotation={})),
            ("PrometheusRule", lambda spec: spec["groups"][1]["rules"][0].update({"for": 5})),
        ):
            broken = copy.deepcopy(objects)
            change(only(broken, kind)["spec"])
            self.assertEqual(len(operator_problems(broken)), 1, operator_problems(broken))


class Restricted(unittest.TestCase):
    """Pod Security Standards, profile `restricted`, and more."""

    def test_pods(self):
        for name, objects in all_objects():
            with self.subTest(name):
                self.assertEqual(restricted(objects), [])

    def test_errors_are_seen(self):
        def pod(objects):
            return only(objects, "StatefulSet")["spec"]["template"]["spec"]

        for change in (
            lambda pod: pod["securityContext"].pop("runAsNonRoot"),
            lambda pod: pod["securityContext"].pop("seccompProfile"),
            lambda pod: pod["containers"][0]["securityContext"].pop("allowPrivilegeEscalation"),
            lambda pod: pod["containers"][0]["securityContext"]["capabilities"].update(add=["NET_ADMIN"]),
            lambda pod: pod["containers"][0]["securityContext"].update(readOnlyRootFilesystem=False),
            lambda pod: pod["volumes"].append({"name": "a", "hostPath": {"path": "/"}}),
            lambda pod: pod.update(hostNetwork=True),
            lambda pod: pod.update(automountServiceAccountToken=True),
            lambda pod: pod.update(enableServiceLinks=True),
        ):
            objects = helm()
            change(pod(objects))
            self.assertEqual(len(restricted(objects)), 1)


def restricted(objects):
    """What is wrong, in words."""
    pod = workload(objects)["spec"]["template"]["spec"]
    context = pod["securityContext"]
    wrong = []

    def must(good, what):
        if not good:
            wrong.append(what)

    must(context.get("runAsNonRoot") is True and context.get("runAsUser", 0) > 0, "may be root")
    must(context.get("seccompProfile") == {"type": "RuntimeDefault"}, "no seccomp profile")
    must(context.get("fsGroupChangePolicy") == "OnRootMismatch", "goes through the volume at each start")
    must(pod.get("automountServiceAccountToken") is False, "has a token")
    must(pod.get("enableServiceLinks") is False, "has variables of Services")
    must(not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys(), "uses the node's namespaces")
    must(not {"initContainers", "ephemeralContainers"} & pod.keys(), "has containers that nobody looked at")
    kinds = {kind for volume in pod["volumes"] for kind in volume if kind != "name"}
    must(kinds <= {"configMap", "secret", "emptyDir"}, f"volumes {kinds}")
    for each in pod["containers"]:
        context = each["securityContext"]
        must(context.get("allowPrivilegeEscalation") is False, "may gain privileges")
        must(context.get("capabilities") == {"drop": ["ALL"]}, "has capabilities")
        must(context.get("readOnlyRootFilesystem") is True, "may write its root")
        must("privileged" not in context, "is privileged")
        must(not any("hostPort" in port for port in each["ports"]), "uses the node's ports")
    for each in objects:
        if each["kind"] == "ServiceAccount":
            must(each.get("automountServiceAccountToken") is False, "the account has a token")
    return wrong


class Chart(unittest.TestCase):
    def lint(self, chart=cluster.CHART, values=None):
        # 1 is information.
        report = helm_python.lint(chart, values, strict=True, namespace=cluster.NAMESPACE)
        self.assertEqual(report["total_charts_linted"], 1)
        return [each["error"] for each in report["messages"] if each["severity"] > 1]

    def test_helm_lint(self):
        self.assertEqual(self.lint(), [])
        for values in (cluster.REPLICAS, cluster.FLEET):
            self.assertEqual(self.lint(values=cluster.values_of(cluster.MONITORING, [values])), [])

    def test_errors_are_seen(self):
        with tempfile.TemporaryDirectory() as scratch:
            chart = pathlib.Path(scratch) / "llm-cache-server"
            shutil.copytree(cluster.CHART, chart)
            template = chart / "templates/services.yaml"
            template.write_text(template.read_text().replace("spec:", "spec", 1))
            self.assertTrue(self.lint(chart))

    def test_the_package_is_the_same(self):
        with tempfile.TemporaryDirectory() as scratch, helm_python.Chart.load(cluster.CHART) as chart:
            self.assertEqual(
                helm(*cluster.MONITORING, chart=chart.save(scratch)), helm(*cluster.MONITORING), "something was left out"
            )


class Values(unittest.TestCase):
    def test_what_is_refused(self):
        for given, word in (
            ("replcas=2", "replcas"),
            ("image.tags=a", "tags"),
            ("image.tag=", "image"),
            ("image.tag=a b", "tag"),
            ("image.digest=sha256:1", "digest"),
            ("replicas=-1", "replicas"),
            ("replicas=many", "replicas"),
            ("config.server.admin=127.0.0.1:9901", "admin"),
            ("config.server.listen=[\"127.0.0.1:9999\"]", "listen"),
            ("config.server=null", "server"),
            ("config.store.path=/data", "path"),
            ("config.upstreams=[]", "upstreams"),
            ("config.upstreams=[{name: a, url: b, api_key: c}]", "upstreams"),
            ("persistence.accessModes=[ReadWriteMany]", "accessModes"),
            ("persistence.whenDeleted=Maybe", "whenDeleted"),
            ("persistence.size=a lot", "size"),
            ("podDisruptionBudget.maxUnavailable=0", "maxUnavailable"),
            ("service.type=ExternalName", "type"),
            ("monitoring.serviceMonitor.interval=15", "interval"),
            ("monitoring.grafana={}", "grafana"),
            ("extraEnv=[{value: a}]", "extraEnv"),
            ("admin.token=sk-in-the-values", "token"),
            ("admin.tokenKey=a key", "tokenKey"),
            ("shared.password=in-the-values", "password"),
            ("shared.passwordKey=a key", "passwordKey"),
            ("config.shared={nodes: [valkey]}", "nodes"),
            ("objects.secretKey=in-the-values", "secretKey"),
            ("objects.accessKeyName=a name", "accessKeyName"),
            ("config.objects={bucket: a, secret_key: in-the-values}", "objects"),
            ("config.shared={nodes: ['a:1'], password: in-the-values}", "shared"),
            ("config.store.disk=1GiB", "disk"),
            ("nodeSelector.ssd=true", "nodeSelector"),
        ):
            with self.subTest(given), self.assertRaisesRegex(HelmError, f"(?s)don't meet the specifications.*{word}"):
                helm(given)

    def test_what_is_needed(self):
        with self.assertRaisesRegex(HelmError, "serviceAccount.name is needed"):
            helm("serviceAccount.create=false")
        with self.assertRaisesRegex(HelmError, "at least one is needed"):
            helm("ingress.enabled=true")

    def test_every_default_is_known_to_the_schema(self):
        schema = json.loads((cluster.CHART / "values.schema.json").read_text(encoding="utf-8"))
        defaults = cluster.parse((cluster.CHART / "values.yaml").read_text(encoding="utf-8"))
        self.assertEqual(schema["properties"].keys() - {"global"}, defaults.keys())

    def test_a_wish_for_more_replicas_counts_without_the_autoscaler(self):
        self.assertEqual(only(helm("replicas=2"), "StatefulSet")["spec"]["replicas"], 2)
        self.assertNotIn("replicas", only(helm("replicas=2", "autoscaling.enabled=true"), "StatefulSet")["spec"])
        overlay = documents(kustomize(cluster.KUSTOMIZE / "overlays/replicas"))
        self.assertNotIn("replicas", only(overlay, "StatefulSet")["spec"])


if __name__ == "__main__":
    unittest.main()
