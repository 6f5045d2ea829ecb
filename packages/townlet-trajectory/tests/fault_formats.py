"""Every kind of file that this package reads: how to make a small one, and what its content is."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from fault_damage import Files
from strategies import FEATURE_NAMES, VOCABULARY, make_trajectory

from townlet_trajectory import ArtifactError, TrajectoryBatch
from townlet_trajectory.formats.batch_file import load_batch, save_batch
from townlet_trajectory.formats.captures.directory import (
    CaptureInfo,
    UnnamedActionsWarning,
    read_captures,
    read_metrics,
    write_captures,
)
from townlet_trajectory.formats.captures.sample import CaptureLayout, ReplaySample
from townlet_trajectory.formats.captures.source import CaptureSource
from townlet_trajectory.storage import files
from townlet_trajectory.storage.json import JsonValue, canonical_json, parse_object
from townlet_trajectory.storage.manifest import read_directory, write_directory
from townlet_trajectory.storage.npz import decode_npz, encode_npz
from townlet_trajectory.storage.paths import read_named

DATA = Path(__file__).parent / "data"
LAYOUT = CaptureLayout(feature_names=FEATURE_NAMES, map_channels=("self", "agents"), action_texts=VOCABULARY)
INFO = CaptureInfo(
    config_path="kitchen.yaml",
    config_id="kitchen",
    scenario_name="kitchen",
    scenario_description=None,
    ticks=10,
    seed=4242,
    policy_hash=None,
    capture_timestamp="2026-01-01T00:00:00+00:00",
)


@dataclass(frozen=True, kw_only=True)
class Format:
    """A kind of file."""

    name: str
    write: Callable[[Path, int], None]
    """Into an empty folder; the content follows from the seed."""
    read: Callable[[Path], object]
    """The content, equal for equal content; `ArtifactError` where it cannot be trusted."""
    names: Sequence[str] = ("*",)
    """Patterns of the files that belong to it."""
    told: Callable[[Path], object] | None = None
    """For files without a checksum: what the bytes say, read by other code. None: a change must be noticed."""
    sealed: Callable[[Files], Files] | None = None
    """Signs the files anew, as somebody who means harm would; then any content may be read, but nothing else happen."""
    share: float = 1.0
    """Of the cases of `tests-faults`: less where the files are as those of another kind, or reading them takes long."""
    unguarded: bool = False
    """Whether a library that damage can crash sees the files without a digest that would stop them."""


def files_of(folder: Path) -> Files:
    """Everything in a folder and below."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def make_batch(seed: int) -> TrajectoryBatch:
    return TrajectoryBatch.from_trajectories(
        [
            make_trajectory(seed, 2, first_tick=5, terminated=True),
            make_trajectory(seed + 2, 1, agent_id="bob/../x", world=1, truncated=True),
        ]
    )


def digest_of(*parts: object) -> str:
    """SHA-256 of arrays with their dtypes and shapes, of JSON values, and of mappings of both, in their order."""
    digest = hashlib.sha256()
    _feed(digest.update, parts)
    return digest.hexdigest()


def _feed(update: Callable[[bytes], None], part: object) -> None:
    if isinstance(part, np.ndarray) and part.dtype != np.object_:
        update(f"{part.dtype}{part.shape}".encode())
        update(part.tobytes())
    elif isinstance(part, dict):
        for name, value in part.items():
            update(f"{name!r}:".encode())
            _feed(update, value)
    elif isinstance(part, list | tuple | np.ndarray):
        update(f"[{len(part)}]".encode())
        for value in part:
            _feed(update, value)
    elif isinstance(part, bytes):
        update(part)
    else:
        update(repr(part).encode())


def batch_digest(batch: TrajectoryBatch) -> str:
    return digest_of(
        *(repr(batch.schema), batch.offsets, dict(batch.observations), dict(batch.final_observations)),
        *(dict(batch.columns), batch.rewards, batch.ticks, batch.terminated, batch.truncated),
        *([str(agent) for agent in batch.agent_ids], batch.worlds, batch.episodes),
    )


def _sample_digest(sample: ReplaySample) -> str:
    own = batch_digest(TrajectoryBatch.from_trajectories([sample.trajectory])) if sample.trajectory else None
    return digest_of(sample.arrays(), sample.metadata, sample.feature_names, sample.vocabulary, own)


def write_capture(folder: Path, seed: int) -> None:
    batch = make_batch(seed)
    values = np.arange(len(batch), dtype=np.float32) + seed
    write_captures(folder, batch, final_values=values, layout=LAYOUT, info=INFO)


def capture_digest(folder: Path) -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnnamedActionsWarning)
        capture = read_captures(folder / "rollout_sample_manifest.json")
    return digest_of(dict(capture.metadata), [_sample_digest(sample) for sample in capture.samples])


def sealed_capture(found: Files) -> Files:
    """Give the digests of samples and manifest their right values again, as far as the files still can be read."""
    sealed = dict(found)
    manifest_name = "rollout_sample_manifest.json"
    for name in found:
        description = _object(sealed.get(name.replace(".npz", ".json"), b""))
        if name.endswith(".npz") and isinstance(description.get("townlet"), dict):
            section = {key: value for key, value in description["townlet"].items() if key != "sha256"}
            body = canonical_json({**description, "townlet": section})
            section["sha256"] = hashlib.sha256(sealed[name] + body).hexdigest()
            sealed[name.replace(".npz", ".json")] = json.dumps({**description, "townlet": section}).encode()
    manifest = _object(sealed.get(manifest_name, b""))
    entries = manifest.get("samples")
    for entry in entries if isinstance(entries, list) else ():
        pair = [sealed.get(str(entry.get(key))) for key in ("sample", "meta")] if isinstance(entry, dict) else [None]
        if None not in pair:
            entry["sha256"] = hashlib.sha256(b"".join(pair)).hexdigest()
    if manifest:
        manifest.pop("sha256", None)
        manifest["sha256"] = hashlib.sha256(canonical_json(manifest)).hexdigest()
        sealed[manifest_name] = json.dumps(manifest).encode()
    return sealed


def _object(data: bytes) -> dict[str, JsonValue]:
    """What a digest can be taken of; empty where there is no such thing."""
    try:
        return parse_object(data, "f")
    except ArtifactError:
        return {}


def write_original(folder: Path, seed: int) -> None:
    """A sample as the original wrote them, with the manifest beside it; the arrays differ with the seed."""
    source = DATA / "observation_hybrid_sample_conflict_low"
    with np.load(source.with_suffix(".npz")) as loaded:
        arrays = {name: loaded[name] for name in loaded.files}
    arrays["rewards"] = arrays["rewards"] + np.float32(seed)
    np.savez_compressed(folder / "sample.npz", **arrays)
    (folder / "sample.json").write_bytes(source.with_suffix(".json").read_bytes())
    (folder / "rollout_sample_manifest.json").write_text('{"samples": [{"sample": "sample.npz", "frame_count": 2}]}')


def _told_by_original(folder: Path) -> object:
    """What the description says; the arrays must be what they were."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnnamedActionsWarning)
        (sample,) = read_captures(folder / "rollout_sample_manifest.json").samples
    metadata = json.loads((folder / "sample.json").read_bytes())
    assert metadata == sample.metadata and list(sample.feature_names) == metadata["feature_names"]
    with np.load(folder / "sample.npz") as arrays:
        for name, array in sample.arrays().items():
            np.testing.assert_array_equal(array, arrays[name], strict=True)
    return capture_digest(folder)


def write_original_that_goes_on(folder: Path, seed: int) -> None:
    """A sample of the original that goes on after its end; the rewards differ with the seed."""
    source = DATA / "observation_hybrid_sample_conflict_low"
    with np.load(source.with_suffix(".npz")) as loaded:
        arrays = {name: np.repeat(loaded[name], 4, axis=0)[:8] for name in loaded.files}
    arrays["dones"] = np.isin(np.arange(8), [2, 3, 7])
    arrays["rewards"] = arrays["rewards"] + np.float32(seed)
    np.savez_compressed(folder / "sample.npz", **arrays)
    description = json.loads(source.with_suffix(".json").read_bytes())
    said = {"timesteps": 8, "agent_id": "alice#1", "action_lookup": {"{}": 0}, "action_dim": 2, "tags": ["night"]}
    (folder / "sample.json").write_text(json.dumps({**description, **said}))
    (folder / "rollout_sample_manifest.json").write_text('["sample.npz"]')


def dataset_digest(folder: Path) -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        source = CaptureSource(folder / "rollout_sample_manifest.json")
    return digest_of(*(batch_digest(source.load_block(block)) for block in range(len(source.block_offsets) - 1)))


def _told_by_dataset(folder: Path) -> object:
    """The steps of each piece are those of the arrays, whatever the descriptions say."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        source = CaptureSource(folder / "rollout_sample_manifest.json")
    with np.load(folder / "sample.npz") as arrays:
        steps = np.flatnonzero(np.append(False, ~arrays["dones"][:-1]))
        np.testing.assert_array_equal(source.load_block(0).rewards, arrays["rewards"][steps])
        np.testing.assert_array_equal(source.load_block(0).observations["map"], arrays["map"][steps - 1])
    return dataset_digest(folder)


def _write_metrics(folder: Path, seed: int) -> None:
    write_capture(folder, seed)
    for path in folder.iterdir():
        if path.name != "rollout_sample_metrics.json":
            path.unlink()


def _write_manifest(folder: Path, seed: int) -> None:
    write_directory(folder / "d", {"a.bin": bytes([seed % 256]) * 40, "b.json": b"{}\n", "empty": b""})


def sealed_manifest(found: Files) -> Files:
    document = _object(found.get("d/manifest.json", b""))
    for name, entry in (document.get("files") or {}).items() if isinstance(document.get("files"), dict) else ():
        content = found.get(f"d/{name}")
        if content is not None and isinstance(entry, dict):
            entry.update(sha256=hashlib.sha256(content).hexdigest(), size=len(content))
    document.pop("sha256", None)
    document["sha256"] = hashlib.sha256(canonical_json(document)).hexdigest()
    return {**found, "d/manifest.json": json.dumps(document).encode()}


def _write_log(folder: Path, seed: int) -> None:
    for number in range(4):
        files.append_json_line(folder / "log.jsonl", {"epoch": number, "loss": seed / 7, "mode": "ü", "n": None})


def _told_by_log(folder: Path) -> object:
    lines = (folder / "log.jsonl").read_bytes().split(b"\n")[:-1]
    return digest_of([json.loads(line.decode()) for line in lines])


_NPZ_NAMES = frozenset({"x", "decisions.kind", "done", "scalar", "none"})


def _npz_arrays(seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "x": rng.standard_normal((5, 4)).astype(np.float32),
        "decisions.kind": rng.integers(0, 3, 20).astype(np.int8),
        "done": rng.random(9) < 0.5,
        "scalar": np.array(rng.random()),
        "none": np.zeros((0, 3), np.int64),
    }


def _npz_digest(folder: Path) -> object:
    path = folder / "x.npz"
    arrays = decode_npz(read_named(path, max_bytes=1 << 20), path, names=_NPZ_NAMES)
    return digest_of({name: arrays[name] for name in sorted(arrays)})


FORMATS: tuple[Format, ...] = (
    Format(name="capture", write=write_capture, read=capture_digest, names=("*_manifest.json", "*_0*")),
    Format(
        name="capture, signed anew",
        write=write_capture,
        read=capture_digest,
        names=("*_manifest.json", "*_0*"),
        sealed=sealed_capture,
        share=0.2,
    ),
    Format(name="original's npz", write=write_original, read=capture_digest, names=("sample.npz",)),
    Format(
        name="original's json",
        write=write_original,
        read=capture_digest,
        names=("sample.json", "*manifest.json"),
        told=_told_by_original,
    ),
    Format(
        name="original's npz, a dataset",
        write=write_original_that_goes_on,
        read=dataset_digest,
        names=("sample.npz",),
        share=0.2,
    ),
    Format(
        name="original's json, a dataset",
        write=write_original_that_goes_on,
        read=dataset_digest,
        names=("sample.json", "*manifest.json"),
        told=_told_by_dataset,
        share=0.2,
    ),
    Format(
        name="metrics",
        write=_write_metrics,
        read=lambda folder: digest_of(read_metrics(folder / "rollout_sample_metrics.json")),
    ),
    Format(name="manifest", write=_write_manifest, read=lambda folder: digest_of(read_directory(folder / "d"))),
    Format(
        name="manifest, signed anew",
        write=_write_manifest,
        read=lambda folder: digest_of(read_directory(folder / "d")),
        sealed=sealed_manifest,
        share=0.2,
    ),
    Format(
        name="log",
        write=_write_log,
        read=lambda folder: digest_of(files.read_json_lines(folder / "log.jsonl")),
        told=_told_by_log,
    ),
    Format(
        name="batch",
        write=lambda folder, seed: save_batch(folder / "b.npz", make_batch(seed)),
        read=lambda folder: batch_digest(load_batch(folder / "b.npz")),
    ),
    Format(
        name="batch, not compressed",
        write=lambda folder, seed: save_batch(folder / "b.npz", make_batch(seed), compress=False),
        read=lambda folder: batch_digest(load_batch(folder / "b.npz")),
    ),
    Format(
        name="npz",
        write=lambda folder, seed: files.write_bytes_atomic(folder / "x.npz", encode_npz(_npz_arrays(seed))),
        read=_npz_digest,
    ),
    Format(
        name="npz, not compressed",
        write=lambda folder, seed: np.savez(folder / "x.npz", **_npz_arrays(seed)),
        read=_npz_digest,
    ),
)
"""What needs numpy alone."""
