"""Runs the scripts inside release.yaml, and those beside it, with stand-ins for docker, cosign and gh."""

import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tarfile
import tempfile
import unittest

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import image_tags  # noqa: E402
from workflow_expressions import interpolate, text_of  # noqa: E402

JOBS = yaml.safe_load(image_tags.WORKFLOW.read_text(encoding="utf-8"))["jobs"]
DIGEST = "sha256:" + "d" * 64
IMAGE = "ghcr.io/so2liu/llm-cache-server"
# Each writes its arguments to a log, one call a line, and prints what the rest of the script needs.
STAND_INS = {
    "docker": """
case "$*" in
*"imagetools inspect"*) echo '{"mediaType": "x", "digest": "%s"}' ;;
run*--detach*) echo CONTAINER ;;
exec*) [ "${NEVER_READY:-}" != 1 ] ;;
inspect*ExitCode*) echo "${EXIT_CODE:-0}" ;;
esac
""" % DIGEST,
    "cosign": "",
    "cargo": """echo '{"packages": [{"name": "other", "version": "9.9.9"}, {"name": "llm-cache-server", "version": "1.2.3"}]}'""",
    "git": "echo 2026-01-02T03:04:05+08:00",
    "gh": """
case "$*" in
*matching-refs/heads*) echo "$GITHUB_SHA refs/heads/main" ;;
*matching-refs/tags/v*) printf '%s refs/tags/%s\\n' 1111 v1.2.2 2222 v1.2.3 3333 v1.3.0 ;;
esac
""",
}


class Steps(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.temp = pathlib.Path(temporary.name)
        (self.temp / "bin").mkdir()
        for name, script in STAND_INS.items():
            path = self.temp / "bin" / name
            path.write_text(f'#!/usr/bin/env bash\nset -e\necho "{name} $*" >>"$LOG"\n{script}\n', encoding="utf-8")
            path.chmod(0o755)
        for name in ("log", "output", "summary"):
            (self.temp / name).touch()

    def environment(self, ref, **more):
        github = image_tags.context_of(ref, [])["github"]
        return {
            "PATH": f"{self.temp / 'bin'}:/usr/local/bin:/usr/bin:/bin",
            "LOG": str(self.temp / "log"),
            "RUNNER_TEMP": str(self.temp),
            "GITHUB_OUTPUT": str(self.temp / "output"),
            "GITHUB_STEP_SUMMARY": str(self.temp / "summary"),
            "GITHUB_REPOSITORY": "So2Liu/llm-cache-server",
            **{f"GITHUB_{key.upper()}": github[key] for key in ("ref", "ref_name", "ref_type", "sha", "run_number")},
            **more,
        }

    def run_step(self, job, name, ref, code=0, **more):
        """Runs one step as the runner does; returns what it logged and the outputs it set."""
        for file in ("log", "output"):
            (self.temp / file).write_text("", encoding="utf-8")
        step = next(step for step in JOBS[job]["steps"] if step.get("name") == name)
        context = image_tags.context_of(ref, [])
        known = {"IMAGE": IMAGE, "BUILD": "build-123", "DIGEST": DIGEST, "VERSION": "1.2.3", **more}
        names = {**JOBS[job].get("env", {}), **step.get("env", {})}
        for key, value in names.items():
            known.setdefault(key, interpolate(text_of(value), context))
        result = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            cwd=ROOT,
            env=self.environment(ref, **{key: known[key] for key in names}),
            capture_output=True,
            text=True,
        )
        self.assertEqual(result.returncode, code, result.stdout + result.stderr)
        lines = (self.temp / "output").read_text(encoding="utf-8").splitlines()
        return (self.temp / "log").read_text(encoding="utf-8").splitlines(), dict(line.split("=", 1) for line in lines)

    def test_plan(self):
        plan = ("plan", "Name, version and time of the image")
        created = "2026-01-02T03:04:05+08:00"
        outputs = self.run_step(*plan, "refs/heads/main")[1]
        self.assertEqual(outputs, {"image": IMAGE, "version": "build-123", "created": created})
        outputs = self.run_step(*plan, "refs/tags/v1.2.3")[1]
        self.assertEqual(outputs, {"image": IMAGE, "version": "1.2.3", "created": created})
        # Cargo.toml says otherwise.
        self.run_step(*plan, "refs/tags/v1.2.4", code=1)

    def test_newest(self):
        step = ("publish", "Which moving tags are this run's to move")
        self.assertEqual(self.run_step(*step, "refs/heads/main")[1], {"branch": "true", "minor": "false", "major": "false"})
        self.assertEqual(self.run_step(*step, "refs/tags/v1.2.3")[1], {"branch": "false", "minor": "true", "major": "false"})
        self.assertEqual(self.run_step(*step, "refs/tags/v1.2.2")[1], {"branch": "false", "minor": "false", "major": "false"})

    def test_the_manifest_has_both_architectures(self):
        metadata = json.dumps({"annotations": ["index:a=with blanks", "index:b="]})
        (self.temp / "digests").mkdir()
        (self.temp / "digests" / ("a" * 64)).touch()
        log, _ = self.run_step("publish", "Make the manifest", "refs/heads/main", code=1, METADATA=metadata)
        self.assertEqual(log, [], "one architecture is not enough")
        (self.temp / "digests" / ("b" * 64)).touch()
        log, outputs = self.run_step("publish", "Make the manifest", "refs/heads/main", METADATA=metadata)
        self.assertEqual(outputs, {"digest": DIGEST})
        self.assertEqual(
            log[0],
            f"docker buildx imagetools create --tag {IMAGE}:build-123 --annotation=index:a=with blanks --annotation=index:b= "
            f"{IMAGE}@sha256:{'a' * 64} {IMAGE}@sha256:{'b' * 64}",
        )

    def test_tags_follow_the_signature(self):
        names = [step.get("name") for step in JOBS["publish"]["steps"]]
        self.assertLess(names.index("Make the manifest"), names.index("Sign it"))
        self.assertLess(names.index("Sign it"), names.index("Give it its tags"))
        self.assertEqual(self.run_step("publish", "Sign it", "refs/heads/main")[0], [f"cosign sign --yes {IMAGE}:build-123@{DIGEST}"])
        metadata = json.dumps({"tags": [f"{IMAGE}:build-123", f"{IMAGE}:latest"]})
        log, _ = self.run_step("publish", "Give it its tags", "refs/heads/main", METADATA=metadata)
        self.assertEqual(log, [f"docker buildx imagetools create --tag={IMAGE}:build-123 --tag={IMAGE}:latest {IMAGE}@{DIGEST}"])
        self.assertIn(f"- {IMAGE}:latest", (self.temp / "summary").read_text(encoding="utf-8"))
        log, _ = self.run_step("publish", "Give it its tags", "refs/heads/main", code=1, METADATA='{"tags": []}')
        self.assertEqual(log, [])

    def test_release(self):
        (self.temp / "release").mkdir()
        (self.temp / "release" / "SHA256SUMS").touch()
        text = "\n".join(self.run_step("release", "Create the release", "refs/tags/v1.2.3")[0])
        self.assertTrue(text.startswith("gh release create v1.2.3 --verify-tag --title v1.2.3 --notes"), text)
        self.assertIn(f"docker pull {IMAGE}:1.2.3", text)
        self.assertTrue(text.endswith(f"--generate-notes {self.temp}/release/SHA256SUMS"), text)
        text = "\n".join(self.run_step("release", "Create the release", "refs/tags/v1.2.3-rc.1", VERSION="1.2.3-rc.1")[0])
        self.assertIn("--generate-notes --prerelease", text)

    def test_archive(self):
        binary = self.temp / "binary"
        binary.write_bytes(b"not really a program")
        sums = set()
        for directory, umask in (("one", 0o022), ("two", 0o077)):
            command = ["scripts/release_archive.sh", "1.2.3", "arm64", binary, self.temp / directory]
            # Not the stand-in: the script asks the real git for the time of the commit.
            subprocess.run(command, cwd=ROOT, check=True, capture_output=True, umask=umask, env={"PATH": os.environ["PATH"]})
            archive = self.temp / directory / "llm-cache-server-1.2.3-linux-arm64.tar.gz"
            sums.add(hashlib.sha256(archive.read_bytes()).hexdigest())
            with tarfile.open(archive) as tar:
                files = {member.name.partition("/")[2]: member for member in tar if member.isfile()}
            self.assertEqual(set(files), {"llm-cache-server", "LICENSE", "README.md", "CHANGELOG.md", "conf/llm-cache-server.yaml"})
            self.assertEqual(files["llm-cache-server"].mode, 0o755)
            self.assertEqual({member.uid for member in files.values()}, {0})
        self.assertEqual(len(sums), 1, "the same files give the same archive")

    def test_smoke(self):
        def smoke(patience="60", **more):
            command = ["scripts/smoke_image.sh", "image:tag", patience]
            result = subprocess.run(command, cwd=ROOT, env=self.environment("refs/heads/main", **more), capture_output=True, text=True)
            self.assertIn("docker rm --force CONTAINER", (self.temp / "log").read_text(encoding="utf-8"))
            return result.returncode, result.stdout + result.stderr

        self.assertEqual(smoke()[0], 0)
        code, text = smoke("0", NEVER_READY="1")
        self.assertEqual(code, 1)
        self.assertIn("not ready within 0 s", text)
        code, text = smoke(EXIT_CODE="137")
        self.assertEqual(code, 1)
        self.assertIn("ended with 137", text)


if __name__ == "__main__":
    unittest.main()
