"""A whole batch in one npz file, with its schema and a checksum inside.

Members: `lengths`, `agent_ids` (UTF-8, one after the other), `agent_id_ends`, `worlds`, `episodes`, `terminated`,
`truncated` and, where one is not 0, `episode_labels` per trajectory; `rewards`, `ticks`, `observations.NAME`,
`decisions.NAME` per step; `final.NAME` per trajectory; `townlet`, a JSON object with format, version, schema and the
SHA-256 of everything else.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.data.batch import TrajectoryBatch
from townlet_trajectory.data.checks import check_array
from townlet_trajectory.data.ragged import offsets_of
from townlet_trajectory.data.schema import ArraySpec, TrajectorySchema, parse_schema, schema_document
from townlet_trajectory.data.trajectory import LABELS, ROW_SPECS, TRAJECTORY_SPECS
from townlet_trajectory.dataset.source import arrays_digest, arrays_of
from townlet_trajectory.errors import CONTENT_ERRORS, ArtifactError, ManifestError, ShapeError
from townlet_trajectory.storage.files import write_bytes_atomic
from townlet_trajectory.storage.json import Fields, JsonValue, canonical_json, parse_object, readable_json
from townlet_trajectory.storage.npz import MAX_MEMBERS, MAX_NPZ_BYTES, decode_npz, encode_npz
from townlet_trajectory.storage.paths import read_named

BATCH_VERSION = (1, 0)
"""(major, minor) of what is written. A new minor adds members and keys that older readers may leave out."""

_FORMAT = "townlet-batch"
_DOCUMENT = "townlet"
_OVERHEAD = 4 << 20
"""More than the headers of `MAX_MEMBERS` members take."""


def save_batch(path: str | Path, batch: TrajectoryBatch, *, compress: bool = True) -> str:
    """Write `batch` as one npz file, all at once.

    Args:
        path: is replaced if it exists.
        batch: may be empty.
        compress: with DEFLATE (as `np.savez_compressed`) or not.

    Returns:
        SHA-256 (hex) of the content, which the file holds too; `load_batch` can be held to it.

    Raises:
        ArtifactError: if it cannot be written, or takes more than 2 GiB (`write_shards` takes any amount).
    """
    arrays = arrays_of(batch)
    total = sum(array.nbytes for array in arrays.values())
    if total > MAX_NPZ_BYTES - _OVERHEAD or len(arrays) >= MAX_MEMBERS:
        raise ArtifactError(
            path, "encode", f"{len(arrays)} arrays of {total} bytes do not fit into one file: use `write_shards`"
        )
    document: dict[str, JsonValue] = {
        "format": _FORMAT,
        "schema_version": [*BATCH_VERSION],
        **schema_document(batch.schema),
    }
    document["sha256"] = sha256 = arrays_digest(canonical_json(document), arrays)
    header = np.frombuffer(readable_json(document), np.uint8)  # which keeps the order of the columns
    write_bytes_atomic(path, encode_npz({_DOCUMENT: header, **arrays}, compress=compress))
    return sha256


def load_batch(path: str | Path, *, sha256: str | None = None) -> TrajectoryBatch:
    """Read what `save_batch` wrote, and if asked nothing else than what it wrote with the digest `sha256`.

    Raises:
        ArtifactError: if the file is missing, damaged, of a newer major version, or contradicts itself.
        ManifestError: if its content has another digest.
    """
    arrays = decode_npz(read_named(path, max_bytes=MAX_NPZ_BYTES), path, names=None)
    if (header := arrays.pop(_DOCUMENT, None)) is None:
        raise ManifestError(path, "parse", f"not a {_FORMAT}: no member {_DOCUMENT!r}")
    document = parse_object(header.tobytes(), path)
    fields = Fields(document, path, error=ManifestError)
    fields.version(_FORMAT, BATCH_VERSION)
    recorded = fields.text("sha256")
    del document["sha256"]
    if recorded != (actual := arrays_digest(canonical_json(document), arrays)):
        raise ManifestError(path, "verify", f"expected SHA-256 {recorded} of the content, got {actual}")
    if sha256 not in (None, recorded):
        raise ManifestError(path, "verify", f"expected content with the SHA-256 {sha256}, got {recorded}")
    try:
        return batch_of_arrays(parse_schema(fields), arrays)
    except KeyError as error:
        raise ManifestError(path, "parse", f"no member {error}") from error
    except (*CONTENT_ERRORS, UnicodeDecodeError) as error:
        raise ManifestError(path, "parse", f"the members contradict each other: {error}") from error


def batch_of_arrays(schema: TrajectorySchema, arrays: Mapping[str, Any]) -> TrajectoryBatch:
    """Undo `dataset.source.arrays_of`; the batch shares its rows with `arrays`.

    Raises:
        KeyError: if an array of `schema` is missing.
        SchemaError, ShapeError, UnicodeDecodeError: if they are other arrays, or contradict each other.
    """
    lengths, rewards = arrays["lengths"], arrays["rewards"]
    check_array("lengths", lengths, ArraySpec("int64"), lengths.size)
    # In float64, which does not wrap; exact as far as numbers of steps go.
    if lengths.min(initial=1) < 1 or lengths.sum(dtype=np.float64) != rewards.size:
        raise ShapeError(f"`lengths` must be positive and {rewards.size} together")
    return TrajectoryBatch(
        schema=schema,
        offsets=offsets_of(lengths),
        observations={name: arrays[f"observations.{name}"] for name in schema.observations},
        final_observations={name: arrays[f"final.{name}"] for name in schema.observations},
        columns={name: arrays[f"decisions.{name}"] for name in schema.decisions},
        agent_ids=_texts(arrays["agent_ids"], arrays["agent_id_ends"]),
        **{name: arrays[name] for name in (*ROW_SPECS, *TRAJECTORY_SPECS) if name != LABELS or name in arrays},
    )


def _texts(content: NDArray[np.uint8], ends: NDArray[np.int64]) -> NDArray[np.object_]:
    """The strings that were written one after the other into `content`; string i is before `ends[i]`."""
    check_array("agent_ids", content, ArraySpec("uint8"), content.size)
    check_array("agent_id_ends", ends, ArraySpec("int64"), ends.size)
    starts = np.append(0, ends)
    if starts[-1] != len(content) or np.any(starts[1:] < starts[:-1]):
        raise ShapeError(f"`agent_id_ends` must ascend to {len(content)}, got {ends[-4:]}")
    data = content.tobytes()
    texts = np.empty(len(ends), np.object_)
    texts[:] = [data[start:end].decode(errors="surrogatepass") for start, end in pairwise(starts.tolist())]
    return texts
