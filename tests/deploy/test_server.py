"""What the objects say about the server is what the server, its image and its configuration say."""

import os
import pathlib
import re
import tempfile
import unittest

from helm_python import HelmError

import cluster
from cluster import CHART, KUSTOMIZE, ROOT, helm, only, parse, run, seconds, server_config, size, workload

KEYS = "/run/secrets/llm-cache-server"
# Closing the store: writing what is queued.
CLOSING_SECONDS = 10


def check(text, variables={}):
    """`llm-cache-server check` on a configuration, with some key in the place of each secret."""
    with tempfile.TemporaryDirectory() as scratch:
        key = pathlib.Path(scratch) / "key"
        key.write_text("sk-test")
        file = pathlib.Path(scratch) / "config.yaml"
        file.write_text(re.sub(rf"{KEYS}/[\w.-]+", str(key), text), encoding="utf-8")
        env = {"PATH": os.environ["PATH"], "OPENAI_API_KEY": "sk-test", **variables}
        return run([cluster.SERVER, "check", "--config", file], cwd=scratch, env=env)


def container(objects):
    (one,) = workload(objects)["spec"]["template"]["spec"]["containers"]
    return one


class Configurations(unittest.TestCase):
    def test_every_file_is_good(self):
        files = [*sorted((ROOT / "conf").glob("*.yaml")), *sorted(KUSTOMIZE.rglob("llm-cache-server.yaml"))]
        self.assertGreaterEqual(len(files), 4)
        for file in files:
            with self.subTest(file.name):
                check(file.read_text(encoding="utf-8"))

    def test_every_configmap_is_good(self):
        for name, *both in cluster.pairs():
            for objects in both:
                with self.subTest(name):
                    check(server_config(objects))

    def test_the_variables_of_the_token_are_the_servers(self):
        for objects in [helm(cluster.TOKEN), helm(cluster.TOKEN, "extraEnv=[{name: A, value: b}]")]:
            env = {each["name"]: each.get("value", "a token of a Secret") for each in container(objects)["env"]}
            check(server_config(objects), env)
            named = env["LLM_CACHE__SERVER__ADMIN_TOKEN_ENV"]
            with self.assertRaisesRegex(RuntimeError, f"{named} is unset"):
                check(server_config(objects), {**env, named: ""})
        self.assertNotIn("env", container(helm()))

    def test_the_variables_of_the_password_are_the_servers(self):
        for name, *both in cluster.pairs():
            for objects in both if "fleet" in name else []:
                env = {each["name"]: each.get("value", "what a Secret holds") for each in container(objects)["env"]}
                check(server_config(objects), env)
                named = env["LLM_CACHE__SHARED__PASSWORD_ENV"]
                with self.assertRaisesRegex(RuntimeError, f"{named} is unset"):
                    check(server_config(objects), {**env, named: ""})

    def test_the_variables_of_the_bucket_are_the_servers(self):
        for name, *both in cluster.pairs():
            for objects in both if "bucket" in name else []:
                env = {each["name"]: each.get("value", "what a Secret holds") for each in container(objects)["env"]}
                env["LLM_CACHE__OBJECTS__BUCKET"] = "a-bucket"
                check(server_config(objects), env)
                for kind in ("ACCESS", "SECRET"):
                    named = env[f"LLM_CACHE__OBJECTS__{kind}_KEY_ENV"]
                    with self.assertRaisesRegex(RuntimeError, f"{named} is unset"):
                        check(server_config(objects), {**env, named: ""})

    def test_a_bad_one_is_refused(self):
        for bad in ("config.store.memory=1GiB", "config.shared={nodes: ['a:0']}", "config.cache.ttl=forever", "config.server.threads=-1"):
            with self.subTest(bad), self.assertRaisesRegex(RuntimeError, "config.yaml:"):
                check(server_config(helm(bad)))

    def test_what_stands_there_as_a_comment_is_good(self):
        text = (KUSTOMIZE / "base/llm-cache-server.yaml").read_text(encoding="utf-8")
        text, count = re.subn(r"^( +)# (?=\w+: )", r"\1", text, flags=re.MULTILINE)
        self.assertEqual(count, 2)
        self.assertEqual(text.count(f"\n    api_key_file: {KEYS}/"), 2)
        check(text)

    def test_words_that_yaml_reads_as_truth_survive_helm(self):
        text = server_config(helm("config.cache.default=off", "config.limits.fills_max=1000000"))
        self.assertIn("default: false", text)
        check(text)


class Sums(unittest.TestCase):
    def each(self):
        for name, *both in cluster.pairs():
            for how, objects in zip(("by kustomize", "by the chart"), both):
                yield f"{name}, {how}", objects, parse(server_config(objects))

    def test_grace(self):
        for name, objects, config in self.each():
            with self.subTest(name):
                least = (
                    container(objects)["lifecycle"]["preStop"]["sleep"]["seconds"]
                    + seconds(config["server"]["shutdown_deadline"])
                    + CLOSING_SECONDS
                )
                grace = workload(objects)["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
                self.assertGreaterEqual(grace, least)
                self.assertLess(grace, least + 15, "what is longer than needed holds up every update")

    def test_the_chart_refuses_too_short_a_grace(self):
        for sets in (
            ["config.server.shutdown_deadline=31s"],
            ["config.server.shutdown_deadline=1m"],
            ["config.server.shutdown_deadline=30s 1ms"],
            ["preStopSeconds=11"],
            ["terminationGracePeriodSeconds=39"],
        ):
            with self.subTest(sets), self.assertRaisesRegex(HelmError, "terminationGracePeriodSeconds must be at least"):
                helm(*sets)
        with self.assertRaisesRegex(HelmError, "write soon like 25s"):
            helm("config.server.shutdown_deadline=soon")
        for sets in (
            ["config.server.shutdown_deadline=30s"],
            ["config.server.shutdown_deadline=1m 30s", "terminationGracePeriodSeconds=105"],
            # Removed, it is the server's default.
            ["config.server.shutdown_deadline=null", "terminationGracePeriodSeconds=40"],
        ):
            with self.subTest(sets):
                only(helm(*sets), "StatefulSet")

    def test_memory(self):
        for name, objects, config in self.each():
            with self.subTest(name):
                resources = container(objects)["resources"]
                least = 2 * size(config["store"]["memory_bytes_max"]) + 2**30
                self.assertGreaterEqual(size(resources["requests"]["memory"]), least)
                self.assertGreater(size(resources["limits"]["memory"]), size(resources["requests"]["memory"]))
                self.assertNotIn("cpu", resources["limits"])

    def test_disk(self):
        for name, objects, config in self.each():
            with self.subTest(name):
                if "fleet" in name:
                    self.assertNotIn("volumeClaimTemplates", workload(objects)["spec"])
                    self.assertEqual(config["store"].keys(), {"disk", "memory_bytes_max"})
                    continue
                (claim,) = workload(objects)["spec"]["volumeClaimTemplates"]
                storage = size(claim["spec"]["resources"]["requests"]["storage"])
                self.assertGreaterEqual(storage, size(config["store"]["disk_bytes_max"]) * 5 // 4)


class Fleet(unittest.TestCase):
    """Servers without a disk: nothing can be written, and the servers they share can be reached."""

    def each(self):
        for name, *both in cluster.pairs():
            for objects in both if "fleet" in name else []:
                yield objects, parse(server_config(objects))

    def test_there_is_nothing_to_write_to(self):
        for objects, config in self.each():
            self.assertEqual((workload(objects)["kind"], config["store"]["disk"]), ("Deployment", False))
            volumes = workload(objects)["spec"]["template"]["spec"]["volumes"]
            self.assertEqual([each["name"] for each in volumes], ["config", "provider-keys"])
            self.assertTrue(all(each["readOnly"] for each in container(objects)["volumeMounts"]))

    def test_the_shared_servers_can_be_reached(self):
        for objects, config in self.each():
            rules = only(objects, "NetworkPolicy")["spec"]["egress"]
            for node in config["shared"]["nodes"]:
                host, port = node.rsplit(":", 1)
                namespace = {"matchLabels": {"kubernetes.io/metadata.name": host.split(".")[1]}}
                fitting = [
                    rule for rule in rules
                    if {"namespaceSelector": namespace} in rule.get("to", []) and rule["ports"][0]["port"] == int(port)
                ]
                self.assertEqual(len(fitting), 1, node)

    def test_the_rest_is_as_in_the_base(self):
        base = parse((KUSTOMIZE / "base/llm-cache-server.yaml").read_text(encoding="utf-8"))
        for _, config in self.each():
            for section in base.keys() - {"store"}:
                self.assertEqual(config[section], base[section], section)
            self.assertEqual(config["store"]["memory_bytes_max"], base["store"]["memory_bytes_max"])

    def test_the_chart_goes_by_the_disk(self):
        for disk, kind in (("off", "Deployment"), ("'off'", "Deployment"), ("'false'", "Deployment"), ("on", "StatefulSet")):
            objects = helm(f"config.store.disk={disk}", "persistence.enabled=false")
            self.assertEqual(workload(objects)["kind"], kind)
            check(server_config(objects))
        self.assertEqual(workload(helm("config.store=null"))["kind"], "StatefulSet")


class Image(unittest.TestCase):
    """Ports, paths and user are those of the Dockerfile."""

    def setUp(self):
        self.dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
        self.objects = helm()
        self.pod = only(self.objects, "StatefulSet")["spec"]["template"]["spec"]
        self.config = parse(server_config(self.objects))

    def said(self, word):
        return re.findall(rf"^{word} (.+)$", self.dockerfile, re.MULTILINE)[-1]

    def test_user(self):
        context = self.pod["securityContext"]
        self.assertEqual(self.said("USER"), f"{context['runAsUser']}:{context['runAsGroup']}")
        self.assertEqual(context["fsGroup"], context["runAsGroup"])

    def test_paths(self):
        mounts = {each["name"]: each["mountPath"] for each in container(self.objects)["volumeMounts"]}
        self.assertEqual(mounts["data"], self.said("VOLUME"))
        self.assertEqual(mounts["data"], self.config["store"]["path"])
        file = f"{mounts['config']}/{cluster.CONFIG}"
        self.assertIn(f" {file}\n", self.dockerfile)
        self.assertEqual(container(self.objects)["args"], ["run", "--config", file])
        self.assertEqual(mounts["provider-keys"], KEYS)

    def test_ports(self):
        ports = {each["name"]: each["containerPort"] for each in container(self.objects)["ports"]}
        self.assertEqual(self.said("EXPOSE"), f"{ports['http']} {ports['admin']}")
        self.assertEqual(self.config["server"]["listen"], [f"0.0.0.0:{ports['http']}"])
        self.assertEqual(self.config["server"]["admin"], f"0.0.0.0:{ports['admin']}")
        rules = only(self.objects, "NetworkPolicy")["spec"]["ingress"]
        self.assertEqual([rule["ports"][0]["port"] for rule in rules], [ports["http"], ports["admin"]])
        for name in ("llm-cache-server", "llm-cache-server-headless"):
            for port in only(self.objects, "Service", name)["spec"]["ports"]:
                self.assertEqual(port["targetPort"], port["name"])
                self.assertEqual(port["port"], ports[port["name"]])

    def test_probes(self):
        paths = {}
        for kind in ("startup", "liveness", "readiness"):
            request = container(self.objects)[f"{kind}Probe"]["httpGet"]
            self.assertEqual(request["port"], "admin")
            paths[kind] = request["path"]
        self.assertEqual(paths, {"startup": "/livez", "liveness": "/livez", "readiness": "/readyz"})

    def test_one_placeholder(self):
        image = f"ghcr.io/so2liu/llm-cache-server:{parse((CHART / 'values.yaml').read_text())['image']['tag']}"
        self.assertRegex(image, r":sha-0{7}$")
        for name, *both in cluster.pairs():
            for objects in both:
                self.assertEqual(container(objects)["image"], image, name)


class Selectors(unittest.TestCase):
    """Everything that selects, selects the pods; no Service is scraped twice."""

    def test_pods(self):
        for _, *both in cluster.pairs():
            for objects in both:
                spec = workload(objects)["spec"]
                labels = spec["template"]["metadata"]["labels"].items()
                selectors = [spec["selector"]["matchLabels"]]
                selectors += [each["labelSelector"]["matchLabels"] for each in spec["template"]["spec"]["topologySpreadConstraints"]]
                selectors += [each["spec"]["selector"] for each in objects if each["kind"] == "Service"]
                selectors += [each["spec"]["podSelector"]["matchLabels"] for each in objects if each["kind"] == "NetworkPolicy"]
                selectors += [each["spec"]["selector"]["matchLabels"] for each in objects if each["kind"] == "PodDisruptionBudget"]
                self.assertGreaterEqual(len(selectors), 6)
                for selector in selectors:
                    self.assertTrue(selector and selector.items() <= labels, selector)
                if "serviceName" in spec:
                    governing = only(objects, "Service", spec["serviceName"])["spec"]
                    self.assertEqual(governing["clusterIP"], "None", "the governing Service")

    def test_metrics(self):
        for name, *both in cluster.pairs():
            for objects in both if "monitoring" in name else []:
                spec = only(objects, "ServiceMonitor")["spec"]
                wanted = spec["selector"]["matchLabels"].items()
                services = [
                    each
                    for each in objects
                    if each["kind"] == "Service" and wanted <= each["metadata"]["labels"].items()
                ]
                self.assertEqual([each["metadata"]["name"] for each in services], ["llm-cache-server-headless"])
                self.assertIn(spec["endpoints"][0]["port"], [port["name"] for port in services[0]["spec"]["ports"]])

    def test_another_release(self):
        for values in (cluster.REPLICAS, cluster.FLEET):
            objects = helm(*cluster.MONITORING, release="team-a", values=[values])
            for each in objects:
                self.assertTrue(each["metadata"]["name"].startswith("team-a"), each["metadata"]["name"])
                self.assertEqual(each["metadata"]["labels"]["app.kubernetes.io/instance"], "team-a")
            scale = only(objects, "HorizontalPodAutoscaler", "team-a-llm-cache-server")["spec"]["scaleTargetRef"]
            scaled = workload(objects)
            self.assertEqual((scale["kind"], scale["name"]), (scaled["kind"], scaled["metadata"]["name"]))


if __name__ == "__main__":
    unittest.main()
