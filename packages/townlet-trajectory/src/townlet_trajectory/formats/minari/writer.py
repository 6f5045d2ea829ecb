"""Writes datasets of Minari (Farama Foundation), while batches come.

What we write is loaded by `minari.load_dataset` of Minari 0.5: an episode per trajectory, a `Dict` of the observations,
`Discrete` actions where there is a vocabulary, `MultiDiscrete` or `Box` ones where they are arrays. All decision
columns but `action` are in `infos`, row t belonging to action t; agent, world, episode, first tick and label (where
there is one) are attributes of the episode; schema, vocabulary, seeds and policies are under `townlet` in
`metadata.json`, with the SHA-256 of everything. Minari's episodes end: a trajectory that goes on elsewhere is shown as
truncated there, and the attribute `goes_on` says so.

HDF5 is written and read here; Minari is never imported. It would make an environment out of what a file says, follow
links to other files, and read without limits.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from townlet_trajectory.data.batch import TrajectoryBatch
from townlet_trajectory.data.schema import TrajectorySchema, schema_document
from townlet_trajectory.data.trajectory import Array, Trajectory
from townlet_trajectory.dataset.info import DatasetInfo, document_digest
from townlet_trajectory.dataset.source import schema_and_rest
from townlet_trajectory.errors import ArtifactError, OrderError, reason_of
from townlet_trajectory.formats.minari.hdf5 import AGENT_ID, LABEL, EpisodeWriter
from townlet_trajectory.formats.minari.reader import FILE_NAME, METADATA_NAME
from townlet_trajectory.formats.minari.spaces import (
    ACTION,
    SECTION,
    action_space_text,
    looks_like_an_image,
    own_leaves,
    require_actions,
    space_text,
)
from townlet_trajectory.storage.files import filled_directory, make_directory, write_json_atomic
from townlet_trajectory.storage.json import SCHEMA_VERSION, JsonValue
from townlet_trajectory.storage.paths import relative_parts

_ID = re.compile(r"(?:[-_A-Za-z0-9][-_A-Za-z0-9/]*/)?[-_A-Za-z0-9]+-v\d+")
_NAMESPACE_NAME = "namespace_metadata.json"
_MINARI_VERSION = "0.5.0"
_MINARI_VERSION_WITH_RAW_IMAGES = "0.5.4"
"""The first one that reads an image as it was seen; earlier ones must refuse the dataset, since they expect JPEG."""


@dataclass(frozen=True, kw_only=True)
class MinariCredits:
    """What Minari shows of a dataset beside its content. None is left out."""

    description: str | None = None
    author: str | None = None
    author_email: str | None = None
    algorithm_name: str | None = None
    code_permalink: str | None = None

    def document(self) -> dict[str, JsonValue]:
        """The keys of `metadata.json`; authors are lists there."""
        said = {name: value for name, value in asdict(self).items() if value is not None}
        return {name: [value] if name.startswith("author") else value for name, value in said.items()}


class MinariWriter:
    """Takes batches of one agent group; the dataset appears when it is closed, whole. A context manager.

    After an exception in its block nothing is left of it.
    """

    def __init__(
        self,
        root: str | Path,
        dataset_id: str,
        schema: TrajectorySchema,
        *,
        info: DatasetInfo | None = None,
        credits: MinariCredits | None = None,
    ) -> None:
        """Begin a dataset.

        Args:
            root: the folder of all datasets, created where it is missing.
            dataset_id: `NAME-vN` or `NAMESPACE/NAME-vN`, the new dataset's folder below `root`.
            schema: of every batch; has the decision column `action`.
            info: the group, seeds and policies.
            credits: what else Minari shows.

        Raises:
            SchemaError: if there is no column `action`.
            ArtifactError: if the dataset exists, cannot be written, or the id is not of Minari's form.
            MissingExtraError: if the extra `minari` is not installed.
        """
        root = Path(root)
        if not _ID.fullmatch(dataset_id):
            raise ArtifactError(root, "path", f"a dataset's id must be (NAMESPACE/)NAME-vN, got {dataset_id!r}")
        *namespaces, _ = relative_parts(dataset_id, root)
        action_space_text(schema)  # refuses a schema without actions before anything is written
        self.path = root / dataset_id
        self._dataset_id = dataset_id
        self._schema = schema
        self._info = info or DatasetInfo()
        self._credits = credits or MinariCredits()
        self._num_steps = 0
        make_directory(self.path.parent)
        for depth in range(len(namespaces)):
            named = root.joinpath(*namespaces[: depth + 1], _NAMESPACE_NAME)
            if not named.exists():
                write_json_atomic(named, {})
        with ExitStack() as stack:
            self._data = stack.enter_context(filled_directory(self.path)) / "data"
            self._data.mkdir()
            self._episodes = EpisodeWriter(self._data / FILE_NAME)
            stack.callback(self._episodes.close)
            self._stack = stack.pop_all()
        self._is_open = True

    def write(self, batch: TrajectoryBatch) -> None:
        """Add the trajectories of a batch as episodes. Raises `OrderError` after `close`; `SchemaError` if the schema
        differs, or an action is none that there is; `ArtifactError` if they cannot be written; nothing is left of the
        dataset then."""
        if not self._is_open:
            raise OrderError(f"{self.path}: this writer is closed")
        self._schema.require_equal(batch.schema)
        require_actions(batch)
        try:
            for trajectory in batch:
                self._episodes.write(_arrays(trajectory), _attributes(trajectory))
        except OSError as error:
            self._abandon(error)
            raise ArtifactError(self.path, "write", reason_of(error)) from error
        self._num_steps += batch.num_steps

    def close(self) -> Path:
        """Let the dataset appear; nothing happens the second time.

        Returns:
            The new dataset's directory.

        Raises:
            ArtifactError: if it cannot be written; nothing is left of it then.
        """
        if self._is_open:
            self._is_open = False
            with self._stack:
                self._episodes.close()
                write_json_atomic(self._data / METADATA_NAME, self._metadata())
        return self.path

    def __enter__(self) -> MinariWriter:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is None:
            self.close()
        else:
            self._abandon(error)

    def _abandon(self, error: BaseException) -> None:
        if self._is_open:
            self._is_open = False
            with suppress(ArtifactError), self._stack:
                raise error

    def _metadata(self) -> dict[str, JsonValue]:
        schema, num_episodes = self._schema, self._episodes.num_episodes
        size = (self._data / FILE_NAME).stat().st_size
        with open(self._data / FILE_NAME, "rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        section: dict[str, JsonValue] = {
            "schema_version": SCHEMA_VERSION,
            "schema": schema_document(schema),
            "vocabulary_digest": schema.vocabulary_digest,
            "info": self._info.document(),
            "num_trajectories": num_episodes,
            "num_steps": self._num_steps,
            "file": {"sha256": digest, "size": size},
        }
        images = any(looks_like_an_image(spec) for spec in (*schema.observations.values(), schema.decisions[ACTION]))
        return {
            "dataset_id": self._dataset_id,
            "minari_version": _MINARI_VERSION_WITH_RAW_IMAGES if images else _MINARI_VERSION,
            "total_episodes": num_episodes,
            "total_steps": self._num_steps,
            "data_format": "hdf5",
            "jpeg_encoding": False,
            "observation_space": space_text(schema.observations),
            "action_space": action_space_text(schema),
            "dataset_size": round(size / 1e6, 1),
            **self._credits.document(),
            SECTION: {**section, "sha256": document_digest(section)},
        }


def minari_root() -> Path:
    """The folder in which Minari looks for datasets: `MINARI_DATASETS_PATH`, else `~/.minari/datasets`."""
    return Path(os.environ.get("MINARI_DATASETS_PATH") or Path.home() / ".minari" / "datasets")


def to_minari(
    batches: TrajectoryBatch | Iterable[TrajectoryBatch],
    dataset_id: str,
    *,
    root: str | Path | None = None,
    info: DatasetInfo | None = None,
    credits: MinariCredits | None = None,
) -> Path:
    """Write the trajectories of one agent group as a new dataset; one batch at a time is looked at.

    Args:
        batches: at least one; of equal schemas with the decision column `action`.
        dataset_id: `NAME-vN` or `NAMESPACE/NAME-vN`.
        root: the folder of all datasets. None: where Minari looks for them, `minari_root()`.
        info: the group, seeds and policies.
        credits: what else Minari shows.

    Returns:
        The new dataset's directory, `root` / `dataset_id`.

    Raises:
        ArtifactError: if it exists, cannot be written, or the id is not of Minari's form.
        SchemaError: if schemas differ, there is no column `action`, or an action is none that there is.
    """
    schema, rest = schema_and_rest(batches)
    folder = minari_root() if root is None else root
    with MinariWriter(folder, dataset_id, schema, info=info, credits=credits) as writer:
        for batch in rest:
            writer.write(batch)
        return writer.close()


def _arrays(trajectory: Trajectory) -> dict[tuple[str, ...], Array]:
    observations, decisions = own_leaves(trajectory.schema)
    goes_on = not (trajectory.terminated or trajectory.truncated)
    return {
        **{leaf.path: trajectory.observations[name] for name, leaf in observations.items()},
        **{leaf.path: trajectory.columns[name] for name, leaf in decisions.items()},
        (AGENT_ID,): np.frombuffer(json.dumps(trajectory.agent_id).encode(), np.uint8),
        ("rewards",): trajectory.rewards,
        ("terminations",): _flag_at_end(len(trajectory), trajectory.terminated),
        ("truncations",): _flag_at_end(len(trajectory), trajectory.truncated or goes_on),
    }


def _attributes(trajectory: Trajectory) -> dict[str, str | int | bool]:
    return {
        "total_steps": len(trajectory),
        # HDF5 takes neither a NUL nor half of a surrogate pair: JSON's escapes are for them.
        AGENT_ID: json.dumps(trajectory.agent_id)[1:-1],
        "world": trajectory.world,
        "episode": trajectory.episode,
        "first_tick": int(trajectory.ticks[0]),
        "goes_on": not (trajectory.terminated or trajectory.truncated),
        **({LABEL: int(trajectory.episode_label)} if trajectory.episode_label else {}),
    }


def _flag_at_end(length: int, flag: bool) -> Array:
    flags = np.zeros(length, np.bool_)
    flags[-1] = flag
    return flags
