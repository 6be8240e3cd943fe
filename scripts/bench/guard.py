#!/usr/bin/env python3
"""Counts instructions of the hot path under valgrind and compares them with benches/guard/baseline.json.

    scripts/bench/guard.py [--save] [--case NAME…]

A clock on a shared machine cannot tell a regression of some per cent from a neighbour; a count of instructions can. It
says nothing of waits, of system calls and of the caches of the CPU, which `make bench` sees. Two kinds of cases: parts
of the server by themselves (the bench target `guard`), and hits on the whole server, with all its threads, asked on
one connection. Fails if a case takes more than its tolerance above its baseline. With --save each case is counted five
times, and the median is the new baseline; its tolerance is three times the spread of the five, and at least 3 %.

Libraries choose what they run by the CPU. That of valgrind has AVX2 and no more, so the counts are the same wherever
there is AVX2; on other machines there is no baseline, and nothing is compared.
"""

import argparse
import concurrent.futures
import json
import pathlib
import platform
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
import bodies  # noqa: E402
import programs  # noqa: E402

BASELINE = programs.ROOT / "benches/guard/baseline.json"
SAVE = "make bench-guard ARGS=--save"
# How often each is done, so that what is counted beside it is small.
PARTS = {"key-1k": 200, "key-100k": 10, "record-decode": 1000, "get-hot": 10_000, "judge": 20}
# Question, hits that are counted, what a hit takes.
HITS = {"hit-1k": ("1k", 1000), "hit-100k": ("100k", 200)}
WARM = 50
SAVE_RUNS = 5
TOLERANCE_MIN = 0.03
SECS_MAX = 120


def callgrind(*options):
    return ["valgrind", "--tool=callgrind", *options]


def strip(program, folder):
    """A copy without debug information, which valgrind 3.19 stumbles over; names of functions stay."""
    copy = folder / pathlib.Path(program).name
    subprocess.run(["strip", "--strip-debug", "-o", copy, program], check=True)
    return copy


def total(path):
    """Instructions in a file of callgrind's."""
    return int(re.search(r"^totals: (\d+)", path.read_text(), re.MULTILINE)[1])


def count_part(name, binary, folder):
    """Instructions of one case by itself, each time it is done."""
    out = pathlib.Path(tempfile.mkdtemp(dir=folder)) / "out"
    command = callgrind("--collect-atstart=no", "--toggle-collect=*guard::measured*", f"--callgrind-out-file={out}")
    command += [binary, name, str(PARTS[name])]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECS_MAX)
    if done.returncode:
        sys.exit(f"guard.py: {name} failed under valgrind:\n{done.stderr[-2000:]}")
    counted = total(out)
    if not counted:
        sys.exit(f"guard.py: {name} was not counted: is guard::measured no longer in the binary?")
    return counted / PARTS[name]


class Client:
    """Asks one after the other on one connection; the server's threads do nothing else meanwhile."""

    def __init__(self, port, body):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=SECS_MAX)
        head = f"POST {programs.CHAT} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer sk-bench\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self.request = head.encode() + body

    def ask(self):
        self.socket.sendall(self.request)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self._read()
        head, body = answer.split(b"\r\n\r\n", 1)
        length = int(re.search(rb"(?i)^content-length: *(\d+)", head, re.MULTILINE)[1])
        while len(body) < length:
            body += self._read()
        return head

    def hit(self, count):
        for _ in range(count):
            head = self.ask()
            if b"x-llm-cache: hit" not in head.lower():
                sys.exit(f"guard.py: this is no hit:\n{head.decode()}")

    def _read(self):
        data = self.socket.recv(1 << 20)
        if not data:
            sys.exit("guard.py: the server closed the connection")
        return data


def count_hits(server, wire, folder, wanted):
    """Instructions of the whole server for each hit, by case."""
    folder = pathlib.Path(tempfile.mkdtemp(dir=folder))
    bodies.write(folder)
    port, admin, mock_port = programs.free_port(), programs.free_port(), programs.free_port()
    for name in ("mock", "server"):
        (folder / name).mkdir()
    mock = programs.Program([wire, "mock", f"127.0.0.1:{mock_port}"], mock_port, folder / "mock")
    mock.until(lambda: programs.get(mock_port, "/_count") is not None)
    conf = folder / "conf.yaml"
    conf.write_text(
        f'server: {{listen: ["127.0.0.1:{port}"], admin: "127.0.0.1:{admin}", threads: 1}}\n'
        f'upstreams: [{{name: openai, url: "http://127.0.0.1:{mock_port}/v1"}}]\n'
        f"store: {{path: {folder / 'data'}, memory_bytes_max: 64MiB, disk_bytes_max: 64MiB}}\n"
    )
    out = folder / "out"
    command = callgrind("--instr-atstart=no", f"--callgrind-out-file={out}")
    served = programs.Program([*command, server, "run", "--config", conf], port, folder / "server")
    served.until(lambda: programs.post(port, b"{}") == 200)

    def tell(*words):
        subprocess.run(["vgdb", f"--pid={served.pid}", *words], check=True, capture_output=True, timeout=SECS_MAX)

    counts = {}
    for number, name in enumerate(wanted, start=1):
        question, count = HITS[name]
        client = Client(port, (folder / f"{question}.json").read_bytes())
        client.ask()
        client.hit(WARM)
        # Not switched off between two cases: callgrind 3.19 loses count then.
        tell("instrumentation", "on")
        tell("zero")
        client.hit(count)
        tell("dump", name)
        counts[name] = total(pathlib.Path(f"{out}.{number}")) / count
    served.stop(signal.SIGKILL)
    mock.stop()
    return counts


def count(paths, folder, wanted):
    """All cases once; valgrind runs one thread at a time, so two of them fill two cores."""
    parts = [name for name in PARTS if name in wanted]
    hits = [name for name in HITS if name in wanted]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        whole = pool.submit(count_hits, paths["llm-cache-server"], paths["wire"], folder, hits) if hits else None
        counted = dict(zip(parts, pool.map(lambda name: count_part(name, paths["guard"], folder), parts), strict=True))
        return counted | (whole.result() if whole else {})


def tools():
    """What the counts depend on beside the code."""
    found = {}
    for program in ("rustc", "valgrind"):
        done = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
        found[program] = done.stdout.strip()
    return found


def save(paths, folder, wanted):
    runs = [count(paths, folder, wanted) for _ in range(SAVE_RUNS)]
    baseline = json.loads(BASELINE.read_text()) if BASELINE.exists() else {"cases": {}}
    for name in wanted:
        counts = [run[name] for run in runs]
        median = statistics.median(counts)
        spread = (max(counts) - min(counts)) / median
        tolerance = max(TOLERANCE_MIN, round(3 * spread, 4))
        baseline["cases"][name] = {"instructions": round(median), "tolerance": tolerance}
        print(f"{name:14} {median:12,.0f} instructions, spread {spread:.3%}, tolerance {tolerance:.1%}")
    baseline["tools"] = tools()
    BASELINE.write_text(json.dumps(baseline, indent=2) + "\n")
    print(f"saved: {BASELINE.relative_to(programs.ROOT)}")


def compare(paths, folder, wanted):
    baseline = json.loads(BASELINE.read_text())
    counted = count(paths, folder, wanted)
    print(f"{'case':14} {'baseline':>12} {'now':>12} {'change':>8} {'allowed':>8}")
    worse, better = [], []
    for name in wanted:
        known = baseline["cases"].get(name)
        if not known:
            sys.exit(f"guard.py: {name} has no baseline; {SAVE} stores one")
        change = counted[name] / known["instructions"] - 1
        verdict = ""
        if change > known["tolerance"]:
            worse.append(name)
            verdict = "MORE"
        elif change < -known["tolerance"]:
            better.append(name)
            verdict = "less"
        allowed = f"+{known['tolerance']:.1%}"
        line = f"{name:14} {known['instructions']:12,} {counted[name]:12,.0f} {change:+8.1%} {allowed:>8} {verdict}"
        print(line.rstrip(), flush=True)
    if better and not worse:
        print(f"less than before: {', '.join(better)}; `{SAVE}` stores the new baseline, so that it stays so")
    if worse:
        print(f"\nmore instructions than the baseline allows: {', '.join(worse)}", file=sys.stderr)
        print(f"If that is meant, `{SAVE}` stores a new baseline; say in the commit why.", file=sys.stderr)
        for program, version in tools().items():
            if version != baseline["tools"][program]:
                print(f"The baseline was counted with {baseline['tools'][program]}, this is {version}.", file=sys.stderr)
        sys.exit(1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--save", action="store_true", help="store a new baseline")
    parser.add_argument("--case", action="append", choices=[*PARTS, *HITS], help="only this one; may be repeated")
    args = parser.parse_args()
    flags = pathlib.Path("/proc/cpuinfo").read_text().split()
    if platform.machine() != "x86_64" or "avx2" not in flags:
        print("guard.py: there is no baseline for this machine, which is not x86-64 with AVX2; nothing is compared")
        return
    if not shutil.which("valgrind"):
        sys.exit("guard.py: there is no valgrind; `scripts/setup.sh guard` installs it where apt-get is there")
    wanted = args.case or [*PARTS, *HITS]
    folder = pathlib.Path(tempfile.mkdtemp(prefix="llm-cache-guard-"))
    try:
        paths = programs.build("guard", "wire")
        paths |= {name: strip(paths[name], folder) for name in ("guard", "llm-cache-server")}
        (save if args.save else compare)(paths, folder, wanted)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
