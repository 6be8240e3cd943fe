#!/usr/bin/env python3
"""A fleet under random load and random faults: every answer is checked, nothing may be wrong, no request may
fail, memory stays flat, and whatever was done is over by itself.

    run.py [--seconds 600] [--server PATH] [--seed N] [--workers 12]

Three servers share a cluster of three Redis masters, each with a replica (`redis-server`, or what REDIS_SERVER
names), behind relays on loopback, and a bucket below it. Nodes and replicas are stopped, killed and started, the
network is slow or cut, the bucket fails, values and objects are overwritten, and replica 0, which lives all the
time, purges. The last line of standard output
is a summary in JSON; the exit code is 1 if anything is not as it must be.
"""

import argparse
import asyncio
import json
import os
import random
import sys
import time
from pathlib import Path

import ports
from bucket import Bucket
from cluster import Cluster
from faults import Faults
from load import Load
from replicas import Replica
from upstream import Upstream

REPLICAS = 3
# Growth between minute 1, when the caches are full or nearly so, and the end.
RSS_FACTOR, RSS_SLACK_KIB = 1.15, 24 * 1024
SHOWN = 10


def default_server():
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    target = os.environ.get("CARGO_TARGET_DIR") or Path(cache, "llm-cache-server", "target")
    return Path(target, "release", "llm-cache-server")


def percentile(values, share):
    values = sorted(values)
    return round(values[min(len(values) - 1, int(len(values) * share))], 2) if values else None


async def soak(args, seed):
    began = time.monotonic()
    cluster, upstream, bucket, replicas = Cluster(), Upstream(), Bucket(), []
    try:
        await cluster.start()
        port = ports.free()
        await upstream.start(port)
        objects = ports.free()
        await bucket.start(objects)
        replicas = [Replica(args.server, nth, cluster.names(), port, objects) for nth in range(REPLICAS)]
        for replica in replicas:
            await replica.start()
        load = Load(replicas, upstream, seed)
        faults = Faults(cluster, replicas, load, upstream, bucket)
        if wrongs := await faults.all_well(time.monotonic() + 20):
            sys.exit(f"the fleet does not come up: {wrongs}; {replicas[0].log_tail()}")
        began = time.monotonic()
        rss = []
        tasks = [asyncio.ensure_future(load.worker()) for _ in range(args.workers)]
        tasks += [asyncio.ensure_future(load.crowds_come()), asyncio.ensure_future(watch(replicas, load, rss, began))]
        await faults.run(began + args.seconds)
        load.stopped = True
        await asyncio.gather(*tasks)
        return await summary(load, faults, bucket, replicas, rss, seed, time.monotonic() - began)
    finally:
        for replica in replicas:
            replica.stop()
        cluster.stop()


async def watch(replicas, load, rss, began):
    """Notes the memory of the replicas every ten seconds, for the summary and for who watches."""
    while not load.stopped:
        now = time.monotonic() - began
        if now >= 10 * len(rss):
            rss.append([replica.rss_kib() for replica in replicas])
            said = f"{now:5.0f} s  {load.count['requests']:7} requests  {len(load.wrong)} wrong  "
            print(f"{said}{load.count['failed']} failed  RSS {rss[-1]} KiB", file=sys.stderr, flush=True)
        await asyncio.sleep(0.5)


def costs(calls):
    mean = round(sum(calls) / len(calls), 3) if calls else None
    return {"crowds": len(calls), "calls_mean": mean, "calls_max": max(calls, default=None)}


async def summary(load, faults, bucket, replicas, rss, seed, took):
    shared = {}
    kept = ("llm_cache_shared_", "llm_cache_objects_", "llm_cache_tier_hits_total")
    for replica in replicas:
        for name, value in (await replica.metrics()).items():
            if name.startswith(kept) and value and "_bucket" not in name:
                shared[name] = round(shared.get(name, 0) + value, 3)
    first = rss[min(6, len(rss) // 2)][0]
    last = rss[-1][0]
    flat = last <= first * RSS_FACTOR + RSS_SLACK_KIB
    known = {
        "seconds": round(took),
        "seed": seed,
        "requests": load.count["requests"],
        "outcomes": dict(load.outcomes),
        "upstream_calls": len(load.upstream.calls),
        "bucket": dict(bucket.count),
        "wrong": len(load.wrong),
        "stale": load.count["stale"],
        "failed": load.count["failed"],
        "excused": {name: n for name, n in load.count.items() if " with " in name},
        "hit_ms": {"p50": percentile(load.hit_ms, 0.5), "p99": percentile(load.hit_ms, 0.99)},
        "crowds": {
            "all": costs(load.crowds),
            "while_all_was_well": costs(load.quiet_crowds),
        },
        "faults": dict(faults.count),
        "purges": dict(faults.purges),
        "not_recovered": faults.not_recovered,
        "recovery_s_max": max((seconds for _, seconds in faults.recovery_s), default=None),
        "rss_kib": {"minute_1": first, "end": last, "flat": flat, "every_minute": rss[::6]},
        "shared": shared,
        "wrong_shown": load.wrong[:SHOWN],
        "failed_shown": load.failures[:SHOWN],
    }
    good = not load.wrong and not load.failures and not faults.not_recovered and flat
    return known | {"good": good}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--server", type=Path, default=default_server())
    parser.add_argument("--seed", type=int)
    parser.add_argument("--workers", type=int, default=12)
    args = parser.parse_args()
    args.server = args.server.absolute()
    if not args.server.exists():
        sys.exit(f"run.py: there is no {args.server}; `make build` builds it")
    seed = random.randrange(1 << 32) if args.seed is None else args.seed
    print(f"seed {seed}", file=sys.stderr)
    result = asyncio.run(soak(args, seed))
    print(json.dumps(result))
    sys.exit(0 if result["good"] else 1)


if __name__ == "__main__":
    main()
