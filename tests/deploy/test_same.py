"""kustomize and the chart make the same objects, and the comparison sees every difference there can be."""

import re
import shutil
import tempfile
import unittest
import pathlib

import cluster
import copies
from cluster import CHART, KUSTOMIZE, differences, documents, helm, kustomize, normal, notes, only

# What normal() takes out on purpose.
IGNORED = ("/metadata/labels/helm.sh~chart", "/metadata/labels/app.kubernetes.io~managed-by", "/checksum~config")


def found(one, other):
    return list(differences(normal(one), normal(other)))


def leaves(value, path=""):
    """(path, parent, key) of everything in a value that is no map or list, or an empty one."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, child in items:
        below = f"{path}/{str(key).replace('/', '~')}"
        if isinstance(child, (dict, list)) and child:
            yield from leaves(child, below)
        else:
            yield below, value, key


class Same(unittest.TestCase):
    def test_the_same_objects(self):
        for name, one, other in cluster.pairs():
            with self.subTest(name):
                self.assertEqual(found(one, other), [])

    def test_which_objects_there_are(self):
        always = {
            "ConfigMap/llm-cache-server-config",
            "NetworkPolicy/llm-cache-server",
            "Service/llm-cache-server",
            "Service/llm-cache-server-headless",
            "ServiceAccount/llm-cache-server",
            "StatefulSet/llm-cache-server",
        }
        stateless = always - {"StatefulSet/llm-cache-server"} | {"Deployment/llm-cache-server"}
        several = {"PodDisruptionBudget/llm-cache-server", "HorizontalPodAutoscaler/llm-cache-server"}
        seen = {
            "ServiceMonitor/llm-cache-server",
            "PrometheusRule/llm-cache-server",
            "ConfigMap/llm-cache-server-dashboard",
        }
        expected = {
            "single": always,
            "replicas": always | several,
            "single with monitoring": always | seen,
            "replicas with monitoring": always | several | seen,
            "single with a token": always,
            "fleet": stateless | several,
            "fleet with monitoring": stateless | several | seen,
            "fleet with a token": stateless | several,
            "fleet with a bucket": stateless | several,
        }
        built = {name: set(normal(one)) for name, one, _ in cluster.pairs()}
        self.assertEqual(built, expected)

    def test_every_field_that_differs_is_seen(self):
        for overlay, values in (("replicas", cluster.REPLICAS), ("fleet", cluster.FLEET)):
            with self.subTest(overlay):
                self.every_field_that_differs_is_seen(overlay, values)

    def every_field_that_differs_is_seen(self, overlay, values):
        ours = documents(kustomize(pathlib.Path(__file__).parent / "overlays" / overlay))
        theirs = helm(*cluster.MONITORING, values=[values])
        # Dashboard and alerts are long; whether they are fresh has a test of its own.
        for objects in (ours, theirs):
            only(objects, "PrometheusRule")["spec"]["groups"][1:] = []
            only(objects, "ConfigMap", "llm-cache-server-dashboard")["data"] = {"a.json": '{"b": 1}'}
        self.assertEqual(found(ours, theirs), [])
        count = 0
        for path, parent, key in list(leaves(theirs)):
            if path.endswith(IGNORED):
                continue
            kept = parent[key]
            # What is in a file has to be readable.
            parent[key] = "{}" if key in ("llm-cache-server.yaml", "a.json") else "other"
            self.assertTrue(found(ours, theirs), f"{path}: a change was not seen")
            parent[key] = kept
            if isinstance(parent, dict) and key not in ("kind", "name"):
                order = list(parent.items())
                del parent[key]
                self.assertTrue(found(ours, theirs), f"{path}: that it is gone was not seen")
                parent.clear()
                parent.update(order)
            count += 1
        self.assertGreater(count, 200)
        self.assertEqual(found(ours, theirs), [])

    def test_a_change_of_the_configuration_is_seen(self):
        ours = documents(kustomize(KUSTOMIZE / "overlays/single"))
        theirs = helm("config.store.disk_bytes_max=21GiB")
        self.assertEqual(
            found(ours, theirs),
            ["/ConfigMap/llm-cache-server-config/data/llm-cache-server.yaml/store/disk_bytes_max: '20GiB' and '21GiB'"],
        )

    def test_a_change_of_a_template_is_seen(self):
        with tempfile.TemporaryDirectory() as scratch:
            chart = pathlib.Path(scratch) / "chart"
            shutil.copytree(CHART, chart)
            template = chart / "templates/networkpolicy.yaml"
            template.write_text(template.read_text().replace("port: 9901", "port: 9902"))
            ours = documents(kustomize(KUSTOMIZE / "overlays/single"))
            expected = ["/NetworkPolicy/llm-cache-server/spec/ingress/1/ports/0/port: 9901 and 9902"]
            self.assertEqual(found(ours, helm(chart=chart)), expected)

    def test_a_reference_that_was_not_renamed_is_seen(self):
        ours = documents(kustomize(KUSTOMIZE / "overlays/single"))
        volume = only(ours, "StatefulSet")["spec"]["template"]["spec"]["volumes"][0]
        self.assertRegex(volume["configMap"]["name"], r"^llm-cache-server-config-[0-9a-z]{10}$")
        volume["configMap"]["name"] = "llm-cache-server-config-0000000000"
        self.assertTrue(found(ours, helm()))


class Rolls(unittest.TestCase):
    """A new configuration makes new pods."""

    def test_by_kustomize(self):
        before = only(documents(kustomize(KUSTOMIZE / "overlays/single")), "StatefulSet")
        with tempfile.TemporaryDirectory() as scratch:
            copied = pathlib.Path(scratch) / "kustomize"
            shutil.copytree(KUSTOMIZE, copied)
            with open(copied / "base/llm-cache-server.yaml", "a", encoding="utf-8") as file:
                file.write("  level: debug\n")
            objects = documents(kustomize(copied / "overlays/single"))
        after = only(objects, "StatefulSet")
        name = only(objects, "ConfigMap")["metadata"]["name"]
        paths = list(differences(before, after))
        self.assertEqual(len(paths), 1, paths)
        self.assertIn("/spec/template/spec/volumes/0/configMap/name", paths[0])
        self.assertIn(name, paths[0])

    def test_by_helm(self):
        before, after = only(helm(), "StatefulSet"), only(helm("config.log.level=debug"), "StatefulSet")
        paths = list(differences(before, after))
        self.assertEqual(len(paths), 1, paths)
        self.assertIn("/spec/template/metadata/annotations/checksum/config", paths[0])


class Copies(unittest.TestCase):
    def test_they_are_fresh(self):
        self.assertEqual(copies.stale(), [], "run scripts/check_deploy.sh --write")

    def test_a_stale_or_missing_one_is_seen(self):
        names = [path.relative_to(copies.ROOT) for path in copies.copies()]
        with tempfile.TemporaryDirectory() as scratch:
            root = pathlib.Path(scratch)
            shutil.copytree(cluster.DEPLOY, root / "deploy")
            for path, content in copies.copies(root).items():
                path.write_text(content, encoding="utf-8")
            self.assertEqual(copies.stale(root), [])
            for name in names:
                kept = (root / name).read_text()
                (root / name).write_text(kept + " ")
                self.assertEqual(copies.stale(root), [root / name])
                (root / name).unlink()
                self.assertEqual(copies.stale(root), [root / name])
                (root / name).write_text(kept)
            source = root / "deploy/monitoring/alerts.yaml"
            source.write_text(source.read_text().replace("severity: page", "severity: none", 1))
            self.assertEqual(len(copies.stale(root)), 2)

    def test_the_objects_hold_what_deploy_monitoring_has(self):
        alerts = cluster.parse((cluster.DEPLOY / "monitoring/alerts.yaml").read_text(encoding="utf-8"))
        dashboard = (cluster.DEPLOY / "monitoring/dashboard.json").read_text(encoding="utf-8")
        for name, *both in cluster.pairs():
            for objects in both if "monitoring" in name else []:
                self.assertEqual(only(objects, "PrometheusRule")["spec"], alerts)
                held = only(objects, "ConfigMap", "llm-cache-server-dashboard")
                self.assertEqual(held["data"], {"llm-cache-server.json": dashboard})
                self.assertEqual(held["metadata"]["labels"]["grafana_dashboard"], "1")


class Versions(unittest.TestCase):
    def test_the_chart_is_for_this_server(self):
        cargo = (cluster.ROOT / "Cargo.toml").read_text(encoding="utf-8")
        version = re.search(r'^version = "(.+)"', cargo, re.MULTILINE)[1]
        chart = cluster.parse((CHART / "Chart.yaml").read_text(encoding="utf-8"))
        self.assertEqual(str(chart["appVersion"]), version)

    def test_the_notes(self):
        self.assertIn("WARNING: image.tag", notes())
        text = notes("image.tag=sha-1234567", "persistence.enabled=false", values=[cluster.REPLICAS])
        self.assertNotIn("WARNING", text)
        self.assertIn("http://llm-cache-server.llm-cache.svc:9999/v1", text)
        self.assertIn("cache of its own", text)
        self.assertIn("emptyDir", text)
        text = notes(values=[cluster.FLEET])
        self.assertNotIn("cache of its own", text)
        self.assertIn("in memory and by valkey.valkey.svc:6379", text)


if __name__ == "__main__":
    unittest.main()
