"""Datasets in a store of objects that runs on this machine, and on a web server that is read."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer
from strategies import assert_same_batch
from test_shard_parts import batch_of, write_part

from townlet_trajectory import (
    ArtifactError,
    PartOwner,
    PartWriter,
    ShardEntry,
    TrajectoryBatch,
    read_shards,
    save_batch,
    write_shards,
)
from townlet_trajectory.dataset.info import parse_shard
from townlet_trajectory.formats.shards.reader import open_shards
from townlet_trajectory.formats.shards.targets import require_nothing_there
from townlet_trajectory.storage.folders import folder_of
from townlet_trajectory.storage.json import Fields

WRITE = """
import sys
from townlet_trajectory import load_batch, write_shards
write_shards(sys.argv[1], load_batch(sys.argv[3]), rows_per_shard=4, writer=sys.argv[2])
"""


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    endpoint = "http://{}:{}".format(*server.get_host_and_port())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_ENDPOINT_URL", endpoint)
        boto3.client("s3", endpoint_url=endpoint).create_bucket(Bucket="recorded")
        yield "s3://recorded"
    server.stop()


def write_in_process(place: str, name: str, seed: int, folder: Path) -> subprocess.Popen[str]:
    file = folder / f"{seed}.npz"
    save_batch(file, batch_of(seed))
    command = [sys.executable, "-c", WRITE, place, name, str(file)]
    return subprocess.Popen(command, text=True, stderr=subprocess.PIPE)


def test_processes_write_parts_at_the_same_time(bucket: str, tmp_path: Path) -> None:
    place = f"{bucket}/runs/town"
    writers = [write_in_process(place, f"worker-{seed}", seed, tmp_path) for seed in (2, 1)]
    assert [(writer.communicate()[1], writer.returncode) for writer in writers] == [("", 0)] * 2
    for seed in (1, 2):
        write_part(tmp_path / "town", f"worker-{seed}", seed)
    assert open_shards(place).fingerprint == open_shards(tmp_path / "town").fingerprint
    assert_same_batch(read_shards(place), read_shards(tmp_path / "town"))


def test_one_of_several_writers_gets_a_name(bucket: str) -> None:
    together = threading.Barrier(2)

    def write(seed: int) -> str:
        together.wait()
        try:
            write_shards(f"{bucket}/race", batch_of(seed), rows_per_shard=4, writer="same")
        except ArtifactError as error:
            return error.reason
        return "written"

    with ThreadPoolExecutor(2) as pool:
        said = sorted(reason.partition(",")[0] for reason in pool.map(write, (1, 2)))
    assert said == ["`same` is taken", "written"]
    assert len(read_shards(f"{bucket}/race")) == 2


SHARE = """
import json, sys
from townlet_trajectory import PartWriter, load_batch
entry = PartWriter(sys.argv[1], "unit-0000", token="ours").write(int(sys.argv[2]), load_batch(sys.argv[3]))
print(json.dumps(entry.document()))
"""


def shared_in_process(place: str, number: int, folder: Path) -> ShardEntry:
    file = folder / f"share-{number}.npz"
    save_batch(file, batch_of(number))
    words = [sys.executable, "-c", SHARE, place, str(number), str(file)]
    said = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
    return parse_shard(Fields(said, "an answer"), "an answer")


def test_processes_write_shards_of_one_part_for_its_owner(bucket: str, tmp_path: Path) -> None:
    place = f"{bucket}/runs/shared"
    owner = PartOwner(place, "unit-0000", token="ours")
    owner.claim()
    owner.add(shared_in_process(place, 0, tmp_path), batch_of(0).schema)
    here = PartWriter(place, "unit-0000", token="ours").write(1, batch_of(1))
    assert here is not None
    owner.add(here, batch_of(1).schema)
    owner.list_shards()
    assert_same_batch(read_shards(place), TrajectoryBatch.concatenate([batch_of(0), batch_of(1)]))
    owner.go_back_to(1)
    assert_same_batch(read_shards(place), batch_of(0))
    owner.add(replace(here, number=2), batch_of(1).schema)
    with pytest.raises(ArtifactError, match=r"steps-000002.arrow: verify: expected the \d+ bytes .* no such file"):
        owner.list_shards()
    with pytest.raises(ArtifactError, match="the claim of `unit-0000` is not seen from here"):
        PartWriter(place, "unit-0000", token="theirs").write(0, batch_of(0))
    with pytest.raises(ArtifactError, match="holds a dataset already, with parts"):
        require_nothing_there(folder_of(place))


def test_a_dataset_of_one_writer(bucket: str) -> None:
    write_shards(f"{bucket}/one", batch_of(1), rows_per_shard=4)
    assert_same_batch(read_shards(f"{bucket}/one"), batch_of(1))
    with pytest.raises(ArtifactError, match="holds a dataset already"):
        write_shards(f"{bucket}/one", batch_of(1))


def test_a_bucket_that_is_missing(bucket: str) -> None:
    with pytest.raises(ArtifactError, match=r"^s3://nowhere/town: open: expected manifest.json or complete parts"):
        open_shards("s3://nowhere/town")


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    class Pages(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.startswith("/moved/"):
                self.send_response(302)
                self.send_header("Location", self.path.replace("/moved/", "/town/"))
                self.end_headers()
            else:
                super().do_GET()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Pages, directory=os.fspath(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_web_server_is_read_alone(web: str, tmp_path: Path) -> None:
    write_shards(tmp_path / "town", batch_of(1), rows_per_shard=4)
    assert_same_batch(read_shards(f"{web}/town?token=abcdef"), batch_of(1))
    with pytest.raises(ArtifactError, match=r"^http://127.0.0.1:\d+/new"):
        write_shards(f"{web}/new", batch_of(1))


def test_parts_are_found_on_the_page_of_a_folder(web: str, tmp_path: Path) -> None:
    for name in "ab":
        write_part(tmp_path / "town", name, 1)
    assert open_shards(f"{web}/town").fingerprint == open_shards(tmp_path / "town").fingerprint


def test_a_server_that_names_another_place_is_not_followed(web: str, tmp_path: Path) -> None:
    write_shards(tmp_path / "town", batch_of(1))
    with pytest.raises(ArtifactError, match="the server names another place"):
        read_shards(f"{web}/moved")


def test_a_page_that_is_too_long_is_not_read(web: str, tmp_path: Path) -> None:
    write_shards(tmp_path / "town", batch_of(1))
    (tmp_path / "town" / "manifest.json").write_bytes(b" " * (9 << 20))
    with pytest.raises(ArtifactError, match="at most 8388608 bytes are read, got more"):
        open_shards(f"{web}/town")
