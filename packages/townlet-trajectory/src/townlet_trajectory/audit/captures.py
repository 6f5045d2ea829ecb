"""Is a catalogue of classic datasets what it says: every file there, unchanged, listed once, and worth its place?"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from townlet_trajectory.audit.content import ContentAudit, ContentRows, Label, report_lengths
from townlet_trajectory.audit.report import AuditReport, DatasetAudit, FindingList
from townlet_trajectory.data.schema import Kind
from townlet_trajectory.errors import ArtifactError, SchemaError
from townlet_trajectory.formats.captures.manifest import (
    CaptureEntry,
    CaptureManifest,
    CatalogueEntry,
    SampleChecksum,
    catalogue_entry,
    read_capture_manifest,
    read_catalogue,
    read_checksums,
    sample_digest,
)
from townlet_trajectory.formats.captures.sample import ReplaySample, decode_sample
from townlet_trajectory.storage.json import MAX_JSON_BYTES, JsonValue
from townlet_trajectory.storage.npz import MAX_NPZ_BYTES
from townlet_trajectory.storage.paths import read_below

REWARD_SUM_TOLERANCE = 1e-4
"""Greatest difference, relative to the sum of magnitudes, between a listed sum of rewards and that of the file."""


def audit_catalogue(versions: str | Path, *, data_root: str | Path = ".") -> AuditReport:
    """Audit every dataset of a catalogue; one sample is in memory at a time.

    Args:
        versions: the file.
        data_root: the folder that paths in the catalogue are relative to. Samples are looked up by their file names in
            the `captures_dir` of their dataset.

    Raises:
        ArtifactError: if the catalogue itself is missing or is no JSON object. Everything else is a finding.
        MissingExtraError: if a manifest is YAML, and the extra `yaml` is not installed.
    """
    datasets = [
        _audit_dataset(versions, name, value, Path(data_root)) for name, value in read_catalogue(versions).items()
    ]
    return AuditReport(path=str(versions), datasets=tuple(datasets))


def _audit_dataset(versions: str | Path, name: str, value: JsonValue, root: Path) -> DatasetAudit:
    try:
        entry = catalogue_entry(versions, name, value)
    except ArtifactError as error:
        found = FindingList()
        found.fail("catalogue-entry", name, error.reason)
        return DatasetAudit(name=name, manifest="", checksums="", captures="", sample_count=0, findings=found.all())
    audit = _CaptureAudit(entry, root)
    audit.run()
    return DatasetAudit(
        name=name,
        manifest=entry.manifest,
        checksums=entry.checksums,
        captures=entry.captures_dir,
        sample_count=audit.sample_count,
        findings=audit.found.all(),
    )


class _CaptureAudit:
    """The audit of one dataset: what is listed, what is there, and what is in it."""

    def __init__(self, entry: CatalogueEntry, root: Path) -> None:
        self.found = FindingList()
        self.sample_count = 0
        self._entry = entry
        self._root = root
        self._captures = root / entry.captures_dir
        self._content: ContentAudit | None = None
        self._feature_names: tuple[str, ...] = ()
        self._audited: list[str] = []
        self._lengths: list[int] = []

    def run(self) -> None:
        manifest, checksums, names = self._manifest(), self._checksums(), self._names()
        if manifest is None:
            return
        self.sample_count = len(manifest.entries)
        if names is None:
            return
        listed: set[str] = set()
        by_file = {_file_name(checksum.sample): checksum for checksum in (checksums or {}).values()}
        for captured in manifest.entries:
            npz = _file_name(captured.sample)
            if npz in listed:
                self.found.warn("listed-twice", captured.sample, "the manifest lists it twice")
                continue
            listed |= {npz, _file_name(captured.meta)}
            if checksums is not None and npz not in by_file:
                self.found.fail("checksum-missing", captured.sample, f"{self._entry.checksums} has no digest of it")
            self._sample(captured, names, by_file.get(npz))
        self._stale(checksums or {}, names, listed)
        self._content_findings(manifest)

    def _manifest(self) -> CaptureManifest | None:
        name = self._entry.manifest
        if not self._is_there("manifest-missing", "Manifest missing", name):
            return None
        try:
            return read_capture_manifest(self._root / name, data_root=self._root)
        except ArtifactError as error:
            self.found.fail("manifest", str(error.path), error.reason)
            return None

    def _checksums(self) -> dict[str, SampleChecksum] | None:
        name = self._entry.checksums
        if not self._is_there("checksums-missing", "Checksum file missing", name):
            return None
        try:
            checksums = read_checksums(self._root, name, origin=self._entry.name)
        except ArtifactError as error:
            self.found.fail("checksums", str(error.path), error.reason)
            return None
        for sample, repeated in self._entry.samples.items():
            if checksums.get(sample) != repeated:
                self.found.fail("checksums-differ", sample, f"the catalogue and {name} do not say the same of it")
        return checksums

    def _names(self) -> frozenset[str] | None:
        """The files of the captures folder, relative to it."""
        if not self._is_there("captures-missing", "Captures dir missing", self._entry.captures_dir):
            return None
        if not self._captures.is_dir():
            self.found.fail("captures-missing", self._entry.captures_dir, "Captures dir missing: it is not a folder")
            return None
        return frozenset(
            Path(folder, name).relative_to(self._captures).as_posix()
            for folder, _, names in os.walk(self._captures)
            for name in names
        )

    def _is_there(self, code: str, missing: str, name: str) -> bool:
        """Whether something of that name is below the data root, and no symbolic link leads to it."""
        path = self._root
        for part in name.split("/"):
            path = path / part
            if path.is_symlink():
                self.found.fail("symbolic-link", name, f"{path} is a symbolic link, none is followed")
                return False
        if not path.exists():
            self.found.fail(code, name, f"{missing}: {name}")
        return path.exists()

    def _sample(self, captured: CaptureEntry, names: frozenset[str], checksum: SampleChecksum | None) -> None:
        files = [_file_name(captured.sample), _file_name(captured.meta)]
        if missing := [name for name in files if name not in names]:
            for name in missing:
                self.found.fail("sample-missing", captured.sample, f"{self._entry.captures_dir} has no {name}")
            return
        self._listed_path(captured, self._captures / files[0])
        limits = zip(files, (MAX_NPZ_BYTES, MAX_JSON_BYTES), strict=True)
        try:
            npz, meta = (
                read_below(self._captures, name, max_bytes=limit, origin=captured.sample) for name, limit in limits
            )
            if not self._digest_is_right(sample_digest(npz, meta), captured, checksum):
                return
            npz_path, meta_path = (self._captures / name for name in files)
            sample = decode_sample(npz, meta, npz_path=npz_path, description_path=meta_path)
        except ArtifactError as error:
            self.found.fail("sample", captured.sample, f"{error.path}: {error.reason}")
            return
        self._check_listing(captured, sample)
        if captured.accepted:
            self._take(captured.sample, sample)

    def _listed_path(self, captured: CaptureEntry, audited: Path) -> None:
        """Readers of the manifest open the listed path; the audit, the file of that name in the captures folder."""
        places = [folder / captured.sample for folder in captured.roots if (folder / captured.sample).exists()]
        folder = self._entry.captures_dir
        if not places:
            self.found.fail("stale-path", captured.sample, f"nothing is there; {folder} has {audited.name}")
        elif not places[0].samefile(audited):
            self.found.warn("other-path", captured.sample, f"{places[0]} is not the file in {folder}")

    def _digest_is_right(self, digest: str, captured: CaptureEntry, checksum: SampleChecksum | None) -> bool:
        listed = None if checksum is None else checksum.sha256
        expected = {self._entry.checksums: listed, self._entry.manifest: captured.sha256}
        wrong = {source: sha256 for source, sha256 in expected.items() if sha256 not in (None, digest)}
        for source, sha256 in wrong.items():
            self.found.fail("checksum", captured.sample, f"expected SHA-256 {sha256} ({source}), got {digest}")
        return not wrong

    def _check_listing(self, captured: CaptureEntry, sample: ReplaySample) -> None:
        """Compare what the manifest says of a sample, beside where it is, with the sample."""
        rewards, listed, length = sample.rewards.astype(np.float64), captured.sample, len(sample)
        metrics = captured.metrics or {}
        total, slack = float(rewards.sum()), REWARD_SUM_TOLERANCE * float(np.abs(rewards).sum())
        agent_id, reward_sum = sample.metadata.get("agent_id"), metrics.get("reward_sum")
        if captured.frame_count not in (None, length):
            self.found.fail("frame-count", listed, f"`frame_count` is {captured.frame_count}, not {length}")
        if captured.agent_id not in (None, agent_id):
            self.found.fail("agent-id", listed, f"`agent_id` is {agent_id!r} in {_file_name(captured.meta)}")
        if metrics.get("timesteps") not in (None, length):
            self.found.warn("metrics", listed, f"`timesteps` is {metrics['timesteps']}, not {length}")
        if isinstance(reward_sum, int | float) and abs(reward_sum - total) > slack:
            self.found.warn("metrics", listed, f"`reward_sum` is {reward_sum}, not {total:g}")
        ended = np.flatnonzero(sample.dones[:-1])
        if len(ended):
            message = f"{length - 1 - int(ended[0])} of {length} steps follow the first end"
            self.found.info("goes-on-after-end", listed, message)

    def _take(self, listed: str, sample: ReplaySample) -> None:
        """Hand a sample on to the audit of contents."""
        if self._content is None:
            self._feature_names = sample.feature_names
            self._content = ContentAudit(element_names={"features": sample.feature_names})
        if sample.feature_names != self._feature_names:
            self.found.fail("features", listed, f"its feature names are not those of {self._audited[0]}")
            return
        try:
            self._content.add(_rows(sample))
        except SchemaError as error:
            self.found.fail("schema", listed, str(error))
            return
        self._audited.append(_file_name(listed))
        self._lengths.append(len(sample))

    def _stale(self, checksums: Mapping[str, SampleChecksum], names: frozenset[str], listed: set[str]) -> None:
        """What is there or has a digest, and is in no manifest."""
        for sample, checksum in checksums.items():
            if _file_name(checksum.sample) not in listed:
                self.found.fail("checksum-stale", sample, f"{self._entry.manifest} does not list {checksum.sample}")
        manifest = self._root / self._entry.manifest
        beside = {manifest, self._root / self._entry.checksums}
        beside.add(manifest.with_name(manifest.name.replace("_manifest.", "_metrics.")))
        for name in sorted(names - listed):
            if self._captures / name not in beside:
                self.found.fail("unlisted-file", f"{self._entry.captures_dir}/{name}", "no manifest lists it")

    def _content_findings(self, manifest: CaptureManifest) -> None:
        if rejected := len(manifest.entries) - len(manifest.accepted):
            self.found.info("rejected", self._entry.manifest, f"{rejected} samples are not accepted")
        if not manifest.accepted:
            self.found.warn("empty", self._entry.manifest, "no sample is accepted")
        if self._content is not None and self._lengths:
            self._content.report(self.found, self._audited.__getitem__)
            report_lengths(self.found, np.array(self._lengths, np.float64))


def _rows(sample: ReplaySample) -> ContentRows:
    columns = {} if sample.trajectory is None else sample.trajectory.columns
    return ContentRows(
        observations={"map": sample.map, "features": sample.features},
        rewards=sample.rewards,
        actions=sample.actions,
        labels={"action": Label(sample.actions, sample.vocabulary)},
        forced=columns["kind"] == Kind.FORCED if "kind" in columns else np.zeros(len(sample), np.bool_),
        offsets=np.array([0, len(sample)], np.int64),
    )


def _file_name(path: str) -> str:
    return path.rsplit("/", maxsplit=1)[-1]
