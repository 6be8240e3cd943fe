"""Mistakes that documentation makes. Each must be found, at its line and for its reason, else the whole run fails."""

import shutil
import sys

# Without an SDK: those take a second to be loaded.
ASK = """import json, os, time, urllib.request
def ask(model, content):
    body = {"model": model, "messages": [{"role": "user", "content": content}]}
    headers = {"Content-Type": "application/json", "Authorization": os.environ["OPENAI_API_KEY"]}
    url = "http://localhost:9999/v1/chat/completions"
    urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode(), headers)).read()
"""

# (name, language, text, line of the block, words of the message)
MISTAKES = [
    ("a command that fails", "sh", "true\nfalse\n", 2, "exit code 1"),
    ("a command that is not there", "sh", "no-such-command\n", 1, "not found"),
    ("a command that fails in a pipe", "sh", "false | cat\n", 1, "exit code 1"),
    (
        "a command that fails behind the scenes",
        "sh",
        "llm-cache-server check --config none.yaml &\n",
        None,
        "none.yaml",
    ),
    ("a command that has failed behind the scenes", "sh", "no-such-command &\nsleep 1\n", None, "not found"),
    ("a command that never ends", "sh", "sleep 1000\n", None, "not done within"),
    ("a server that does not start", "sh", "echo '{' >x.yaml\nllm-cache-server run --config x.yaml\n", 2, "x.yaml"),
    (
        "a server in the background that does not start",
        "sh",
        "llm-cache-server run --config none.yaml &\n",
        None,
        "none.yaml",
    ),
    ("an error status", "sh", "curl -s http://localhost:9999/v1/nowhere\n", 1, "no such path"),
    ("a command for a cluster without its marker", "sh", "echo\nkubectl get pods\n", 2, "# needs a cluster"),
    ("a command for Docker without its marker", "sh", "docker ps\n", 1, "# needs Docker"),
    ("a command for root without its marker", "sh", "sudo true\n", 1, "# needs root"),
    ("a marker of another need", "sh", "# needs luck\ntrue\n", 1, "no such marker"),
    ("a marker in other words", "sh", "# needs a cluster, and time\ntrue\n", 1, "no such marker"),
    ("a marker in Python", "python", "# Needs Docker\n", 1, "no such marker"),
    ("wrong syntax", "sh", "# needs Docker\necho\nif true; then\n", None, "syntax error"),
    ("an unknown sub-command", "sh", "# needs root\nllm-cache-server start\n", 2, "no sub-command 'start'"),
    ("an unknown flag", "sh", "# needs root\nllm-cache-server run --confg x.yaml\n", 2, "no flag --confg"),
    ("a second directory", "sh", "# needs root\nllm-cache-server restore a b\n", 2, "takes no 'b'"),
    ("a word too much", "sh", "# needs root\nllm-cache-server check my.yaml\n", 2, "takes no 'my.yaml'"),
    ("a flag without its value", "sh", "# needs root\nllm-cache-server check --config\n", 2, "wants a value"),
    (
        "an unknown flag in a container",
        "sh",
        "# needs Docker\ndocker run --rm \\\n  ghcr.io/so2liu/llm-cache-server:latest check --all\n",
        2,
        "no flag --all",
    ),
    (
        "an unknown sub-command in a pod",
        "sh",
        "# needs a cluster\nkubectl exec llm-cache-server-0 -- llm-cache-server health\n",
        2,
        "no sub-command 'health'",
    ),
    (
        "a path that is not there",
        "sh",
        "# needs a cluster\necho\nkubectl apply -k deploy/nowhere\n",
        3,
        "no deploy/nowhere",
    ),
    (
        "a mounted path that is not there",
        "sh",
        "# needs Docker\ndocker run -v $(pwd)/conf/x.yaml:/y x\n",
        2,
        "no conf/x.yaml",
    ),
    ("an unknown target", "sh", "make no-such-target\n", 1, "no target 'no-such-target'"),
    ("an unknown flag of cargo", "sh", "cargo test --no-such-flag\n", 1, "no flag --no-such-flag"),
    (
        "an unknown variable",
        "sh",
        "# needs Docker\ndocker run -e LLM_CACHE__STORE__PAHT=/x y\n",
        2,
        "LLM_CACHE__STORE__PAHT",
    ),
    ("a variable with a wrong value", "sh", "true\nLLM_CACHE__CACHE__TTL=soon\n", 2, "LLM_CACHE__CACHE__TTL"),
    ("Python that does not compile", "python", "# needs a provider key\nprint(\n", 2, "never closed"),
    ("Python that fails", "python", "pass\nraise SystemError('oh')\n", 2, "SystemError: oh"),
    ("Python that asks someone else", "python", "# not localhost:9999\n", 1, "no request reached it"),
    (
        "Python that is not cached",
        "python",
        ASK + "ask('gpt-4o', str(time.time()))\n",
        1,
        "not answered from the cache",
    ),
    ("Python with an error of the provider", "python", ASK + "ask('error-400', 'x')\n", 7, "HTTP Error 400"),
    ("JavaScript that does not compile", "js", "// npm install no-such-package\nlet = 1 1\n", 2, "SyntaxError"),
    ("JavaScript that fails", "js", "\nthrow new Error('oh')\n", 2, "Error: oh"),
    ("an unknown key", "yaml", "store:\n  path: x\n  paht: y\n", 3, "paht"),
    ("an unknown key at the top", "yaml", "chace:\n  ttl: 1h\n", 1, "chace"),
    ("a wrong value", "yaml", "cache: {ttl: soon}\n", 1, "soon"),
    (
        "an unknown variable in other YAML",
        "yaml",
        "environment:\n  LLM_CACHE__LOGS__LEVEL: debug\n",
        2,
        "LLM_CACHE__LOGS__LEVEL",
    ),
    ("no YAML", "yaml", "a: 1\nb: [\n", None, "parsing"),
    ("no JSON", "json", "{'a': 1}\n", 1, "Expecting"),
    ("no TOML", "toml", "a = \n", 1, "Invalid value"),
    ("no INI", "ini", "a\n", 1, "no section headers"),
    (
        "an unknown variable in INI",
        "ini",
        "[Service]\nEnvironment=LLM_CACHE__LOGS__LEVEL=debug\n",
        2,
        "LLM_CACHE__LOGS__LEVEL",
    ),
    ("a block without a language", "", "true\n", 0, "without a language"),
    ("an unknown language", "bash", "true\n", 0, "cannot be checked"),
]
# In the running text.
INLINE_MISTAKES = [
    ("an unknown target", "make no-such-target", "no target 'no-such-target'"),
    ("an unknown sub-command", "llm-cache-server serve", "no sub-command 'serve'"),
    ("an unknown setting", "cache.tttl", "no setting cache.tttl"),
    ("a path that is not there", "conf/nothing.yaml", "no conf/nothing.yaml"),
]
# What must pass, or the rest would prove nothing.
GOOD = [
    ("sh", "llm-cache-server check --config my.yaml\nllm-cache-server run --config my.yaml\nmake run\n"),
    ("sh", "llm-cache-server run --config my.yaml &\n"),
    ("sh", 'llm-cache-server run &\nserver=$!\nkill "$server"\nwait "$server"\n'),
    ("sh", "curl -fsS http://localhost:9901/readyz\nllm-cache-server schema >schema.json\n"),
    ("sh", "# needs Docker\ndocker run -v $(pwd)/conf:/app/conf x/llm-cache-server:1 run --config /app/conf/y.yaml\n"),
    ("sh", "LLM_CACHE__CACHE__TTL=12h\nLLM_CACHE__UPSTREAMS__0__URL=http://10.0.0.7:8000/v1\n"),
    ("sh", "cargo test --release some_test\n"),
    ("python", ASK + "ask('gpt-4o-mini', 'x')\n"),
    ("python", "# pip install no-such-package\nimport no_such_package\n"),
    ("js", "// npm install no-such-package\nimport 'no-such-package';\n"),
    (
        "yaml",
        "server: {tls: {cert: /etc/x.crt, key: /etc/x.key}}\nupstreams:\n  - {name: a, url: https://a.example/v1, api_key_env: A}\n",
    ),
    ("yaml", "services:\n  app: {image: x}\n"),
    ("yaml", "apiVersion: v1\nkind: ConfigMap\n"),
    ("promql", "sum(rate(x[5m]))\n\nx\n  / y\n"),
    ("ini", "[Service]\nExecStart=/usr/local/bin/x\n"),
]
# Waiting for what does not come is shorter here than in earnest.
WAIT_S_MAX = 2


def run(on, check_text):
    """How many mistakes there are. Ends the program if one of them is not found."""
    mistakes = [*MISTAKES]
    if shutil.which("promtool"):
        mistakes.append(("a wrong query", "promql", "x\n\nsum(rate(x[5m])\n", 3, "parse"))
    wrong = []
    in_earnest = on.block_s_max, on.count_s_max
    for name, language, text, line, words in mistakes:
        if "never ends" in name or "asks someone else" in name:
            on.block_s_max = on.count_s_max = WAIT_S_MAX
        problems = check_text(f"# Title\n\n```{language}\n{text}```\n", on)
        on.block_s_max, on.count_s_max = in_earnest
        # The fence is line 3, so the first line of the block is line 4.
        lines = [] if line is None else [3 + line]
        if len(problems) != 1 or words not in str(problems[0]) or (lines and problems[0].line not in lines):
            wrong.append(f"{name}: {[(each.line, str(each)) for each in problems]}")
    for name, code, words in INLINE_MISTAKES:
        problems = check_text(f"# Title\n\nSay `{code}`.\n", on)
        if len(problems) != 1 or words not in str(problems[0]) or problems[0].line != 3:
            wrong.append(f"{name} in the text: {[(each.line, str(each)) for each in problems]}")
    endless = check_text("# Title\n\n```sh\ntrue\n", on)
    if len(endless) != 1 or endless[0].line != 3:
        wrong.append(f"a block that never ends: {endless}")
    for language, text in GOOD:
        problems = check_text(f"```{language}\n{text}```\n", on)
        if problems:
            wrong.append(f"good, but refused: {text!r}: {[(each.line, str(each)) for each in problems]}")
    if wrong:
        sys.exit("selftest: not found, or not as expected:\n  " + "\n  ".join(wrong))
    return len(mistakes) + len(INLINE_MISTAKES) + 1
