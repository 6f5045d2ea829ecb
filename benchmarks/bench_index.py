"""What it costs to know a dataset of shards before any of its steps is read, locally and from a store. JSON lines.

Datasets of `--shards` (10, 100 and 1,000) are written as `--parts` parts, with rows of a few bytes and pieces of
`--steps` steps, and opened by a process of its own: the manifests, then the table of all trajectories, which is all
that a plan of batches needs. Rows are small so that the index is what is measured.

- `requests` and `bytes_read`: of files or objects; listing is a request.
- `seconds`: of wall-clock time; the files are in the page cache.
- `index_mb`: memory (2^20 bytes) that the process holds more than before it opened; `peak_mb`: the most it held so.
- `store`: `local`, or `s3`, which is moto's server on this machine in a process of its own: its requests take longer
  than those of a real store take there, and are not worked on at the same time.
"""

# /// script
# dependencies = ["pyarrow>=18", "s3fs>=2024.12", "moto[server]>=5.1"]
# ///

from __future__ import annotations

import argparse
import gc
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read once, when numpy is imported

import numpy as np

from townlet_trajectory import ArraySpec, ShardWriter, TrajectoryBatch, TrajectorySchema
from townlet_trajectory.formats.shards.reader import open_shards
from townlet_trajectory.storage.folders import LocalFolder
from townlet_trajectory.storage.remote import RemoteFolder

SCHEMA = TrajectorySchema(
    observations={"x": ArraySpec("float32")}, decisions={"action": ArraySpec("int64")}, vocabulary=("wait", "go")
)
BUCKET = "s3://townlet-index"
MB = 1 << 20

Report = dict[str, str | int | float]


def batch_of(steps: int, pieces: int, episode: int) -> TrajectoryBatch:
    """`pieces` trajectories of `steps` steps each, of agents whose names come again."""
    rows = steps * pieces
    return TrajectoryBatch(
        schema=SCHEMA,
        offsets=np.arange(0, rows + 1, steps, dtype=np.int64),
        observations={"x": np.zeros(rows, np.float32)},
        final_observations={"x": np.zeros(pieces, np.float32)},
        columns={"action": np.zeros(rows, np.int64)},
        rewards=np.zeros(rows, np.float32),
        ticks=np.tile(np.arange(steps), pieces),
        terminated=np.ones(pieces, np.bool_),
        truncated=np.zeros(pieces, np.bool_),
        agent_ids=np.array([f"agent_{index:03d}" for index in range(pieces)], object),
        worlds=np.zeros(pieces, np.int64),
        episodes=np.full(pieces, episode, np.int64),
    )


def write(place: str, arguments: argparse.Namespace) -> None:
    for part in range(arguments.parts):
        shards = arguments.count // arguments.parts
        with ShardWriter(
            place, SCHEMA, rows_per_shard=arguments.steps * arguments.pieces, writer=f"worker-{part:03d}"
        ) as writer:
            for shard in range(shards):
                writer.write(batch_of(arguments.steps, arguments.pieces, shard))


@contextmanager
def counted() -> Iterator[Report]:
    """Count what is asked of folders."""
    counts: Report = {"requests": 0, "bytes_read": 0}

    def count(number: int, size: int) -> None:
        counts["requests"] = int(counts["requests"]) + number
        counts["bytes_read"] = int(counts["bytes_read"]) + size

    for kind in (LocalFolder, RemoteFolder):
        for name in ("names", "holds", "read"):  # `read_each` of a single file is `read`

            def wrapped(self: object, *args: object, _call: object = getattr(kind, name), **options: object) -> object:
                found = _call(self, *args, **options)
                count(1, len(found) if isinstance(found, bytes) else 0)
                return found

            setattr(kind, name, wrapped)

    def each(self: object, *args: object, _call: object = RemoteFolder.read_each, **options: object) -> object:
        before = int(counts["requests"])
        for name, data in _call(self, *args, **options):
            if int(counts["requests"]) == before:
                count(1, len(data))
            before = int(counts["requests"])
            yield name, data

    RemoteFolder.read_each = each
    yield counts


def held_mb() -> float:
    """Memory that is held now; Linux alone says so."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / MB


def measure(place: str) -> Report:
    """Open, and read the table; in a process of its own."""
    # Imports and connections are no part of it.
    next(iter(open_shards(place).parts.values())).load_block(0)
    gc.collect()
    before = held_mb()
    with counted() as counts:
        begun = time.perf_counter()
        source = open_shards(place)
        opened = time.perf_counter()
        table = source.table
        done = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    gc.collect()
    shards, steps = len(source.encoded_bytes), source.num_steps
    held = held_mb() - before
    return {
        "shards": shards,
        "steps": steps,
        "trajectories": len(table),
        **counts,
        "open_s": round(opened - begun, 3),
        "table_s": round(done - opened, 3),
        "index_mb": round(held, 1),
        "peak_mb": round(peak - before, 1),
        "bytes_per_shard": round(int(counts["bytes_read"]) / shards),
        "requests_per_shard": round(int(counts["requests"]) / shards, 2),
        "ms_per_shard": round(1e3 * (done - begun) / shards, 3),
        "memory_bytes_per_trajectory": round(held * MB / len(table)),
    }


@contextmanager
def store() -> Iterator[None]:
    """A store on this machine, which is empty."""
    import boto3

    serve = "import time; from moto.server import ThreadedMotoServer as S; s = S(ip_address='127.0.0.1', port=0); "
    serve += "s.start(); print(s.get_host_and_port()[1], flush=True); time.sleep(86400)"
    quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    with subprocess.Popen([sys.executable, "-c", serve], **quiet) as server:
        while not (line := server.stdout.readline().strip()).isdigit():
            pass
        endpoint = f"http://127.0.0.1:{line}"
        keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
        os.environ.update({**keys, "FSSPEC_S3_ENDPOINT_URL": endpoint})
        boto3.client("s3", endpoint_url=endpoint).create_bucket(Bucket=BUCKET.removeprefix("s3://"))
        try:
            yield
        finally:
            server.kill()


def report(name: str, place: str, count: int, arguments: argparse.Namespace) -> Report:
    arguments.count = count
    write(place, arguments)
    command = [sys.executable, str(Path(__file__).resolve()), "--child", place]
    child = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return {"benchmark": "index", "store": name, "parts": arguments.parts, **json.loads(child.stdout)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--parts", type=int, default=10)
    parser.add_argument("--steps", type=int, default=64, help="of a trajectory")
    parser.add_argument("--pieces", type=int, default=64, help="trajectories of a shard")
    parser.add_argument("--stores", nargs="+", choices=("local", "s3"), default=["local", "s3"])
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(measure(arguments.child)))
        return
    if "local" in arguments.stores:
        for count in arguments.shards:
            with tempfile.TemporaryDirectory() as folder:
                print(json.dumps(report("local", f"{folder}/dataset", count, arguments)), flush=True)
    if "s3" in arguments.stores:
        with store():
            for count in arguments.shards:
                print(json.dumps(report("s3", f"{BUCKET}/{count}", count, arguments)), flush=True)


if __name__ == "__main__":
    main()
