"""Blocks of YAML: configurations of the server, which it must take, and others, which must be YAML."""

import difflib
import json
import os
import re

from blocks import Problem
from static import check_names, run, schema, server

PARSE = """
import json, sys, yaml
try:
    documents = [each for each in yaml.safe_load_all(sys.stdin.read()) if each is not None]
    print(json.dumps([list(map(str, each)) if isinstance(each, dict) else [] for each in documents]))
except yaml.YAMLError as error:
    mark = getattr(error, "problem_mark", None)
    print(json.dumps({"line": mark.line if mark else 0, "message": str(error)}))
"""
# As close as `chace` to `cache`, and not as close as `services` (of compose) to `server`.
TYPING_SLIP = 0.79
FILES = re.compile(r"\b(api_key_file|ca_file|cert_file|key_file|cert|key):\s*([^\s,}#]+)")
VARIABLES = re.compile(r"\b(?:(?:api|access|secret)_key_env|(?:admin|session)_token_env|(?:sentinel_)?password_env):\s*([A-Za-z_]\w*)")


def check(block, directory):
    """`directory`: for the files that a configuration names."""
    check_names(block.text, block.line)
    found = json.loads(run([os.environ["DOCS_YAML_PYTHON"], "-c", PARSE], input=block.text).stdout)
    if isinstance(found, dict):
        raise Problem(block.line + found["line"], found["message"])
    keys = {key for document in found for key in document}
    if is_configuration(keys):
        check_configuration(block, directory)


def is_configuration(keys):
    """Whether these top-level keys are the server's, be it with a slip of the hand."""
    if "apiVersion" in keys:
        return False
    return any(difflib.get_close_matches(key, schema()["properties"], 1, TYPING_SLIP) for key in keys)


def check_configuration(block, directory):
    text = block.text
    environment = os.environ | {name: "as long as a secret" for name in VARIABLES.findall(text)}
    if re.search(r"\b(cert|ca_file|cert_file):", text):
        subject = ["-subj", "/CN=localhost", "-keyout", "key.pem", "-out", "cert.pem"]
        run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject],
            cwd=directory,
            check=True,
        )
    (directory / "secret").write_text("test")
    certificates = dict.fromkeys(["ca_file", "cert_file", "cert"], "cert.pem")
    ours = certificates | {"key_file": "key.pem", "key": "key.pem", "api_key_file": "secret"}
    text = FILES.sub(lambda match: f"{match[1]}: {ours[match[1]]}", text)
    (directory / "block.yaml").write_text(text)
    done = server("check", "--config", "block.yaml", cwd=directory, env=environment)
    if done.returncode:
        at = re.search(r"block\.yaml:(\d+)", done.stderr)
        raise Problem(block.line + (int(at[1]) - 1 if at else 0), done.stderr.strip())
