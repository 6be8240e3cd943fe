"""What is measured: the server, and beside it what it is compared with."""

import json
import os
import pathlib

import programs
from programs import Program

LABELS = {
    "nginx": "nginx `return 200`",
    "bare": "bare Pingora",
    "ours": "llm-cache-server",
    "nginx-cache": "nginx `proxy_cache`",
    "varnish": "Varnish",
}
# Hits from the disk: the least memory that the configuration allows.
MEMORY_MIN = "16MiB"


class Targets:
    """All programs, started when they are asked for the first time and ended together."""

    def __init__(self, folder, server, wire, mock_port, cores_of):
        self.folder, self.server, self.wire, self.mock_port = folder, server, wire, mock_port
        self.cores_of = cores_of
        self.running = {}

    @staticmethod
    def missing(name):
        """What is not installed, if anything."""
        if name in ("nginx", "nginx-cache"):
            return None if programs.find("nginx") else "nginx (Debian: nginx-light)"
        if name == "varnish":
            if not programs.find("varnishd"):
                return "varnishd (Debian: varnish)"
            if not any(pathlib.Path("/usr/lib").glob("*/varnish/vmods/libvmod_bodyaccess.so")):
                return "vmod_bodyaccess (Debian: varnish-modules)"
        return None

    def get(self, name, threads=1, memory="512MiB"):
        key = (name, threads, memory)
        if key not in self.running:
            self.running[key] = self._start(name, threads, memory)
        return self.running[key]

    def stop(self):
        for program in self.running.values():
            program.stop()

    def _start(self, name, threads, memory):
        state = self.folder / f"{name}-{threads}-{memory}"
        state.mkdir()
        port = programs.free_port()
        start = getattr(self, "_" + name.replace("-", "_"))
        cores = self.cores_of(threads)
        program = start(state, port, threads, memory, cores)
        return program.until(lambda: programs.post(port, b"{}") == 200)

    def _conf(self, file, state, port, workers):
        filled = {
            "USER": "user root;" if os.geteuid() == 0 else "",
            "WORKERS": workers,
            "STATE": state,
            "PORT": port,
            "MOCK": self.mock_port,
            "ANSWER": json.dumps({"text": "a" * 2000}),
        }
        text = (programs.HERE / file).read_text()
        for name, value in filled.items():
            text = text.replace(f"@{name}@", str(value))
        path = state / file
        path.write_text(text)
        return path

    def _nginx(self, state, port, threads, _memory, cores, file="nginx-baseline.conf"):
        conf = self._conf(file, state, port, threads)
        return Program([programs.find("nginx"), "-c", conf], port, state, cores)

    def _nginx_cache(self, state, port, threads, memory, cores):
        return self._nginx(state, port, threads, memory, cores, "nginx-cache.conf")

    def _varnish(self, state, port, threads, _memory, cores):
        vcl = self._conf("varnish.vcl", state, port, threads)
        options = {
            "thread_pools": threads,
            "thread_pool_min": 100,
            "thread_pool_max": 1000,
            "timeout_idle": 3600,
            "workspace_client": "256k",
            "http_req_size": "64k",
        }
        command = [programs.find("varnishd"), "-F", "-j", "none", "-n", state / "work", "-a", f"127.0.0.1:{port}"]
        command += ["-f", vcl, "-s", "malloc,4g"]
        for name, value in options.items():
            command += ["-p", f"{name}={value}"]
        return Program(command, port, state, cores)

    def _bare(self, state, port, threads, _memory, cores):
        return Program([self.wire, "bare", f"127.0.0.1:{port}", str(threads)], port, state, cores)

    def _ours(self, state, port, threads, memory, cores):
        """As shipped: an access line for each request, metrics, all limits."""
        admin = programs.free_port()
        conf = state / "conf.yaml"
        conf.write_text(
            f'server: {{listen: ["127.0.0.1:{port}"], admin: "127.0.0.1:{admin}", threads: {threads}}}\n'
            f'upstreams: [{{name: openai, url: "http://127.0.0.1:{self.mock_port}/v1"}}]\n'
            f"store: {{path: {state / 'data'}, memory_bytes_max: {memory}, disk_bytes_max: 16GiB}}\n"
        )
        program = Program([self.server, "run", "--config", conf], port, state, cores)
        program.admin = admin
        return program


def tier_hits(program):
    """Hits so far by tier, of our server."""
    hits = {}
    for line in programs.get(program.admin, "/metrics").splitlines():
        if line.startswith("llm_cache_tier_hits_total{"):
            name, value = line.rsplit(" ", 1)
            hits[name.split('"')[1]] = float(value)
    return hits
