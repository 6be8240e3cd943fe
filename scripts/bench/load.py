"""One run of wrk against one program, and what it took."""

import dataclasses
import json
import os
import re
import resource
import subprocess
import time

import programs

# Above this share of all cores the machine was busy with something else, and a run is taken again.
FOREIGN_MAX = 0.15
AGAIN_MAX = 2
# Over all, so that a machine that is never idle does not make it endless.
AGAIN_IN_ALL_MAX = 25


@dataclasses.dataclass
class Run:
    """Rates in requests a second, times in microseconds, shares of all cores."""

    rate: float
    p50_us: float
    p99_us: float
    cpu_us: float
    bad: int
    asked_upstream: int
    foreign: float


class Load:
    """What asks: wrk, pinned to its own cores."""

    def __init__(self, folder, mock, secs):
        self.folder, self.mock, self.secs = folder, mock, secs
        self.runs = 0
        self.again = 0

    def run(self, program, scenario, cores):
        """The first of some runs during which the machine had nothing else to do, else the last."""
        for _ in range(1 + AGAIN_MAX):
            found = self._once(program, scenario, cores)
            if found.foreign <= FOREIGN_MAX or self.again == AGAIN_IN_ALL_MAX:
                break
            self.again += 1
        return found

    def _once(self, program, scenario, cores):
        self.runs += 1
        env = {
            **os.environ,
            "LOAD_BODY": str(self.folder / f"{scenario.body}.json"),
            "LOAD_SLOT": str(scenario.entries),
            "LOAD_LINES": "1" if scenario.body == "reordered" else "0",
            "LOAD_TURN": str(self.runs * 1_000_000),
        }
        url = f"http://127.0.0.1:{program.port}{programs.CHAT}"
        command = ["wrk", f"-t{min(scenario.threads, scenario.conns)}", f"-c{scenario.conns}", f"-d{self.secs}s"]
        command += ["--timeout", "30s", "--latency", "-s", programs.HERE / "wrk.lua", url]
        asked = int(programs.get(self.mock.port, "/_count"))
        before = self._clocks(program)
        on_cores = programs.pinned(cores)
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=True, preexec_fn=on_cores)
        wall, machine, server, own = (b - a for a, b in zip(before, self._clocks(program), strict=True))
        program.trim_log()
        said = json.loads(re.search(r"^JSON (.*)$", done.stdout, re.MULTILINE)[1])
        requests = max(said["requests"], 1)
        return Run(
            rate=said["requests"] / (said["us"] / 1e6),
            p50_us=said["p50_us"],
            p99_us=said["p99_us"],
            cpu_us=server / requests * 1e6,
            bad=said["bad"],
            asked_upstream=int(programs.get(self.mock.port, "/_count")) - asked,
            foreign=max(0.0, (machine - server - own) / (wall * os.cpu_count())),
        )

    def _clocks(self, program):
        """Wall time, and CPU time of all cores, of the server, and of mock, wrk and this program."""
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        own = children.ru_utime + children.ru_stime + time.process_time() + self.mock.cpu_secs()
        return time.monotonic(), programs.machine_cpu_secs(), program.cpu_secs(), own
