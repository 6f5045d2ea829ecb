"""The kinds of file that need the extras: shards, YAML manifests, datasets of Minari. See `fault_formats`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import yaml
from fault_damage import Files
from fault_formats import Format, batch_digest, digest_of, make_batch, write_original

from townlet_trajectory.dataset.info import DatasetInfo
from townlet_trajectory.errors import ArtifactError
from townlet_trajectory.formats.captures.manifest import read_capture_manifest
from townlet_trajectory.formats.minari.reader import MinariReader, from_minari
from townlet_trajectory.formats.minari.writer import to_minari
from townlet_trajectory.formats.shards.reader import ShardReader
from townlet_trajectory.formats.shards.writer import write_shards
from townlet_trajectory.storage.json import canonical_json, parse_object

MANIFEST = "rollout_sample_manifest.json"


def _write_shards(compression: str) -> Callable[[Path, int], None]:
    def write(folder: Path, seed: int) -> None:
        info = DatasetInfo(seeds={"world": seed}, policies={"actor": f"{seed:064x}"}, notes={"of": [seed, "ü"]})
        write_shards(folder, make_batch(seed), info=info, compression=compression, rows_per_shard=2)

    return write


def shards_digest(folder: Path) -> object:
    reader = ShardReader(folder)
    manifest = reader.manifest
    return digest_of(
        *(manifest.info.document(), manifest.compression, repr(manifest.schema)),
        [batch_digest(reader.load_block(block)) for block in range(len(manifest.shards))],
        *(reader.table.lengths, reader.table.agent_ids, reader.table.first_ticks),
    )


def sealed_shards(found: Files) -> Files:
    """Give the manifest the digests of the files that are there, and its own."""
    try:
        document = parse_object(found.get("manifest.json", b""), "manifest.json")
    except ArtifactError:
        return found
    shards = document.get("shards")
    for shard in shards if isinstance(shards, list) else ():
        listed = shard.get("files") if isinstance(shard, dict) else None
        for name, entry in listed.items() if isinstance(listed, dict) else ():
            if name in found and isinstance(entry, dict):
                entry.update(sha256=hashlib.sha256(found[name]).hexdigest(), size=len(found[name]))
    document.pop("sha256", None)
    document["sha256"] = hashlib.sha256(canonical_json(document)).hexdigest()
    return {**found, "manifest.json": json.dumps(document).encode()}


def _write_yaml(folder: Path, seed: int) -> None:
    """A manifest of the original's kind in YAML: it has no checksum."""
    write_original(folder, seed)
    document = json.loads((folder / MANIFEST).read_bytes())
    document["metadata"] = {"scenario_name": "kitchen: morning", "seed": seed, "ticks": 40, "policy_hash": None}
    (folder / "m.yaml").write_text(yaml.safe_dump(document, default_flow_style=None))
    (folder / MANIFEST).unlink()


def yaml_digest(folder: Path) -> object:
    manifest = read_capture_manifest(folder / "m.yaml")
    return digest_of(dict(manifest.metadata), [repr(entry) for entry in manifest.entries])


def _told_by_yaml(folder: Path) -> object:
    """What PyYAML's own loader makes of it, through the same record."""
    document = yaml.load((folder / "m.yaml").read_bytes().decode(), Loader=yaml.CSafeLoader)
    manifest = read_capture_manifest(folder / "m.yaml")
    metadata = document.get("metadata", {})
    assert list(metadata) == list(manifest.metadata)
    assert all(str(metadata[key]) == str(value) for key, value in manifest.metadata.items())
    assert [entry["sample"] if isinstance(entry, dict) else entry for entry in document["samples"]] == [
        entry.sample for entry in manifest.entries
    ]
    return yaml_digest(folder)


def write_minari(folder: Path, seed: int) -> None:
    to_minari(make_batch(seed), "town-v0", root=folder)


def minari_digest(folder: Path) -> object:
    with MinariReader(folder / "town-v0") as reader:
        return digest_of(reader.info.document(), batch_digest(reader.load()))


def sealed_minari(found: Files) -> Files:
    name, file = "town-v0/data/metadata.json", found.get("town-v0/data/main_data.hdf5")
    try:
        document = parse_object(found.get(name, b""), name)
    except ArtifactError:
        return found
    section = document.get("townlet")
    if not isinstance(section, dict) or file is None:
        return found
    section["file"] = {"sha256": hashlib.sha256(file).hexdigest(), "size": len(file)}
    section.pop("sha256", None)
    section["sha256"] = hashlib.sha256(canonical_json(section)).hexdigest()
    return {**found, name: json.dumps(document).encode()}


def write_foreign_minari(folder: Path, seed: int) -> None:
    """As somebody else's: no section of ours, no checksum."""
    write_minari(folder, seed)
    path = folder / "town-v0" / "data" / "metadata.json"
    document = json.loads(path.read_bytes())
    del document["townlet"]
    path.write_text(json.dumps(document))


def foreign_minari_digest(folder: Path) -> object:
    return batch_digest(from_minari(folder / "town-v0"))


FORMATS_OF_EXTRAS: tuple[Format, ...] = (
    Format(name="shards, lz4", write=_write_shards("lz4"), read=shards_digest),
    Format(name="shards, zstd", write=_write_shards("zstd"), read=shards_digest, share=0.2),
    Format(name="shards, not compressed", write=_write_shards("none"), read=shards_digest, share=0.2),
    Format(
        name="shards, signed anew", write=_write_shards("none"), read=shards_digest, sealed=sealed_shards, share=0.2
    ),
    Format(
        name="shards, lz4, signed anew", write=_write_shards("lz4"), read=shards_digest, sealed=sealed_shards, share=0.2
    ),
    Format(name="yaml", write=_write_yaml, read=yaml_digest, names=("m.yaml",), told=_told_by_yaml),
    Format(name="minari", write=write_minari, read=minari_digest, names=("town-v0/data/*",)),
    Format(
        name="minari, signed anew",
        write=write_minari,
        read=minari_digest,
        names=("town-v0/data/*",),
        sealed=sealed_minari,
        share=0.1,
        unguarded=True,
    ),
    Format(
        name="minari of others",
        write=write_foreign_minari,
        read=foreign_minari_digest,
        names=("town-v0/data/*",),
        sealed=lambda found: found,
        share=0.2,
        unguarded=True,
    ),
)
