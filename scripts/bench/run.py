#!/usr/bin/env python3
"""Measures the server beside nginx, bare Pingora, nginx's proxy_cache and Varnish, on loopback.

    scripts/bench/run.py [--rounds N] [--secs N] [--scenario NAME…] [--target NAME…] [--conns N,…] [--entries N]

Builds what it needs and prints Markdown tables. The server is pinned to core 0 and wrk to core 1 (two threads: cores
0 and 1, and wrk to two others if there are). In each round each scenario is visited once, and in a visit each target
has a run of wrk, nginx answering `return 200` to the same bodies first: all ratios are between runs of one visit, so
that a machine that is quicker at one time than at another does not count. A run during which others took more than
15 % of the machine is taken again. Medians over the rounds; of ratios also the range.
"""

import argparse
import contextlib
import dataclasses
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
import bodies  # noqa: E402
import programs  # noqa: E402
import targets  # noqa: E402
from load import FOREIGN_MAX, Load  # noqa: E402
from targets import LABELS, Targets  # noqa: E402

BASELINE = "nginx"
# More than the hot tier holds when it is as small as it can be.
DISK_ENTRIES = 40_000


@dataclasses.dataclass(frozen=True)
class Scenario:
    """What is asked, of whom."""

    name: str
    title: str
    body: str
    targets: tuple
    entries: int = 0
    threads: int = 1
    conns: int = 64
    memory: str = "512MiB"


def scenarios(args):
    """The ones asked for."""
    everyone = ("bare", "ours", "nginx-cache", "varnish")
    caches = ("ours", "nginx-cache", "varnish")
    # 2 KB answers, and as much again for what is kept beside them.
    memory = f"{max(512, args.entries * 4 // 1024)}MiB"
    found = []
    for conns in args.conns:
        beside = "" if conns == 64 else f", {conns} connections"
        found.append(Scenario("hit-1k", "1 KB hit" + beside, "1k", everyone, conns=conns))
    found += [
        # nginx cannot have a key of more than 60 KB.
        Scenario("hit-100k", "100 KB hit, same bytes", "100k", ("bare", "ours", "varnish")),
        # To the others these are other questions.
        Scenario("reordered", "100 KB hit, keys reordered", "reordered", ("bare", "ours")),
        Scenario("entries", f"1 KB hit, {args.entries:,} entries", "entries", caches, args.entries, memory=memory),
        Scenario("stream", "50 KB stream replayed", "stream", caches),
        Scenario("disk", "1 KB hit from the disk", "entries", ("ours",), DISK_ENTRIES, memory=targets.MEMORY_MIN),
        Scenario("two-threads", "1 KB hit, two threads", "1k", ("bare", "ours"), threads=2),
    ]
    return [each for each in found if not args.scenario or each.name in args.scenario]


def server_cores(threads):
    return set(range(threads)) if os.cpu_count() > 1 else {0}


def load_cores(threads):
    """Those that the server has not, if there are enough."""
    cores = os.cpu_count()
    if cores >= 2 * threads:
        return set(range(threads, 2 * threads))
    return set(range(cores))


def prepare(program, scenario, folder, wire):
    """Everything that will be asked is stored."""
    if scenario.entries and program not in prepare.filled:
        prepare.filled.add(program)
        url = f"http://127.0.0.1:{program.port}{programs.CHAT}"
        command = [wire, "fill", url, "--template", folder / "entries.json", "--count", str(scenario.entries)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    elif not scenario.entries:
        body = (folder / f"{scenario.body}.json").read_bytes().split(b"\n")[0]
        for _ in range(2):
            status = programs.post(program.port, body)
            if status != 200:
                sys.exit(f"{scenario.name}: an answer with status {status}")


prepare.filled = set()


def median(values):
    return statistics.median(list(values))


def spread(values, digits=3):
    values = list(values)
    return f"{median(values):.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def print_table(head, rows):
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]

    def line(cells):
        sized = enumerate(zip(cells, widths, strict=True))
        return "| " + " | ".join(cell.ljust(w) if i < 2 else cell.rjust(w) for i, (cell, w) in sized) + " |"

    print("\n" + line(head))
    print("|" + "|".join("-" * (w + 2) if i < 2 else "-" * (w + 1) + ":" for i, w in enumerate(widths)) + "|")
    for row in rows:
        print(line(row))


def print_results(visited, disk_share):
    rows, against, noisy, asked = [], [], 0, []
    for scenario, visits in visited.items():
        for name in (BASELINE, *scenario.targets):
            runs = [visit[name] for visit in visits if name in visit]
            if not runs:
                continue
            ratios = [visit[name].rate / visit[BASELINE].rate for visit in visits]
            noisy += sum(run.foreign > FOREIGN_MAX for run in runs)
            requests = sum(run.asked_upstream + run.bad for run in runs)
            if requests:
                asked.append(f"{scenario.title}, {LABELS[name]}: {requests} requests went upstream or failed")
            rows.append(
                [
                    scenario.title,
                    LABELS[name],
                    f"{median(run.rate for run in runs):,.0f}",
                    "1" if name == BASELINE else spread(ratios),
                    f"{median(run.p50_us for run in runs):,.0f}",
                    f"{median(run.p99_us for run in runs):,.0f}",
                    f"{median(run.cpu_us for run in runs):.1f}",
                ]
            )
            # One that answers next to nothing, as some do with a million entries, is no measure.
            measurable = all(visit[name].rate >= 1 for visit in visits if name in visit)
            if name not in ("ours", BASELINE) and "ours" in visits[0] and measurable:
                ours = [visit["ours"].rate / visit[name].rate for visit in visits]
                cpu = [visit["ours"].cpu_us / visit[name].cpu_us for visit in visits]
                against.append([scenario.title, LABELS[name], spread(ours), spread(cpu, 2)])
    print_table(["scenario", "target", "req/s", "× nginx (range)", "p50 µs", "p99 µs", "CPU µs/req"], rows)
    if against:
        print_table(["scenario", "llm-cache-server against", "× req/s (range)", "× CPU/req (range)"], against)
    print()
    by_name = {scenario.name: visits for scenario, visits in visited.items() if scenario.conns == 64}
    if {"hit-1k", "two-threads"} <= by_name.keys():
        pairs = zip(by_name["two-threads"], by_name["hit-1k"], strict=True)
        ratio = spread((two["ours"].rate / one["ours"].rate for two, one in pairs if "ours" in two), 2)
        shared = "" if os.cpu_count() >= 4 else ", wrk on the same two cores"
        print(f"Two threads over one{shared}: {ratio}.")
    if disk_share is not None:
        print(f"Of the hits from the disk, {disk_share:.0%} were found on the disk and the rest in memory.")
    for each in asked:
        print(each + ".")
    if noisy:
        print(f"{noisy} runs are counted although others took more than {FOREIGN_MAX:.0%} of the machine.")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    whole = {"type": int, "metavar": "N"}
    several = {"type": lambda text: [int(each) for each in text.split(",")], "metavar": "N,…"}
    parser.add_argument("--rounds", default=5, help="visits of each scenario (5)", **whole)
    parser.add_argument("--secs", default=2, help="seconds of each run (2)", **whole)
    names = ["hit-1k", "hit-100k", "reordered", "entries", "stream", "disk", "two-threads"]
    parser.add_argument("--scenario", action="append", choices=names, help="only this one; may be repeated")
    parser.add_argument("--target", action="append", choices=list(LABELS), help="only this one; may be repeated")
    parser.add_argument("--conns", default=[64], help="of the 1 KB hit, such as 1,10,64,100,1000 (64)", **several)
    parser.add_argument("--entries", default=10_000, help="a million takes minutes to fill (10000)", **whole)
    parser.add_argument("--server", help="binary to measure, instead of the one of this tree")
    return parser.parse_args()


def main():
    args = arguments()
    for needed in [None if shutil.which("wrk") else "wrk (Debian: wrk)", Targets.missing(BASELINE)]:
        if needed:
            sys.exit(f"run.py: there is no {needed}; `scripts/setup.sh bench` installs it where apt-get is there")
    paths = programs.build("wire")
    server, wire = args.server or paths["llm-cache-server"], paths["wire"]
    chosen = []
    missing = set()
    for scenario in scenarios(args):
        wanted = [name for name in scenario.targets if not args.target or name in args.target]
        missing |= {name for name in wanted if Targets.missing(name)}
        there = tuple(name for name in wanted if name not in missing)
        if there or args.target == [BASELINE]:
            chosen.append(dataclasses.replace(scenario, targets=there))
    for name in sorted(missing):
        print(f"left out: {LABELS[name]}, as there is no {Targets.missing(name)}", file=sys.stderr)
    programs.allow_files()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="llm-cache-bench-"))
    try:
        measure(args, chosen, folder, server, wire)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def measure(args, chosen, folder, server, wire):
    bodies.write(folder)
    port = programs.free_port()
    (folder / "mock").mkdir()
    mock = programs.Program([wire, "mock", f"127.0.0.1:{port}"], port, folder / "mock", load_cores(1))
    mock.until(lambda: programs.get(port, "/_count") is not None)
    load = Load(folder, mock, args.secs)
    with contextlib.ExitStack() as stack:
        stack.callback(mock.stop)
        started = Targets(folder, server, wire, port, server_cores)
        stack.callback(started.stop)
        visited = {scenario: [] for scenario in chosen}
        began = time.monotonic()
        for number in range(args.rounds):
            for scenario in chosen:
                visit = {}
                for name in (BASELINE, *scenario.targets):
                    memory = scenario.memory if name == "ours" else ""
                    program = started.get(name, scenario.threads, memory)
                    if number == 0 and name not in (BASELINE, "bare"):
                        prepare(program, scenario, folder, wire)
                    visit[name] = load.run(program, scenario, load_cores(scenario.threads))
                visited[scenario].append(visit)
                said = ", ".join(f"{name} {run.rate:,.0f}" for name, run in visit.items())
                at = f"{time.monotonic() - began:4.0f} s, round {number + 1} of {args.rounds}"
                print(f"{at}, {scenario.title}: {said} req/s", file=sys.stderr, flush=True)
        disk_share = None
        for scenario in chosen:
            if scenario.name == "disk" and "ours" in scenario.targets:
                hits = targets.tier_hits(started.get("ours", memory=scenario.memory))
                disk_share = hits["disk"] / max(sum(hits.values()), 1)
    print_results(visited, disk_share)


if __name__ == "__main__":
    main()
