"""scripts/image_tags.py notices every rule of the workflow that is broken."""

import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import image_tags  # noqa: E402
from workflow_expressions import evaluate, interpolate  # noqa: E402

TEXT = image_tags.WORKFLOW.read_text(encoding="utf-8")

# What is replaced, by what, and a part of the complaint that has to follow.
BROKEN = [
    # Tags
    ("flavor: latest=false", "flavor: latest=auto", "tag v1.2.3: gets"),
    ("type=semver,pattern={{version}}\n", "\n", "tag v1.2.3: gets"),
    ("type=semver,pattern={{version}}\n", "type=ref,event=tag\n", "tag v1.2.3: gets"),
    ("pattern={{major}}.{{minor}},enable=${{ steps.newest.outputs.minor == 'true' }}", "pattern={{major}}.{{minor}}", "tag v1.2.3 after v1.2.10: gets"),
    ("{{major}},enable=${{ steps.newest.outputs.major == 'true' && ", "{{major}},enable=${{ ", "tag v1.2.3 after v1.10.0: gets"),
    (" && !startsWith(github.ref, 'refs/tags/v0.')", "", "tag v0.4.0: gets ['0.4.0', '0.4', '0',"),
    ("type=raw,value=build-${{ github.run_number }},priority=650\n", "\n", "push to main: gets"),
    ("build-${{ github.run_number }},priority", "build-${{ github.run_id }},priority", "push to main: gets"),
    (",priority=650", "", "push to main: has version main"),
    ("type=ref,event=branch,enable=${{ steps.newest.outputs.branch == 'true' }}", "type=ref,event=branch", "push to main, overtaken: gets"),
    ("value=latest,enable=${{ steps.newest.outputs.branch == 'true' && ", "value=latest,enable=${{ ", "push to main, overtaken: gets"),
    ("value=latest,enable=${{ steps.newest.outputs.branch == 'true' && github.ref == 'refs/heads/main' }}", "value=latest", "tag v1.2.3: gets"),
    ("            type=sha\n", "            type=sha,format=long\n", "is not understood"),
    ("            type=sha\n", "\n", "push to main: gets"),
    ("type=ref,event=branch,", "type=edge,", "is not understood"),
    # Triggers
    ("branches: [main]\n    tags", "branches: [main, topic]\n    tags", "push to another branch: runs"),
    ('tags: ["v[0-9]+.[0-9]+.[0-9]+", ', "tags: [", "tag v1.2.3: does not run"),
    (', "v[0-9]+.[0-9]+.[0-9]+-*"]', "]", "tag v1.2.3-rc.1: does not run"),
    ('"v[0-9]+.[0-9]+.[0-9]+-*"', '"**"', "tag nightly: runs"),
    ("  pull_request:\n    branches: [main]\n", "", "pull request: does not run"),
    ("  pull_request:\n", "  pull_request_target:\n", "started by pull_request_target"),
    # A pull request pushes nothing
    ("push: false", "push: true", "pull request: a step of job pull-request builds with push"),
    ("load: true", "outputs: type=image,push=true", "pull request: a step of job pull-request builds with push"),
    ("run: scripts/smoke_image.sh llm-cache-server:pull-request", "run: docker image push ghcr.io/x/y", "a command that pushes"),
    ("contents: read # to check out\n    strategy", "packages: write\n    strategy", "job pull-request has permissions"),
    ("permissions:\n      contents: read # to check out\n    strategy", "permissions: write-all\n    strategy", "has permissions write-all"),
    ("VERSION=pr-", "TOKEN=${{ github.token }}", "job pull-request uses a secret"),
    ("    if: github.event_name == 'push'\n", "", "pull request: a step of job build logs in"),
    ("    if: github.event_name == 'pull_request'\n", "", "push to main: builds"),
    # How it is built
    ("arch: arm64, runner: ubuntu-24.04-arm}\n    runs-on: ${{ matrix.runner }}\n    timeout-minutes: 90\n    steps", "arch: arm64, runner: ubuntu-24.04}\n    runs-on: ${{ matrix.runner }}\n    timeout-minutes: 90\n    steps", "pull request: builds"),
    ("push-by-digest=true", "push-by-digest=false", "push to main: amd64 is not pushed by digest"),
    ("no-cache: ${{ github.ref_type == 'tag' }}", "no-cache: false", "tag v1.2.3: amd64 of a release is built with the cache"),
    ("${{ github.ref_type == 'branch' && format('type=gha,scope=image-{0}', matrix.arch) || '' }}", "type=gha", "tag v1.2.3: amd64 of a release is built with the cache"),
]


def complaints(text):
    try:
        return "\n".join(f"{name}: {each}" for name, _, wrong in image_tags.report(text) for each in wrong)
    except ValueError as error:
        return str(error)


def check(text):
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory, "release.yaml")
        path.write_text(text, encoding="utf-8")
        command = [sys.executable, "-B", ROOT / "scripts/image_tags.py", "--check", "--workflow", path]
        return subprocess.run(command, capture_output=True, text=True)


class ImageTags(unittest.TestCase):
    def test_the_workflow_is_as_promised(self):
        result = check(TEXT)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertIn("tag v1.2.3                     1.2.3 1.2 1 build-123 sha-abc1234", result.stdout)

    def test_every_broken_rule_is_noticed(self):
        for old, new, complaint in BROKEN:
            with self.subTest(old=old, new=new):
                self.assertIn(old, TEXT)
                self.assertIn(complaint, complaints(TEXT.replace(old, new)))
        # The process says so, too; once is enough.
        result = check(TEXT.replace(old, new))
        self.assertEqual(result.returncode, 1)
        self.assertIn(complaint, result.stderr)

    def test_the_guides_say_the_same(self):
        expected = {case[0]: set(case[3] or []) for case in image_tags.CASES}
        for guide in ("releasing.md", "releasing.zh.md"):
            text = (ROOT / "docs" / guide).read_text(encoding="utf-8")
            rows = [line.split("|")[1:3] for line in text.split("\n## ")[1].splitlines() if line.startswith("| ")]
            told = {}
            for push, tags in rows[1:]:
                name = "push to main" if "`main`" in push else f"tag {''.join(re.findall('`(.+?)`', push))}"
                if "ull " in push.lower():
                    name = "pull request"
                told[name] = set(re.findall("`(.+?)`", re.split("[(（]", tags)[0]))
            for name in ("push to main", "tag v1.2.3", "tag v0.4.0", "tag v1.2.3-rc.1", "pull request"):
                self.assertEqual(told.get(name), expected[name], f"{guide}: {name}")

    def test_permissions_that_are_not_said_are_noticed(self):
        job = TEXT.replace("    permissions:\n      contents: read # to check out\n    strategy", "    strategy")
        self.assertEqual(complaints(job), "", "those of the workflow hold: none")
        self.assertIn("has permissions the default", complaints(job.replace("\npermissions: {}\n", "\n")))

    def test_a_harmless_change_is_none(self):
        self.assertEqual(complaints(TEXT.replace("password: ${{ github.token }}", "password: ${{ secrets.GITHUB_TOKEN }}")), "")


class Expressions(unittest.TestCase):
    context = {"a": {"b": "X", "no": "", "yes": True}}

    def test_values(self):
        for source, value in {
            "a.b == 'x'": True,
            "a.b != 'x' || a.yes": True,
            "a.b == 'y' && 'then' || 'else'": "else",
            "a.no || 'else'": "else",
            "!(a.yes && a.no)": True,
            "'it''s'": "it's",
            "startsWith(a.b, 'x') && format('{1}-{0}', 'p', a.yes)": "true-p",
            "${{ a.b }}": "X",
        }.items():
            self.assertEqual(evaluate(source, self.context), value, source)
        self.assertEqual(interpolate("<${{ a.b }}|${{ a.yes }}>", self.context), "<X|true>")

    def test_what_is_not_known_is_an_error(self):
        for source in ("a.c", "b", "a.b == 1", "contains(a.b, 'x')", "a.b ==", "a.b a.b", "a[0]", "(a.b", "'open"):
            with self.assertRaises(ValueError, msg=source):
                evaluate(source, self.context)


if __name__ == "__main__":
    unittest.main()
