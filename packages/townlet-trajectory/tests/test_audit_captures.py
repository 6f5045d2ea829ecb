"""The catalogue passes as it is; a copy with one thing wrong fails by its name."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from townlet_trajectory.audit.captures import audit_catalogue
from townlet_trajectory.audit.report import AuditReport, Severity
from townlet_trajectory.errors import ArtifactError
from townlet_trajectory.formats.captures.manifest import sample_digest

CATALOGUE = Path(__file__).parent / "data" / "catalogue"
FOLDER = "data/bc_datasets"
VERSIONS = f"{FOLDER}/versions.json"
MANIFEST = f"{FOLDER}/manifests/idle_v1.json"
CHECKSUMS = f"{FOLDER}/checksums/idle_v1.json"
CAPTURES = f"{FOLDER}/captures/idle_v1"
ALICE, BOB = f"{CAPTURES}/idle_alice.npz", f"{CAPTURES}/idle_bob.npz"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return Path(shutil.copytree(CATALOGUE, tmp_path / "catalogue"))


def audit(root: Path) -> AuditReport:
    return audit_catalogue(root / VERSIONS, data_root=root)


def problems(root: Path) -> list[tuple[str, str]]:
    """Codes and entries of what is worse than INFO."""
    return [(f.code, f.entry) for f in audit(root).findings if f.severity is not Severity.INFO]


def change(path: Path, edit: Callable[[object], object]) -> None:
    path.write_text(json.dumps(edit(json.loads(path.read_text()))))


def write_sample(root: Path, name: str, arrays: dict[str, np.ndarray], **description: object) -> None:
    """Replace the files of a sample, and its digests wherever they stand."""
    folder = root / CAPTURES
    np.savez(folder / f"{name}.npz", **arrays)
    change(folder / f"{name}.json", lambda old: {**old, **description})
    digest = sample_digest((folder / f"{name}.npz").read_bytes(), (folder / f"{name}.json").read_bytes())
    change(root / CHECKSUMS, lambda old: {**old, name: {**old[name], "sha256": digest}})
    change(
        root / VERSIONS,
        lambda old: {
            dataset: {**entry, "samples": json.loads((root / CHECKSUMS).read_text())} for dataset, entry in old.items()
        },
    )


def arrays_of(root: Path, name: str) -> dict[str, np.ndarray]:
    with np.load(root / CAPTURES / f"{name}.npz") as npz:
        return {key: npz[key] for key in npz.files}


def test_the_catalogue_passes() -> None:
    report = audit(CATALOGUE)
    assert problems(CATALOGUE) == []
    document = report.document(timestamp="now")
    assert (document["failures"], document["warnings"]) == (0, 0)
    (dataset,) = report.datasets
    assert (dataset.name, dataset.status, dataset.sample_count) == ("idle_v1_production", "PASS", 2)
    assert (dataset.manifest, dataset.checksums, dataset.captures) == (MANIFEST, CHECKSUMS, CAPTURES)
    told = {finding.code: finding.message for finding in report.findings}
    assert told["one-action"] == 'always {"kind": "wait"}: there is nothing to tell'
    assert told["constant-reward"] == "always -0.2"
    assert told["lengths"] == "2 of 200 to 200 steps, median 200"
    assert told["goes-on-after-end"] == "143 of 200 steps follow the first end"
    assert told["constant-features"].startswith("42 of 68 features never change: features.attendance_ratio 0, ")


def test_the_data_root_is_the_working_folder_where_none_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(CATALOGUE)
    assert audit_catalogue(VERSIONS).datasets[0].status == "PASS"


@pytest.mark.parametrize("name", ["idle_alice.npz", "idle_bob.json"])
def test_one_byte_changed(root: Path, name: str) -> None:
    path = root / CAPTURES / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    assert problems(root) == [("checksum", ALICE if "alice" in name else BOB)]
    assert audit(root).datasets[0].status == "FAIL"


@pytest.mark.parametrize("name", ["idle_alice.npz", "idle_bob.json"])
def test_one_file_missing(root: Path, name: str) -> None:
    (root / CAPTURES / name).unlink()
    assert problems(root) == [("sample-missing", ALICE if "alice" in name else BOB)]
    (finding,) = [f for f in audit(root).findings if f.severity is Severity.FAIL]
    assert finding.message == f"{CAPTURES} has no {name}"


def test_a_digest_of_a_sample_that_the_manifest_lacks(root: Path) -> None:
    change(root / MANIFEST, lambda entries: entries[:1])
    assert problems(root) == [
        ("checksum-stale", "idle_bob"),
        ("unlisted-file", f"{CAPTURES}/idle_bob.json"),
        ("unlisted-file", BOB),
    ]


def test_a_sample_without_a_digest(root: Path) -> None:
    change(root / CHECKSUMS, lambda digests: {"idle_alice": digests["idle_alice"]})
    assert problems(root) == [("checksums-differ", "idle_bob"), ("checksum-missing", BOB)]


def test_a_file_that_nothing_lists(root: Path) -> None:
    (root / CAPTURES / "old").mkdir()
    (root / CAPTURES / "old" / "idle_carol.npz").write_bytes(b"")
    assert problems(root) == [("unlisted-file", f"{CAPTURES}/old/idle_carol.npz")]


def test_a_listed_path_where_nothing_is(root: Path) -> None:
    """The audit finds the file by its name; who reads the manifest would not."""
    stale = "moved/away/idle_bob.npz"
    change(root / MANIFEST, lambda entries: [entries[0], {**entries[1], "sample": stale}])
    assert problems(root) == [("stale-path", stale)]


def test_a_listed_path_that_leads_elsewhere(root: Path) -> None:
    other = root / FOLDER / "manifests" / "idle_bob.npz"
    shutil.copy(root / BOB, other)
    change(root / MANIFEST, lambda entries: [entries[0], {**entries[1], "sample": "idle_bob.npz"}])
    assert problems(root) == [("other-path", "idle_bob.npz")]
    assert audit(root).datasets[0].status == "WARN"


@pytest.mark.parametrize(
    ("path", "code", "entry", "message"),
    [
        (MANIFEST, "manifest-missing", MANIFEST, f"Manifest missing: {MANIFEST}"),
        (CHECKSUMS, "checksums-missing", CHECKSUMS, f"Checksum file missing: {CHECKSUMS}"),
        (CAPTURES, "captures-missing", CAPTURES, f"Captures dir missing: {CAPTURES}"),
    ],
)
def test_whole_parts_that_are_missing_are_failures(root: Path, path: str, code: str, entry: str, message: str) -> None:
    """The original turned FAIL into WARN where the captures folder was missing."""
    missing = root / path
    shutil.rmtree(missing) if missing.is_dir() else missing.unlink()
    report = audit(root)
    assert [(f.severity, f.code, f.entry, f.message) for f in report.findings if f.severity is not Severity.INFO] == [
        (Severity.FAIL, code, entry, message)
    ]
    assert report.failures == 1


def test_all_of_it_missing_as_in_the_original(tmp_path: Path) -> None:
    versions = tmp_path / "bad.json"
    versions.write_text(json.dumps({"x": {"manifest": "nope", "checksums": "nope", "captures_dir": "nope"}}))
    (dataset,) = audit_catalogue(versions, data_root=tmp_path).datasets
    assert (dataset.status, dataset.sample_count) == ("FAIL", 0)
    assert [finding.message for finding in dataset.findings] == [
        "Manifest missing: nope",
        "Checksum file missing: nope",
        "Captures dir missing: nope",
    ]


def test_a_missing_catalogue_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"nope\.json: open"):
        audit_catalogue(tmp_path / "nope.json")


@pytest.mark.parametrize("path", ["/etc", "../../../etc"])
@pytest.mark.parametrize("key", ["manifest", "checksums", "captures_dir"])
def test_a_path_that_leaves_the_data_root_fails_its_dataset(root: Path, key: str, path: str) -> None:
    change(root / VERSIONS, lambda old: {**old, "bad": {**old["idle_v1_production"], key: path}})
    assert problems(root) == [("catalogue-entry", "bad")]
    assert [dataset.status for dataset in audit(root).datasets] == ["PASS", "FAIL"]


@pytest.mark.parametrize("path", ["/etc/passwd", "../../../../etc/passwd"])
def test_a_sample_that_leaves_it_is_refused_with_the_entry_named(root: Path, path: str) -> None:
    change(root / MANIFEST, lambda entries: [entries[0], {**entries[1], "sample": path}])
    report = audit(root)
    (finding,) = [f for f in report.findings if f.severity is Severity.FAIL and f.code == "manifest"]
    assert "entry 1" in finding.entry
    assert path in finding.message


@pytest.mark.parametrize("path", [CAPTURES, MANIFEST, CHECKSUMS])
def test_no_symbolic_link_is_followed(root: Path, path: str) -> None:
    (root / path).rename(root / "elsewhere")
    (root / path).symlink_to(root / "elsewhere")
    assert ("symbolic-link", path) in problems(root)


def test_a_sample_that_is_a_symbolic_link(root: Path) -> None:
    (root / ALICE).rename(root / "elsewhere.npz")
    (root / ALICE).symlink_to(root / "elsewhere.npz")
    assert [code for code, _ in problems(root)] == ["sample"]


@pytest.mark.parametrize("path", [MANIFEST, CHECKSUMS])
@pytest.mark.parametrize("content", ["", "3", "{", '{"a": NaN}', "[3]"])
def test_documents_that_are_none(root: Path, path: str, content: str) -> None:
    (root / path).write_text(content)
    codes = {code for code, _ in problems(root)}
    assert ("manifest" if path == MANIFEST else "checksums") in codes


def test_a_sample_that_is_listed_twice(root: Path) -> None:
    change(root / MANIFEST, lambda entries: [*entries, entries[0]])
    assert problems(root) == [("listed-twice", ALICE)]


def test_a_damaged_sample_with_the_right_digest(root: Path) -> None:
    write_sample(root, "idle_bob", {"map": np.zeros(3)})
    assert problems(root) == [("sample", BOB)]


def test_the_same_content_under_two_names(root: Path) -> None:
    write_sample(root, "idle_bob", arrays_of(root, "idle_alice"))
    (finding,) = [f for f in audit(root).findings if f.severity is Severity.WARN]
    assert finding.code == "duplicate-content"
    assert "idle_bob.npz = idle_alice.npz" in finding.message


def test_other_features_than_the_first(root: Path) -> None:
    names = json.loads((root / CAPTURES / "idle_bob.json").read_text())["feature_names"]
    write_sample(root, "idle_bob", arrays_of(root, "idle_bob"), feature_names=names[::-1])
    assert problems(root) == [("features", BOB)]


def test_ids_that_mean_something_else_than_in_the_first(root: Path) -> None:
    lookup = {'{"kind": "chat"}': 0, '{"kind": "wait"}': 1}
    write_sample(root, "idle_bob", arrays_of(root, "idle_bob"), action_lookup=lookup, action_dim=2)
    (finding,) = [f for f in audit(root).findings if f.code == "vocabulary-differs"]
    assert finding.severity is Severity.WARN
    assert finding.message == "ids mean other actions than before in idle_bob.npz"


def test_a_feature_that_is_the_label(root: Path) -> None:
    lookup = {'{"kind": "wait"}': 0, '{"kind": "chat"}': 1, '{"kind": "move"}': 2}
    rng = np.random.default_rng(3)
    for name in ("idle_alice", "idle_bob"):
        arrays = arrays_of(root, name)
        arrays["actions"] = rng.integers(0, 3, 200)
        arrays["features"][:, 3] = arrays["actions"] * 0.25
        write_sample(root, name, arrays, action_lookup=lookup, action_dim=3)
    (finding,) = [f for f in audit(root).findings if f.severity is Severity.WARN]
    assert (finding.code, finding.entry) == ("label-leak", "features.wallet")
    assert "right in 100.0% of 400 rows" in finding.message
    assert "lambda 1.00" in finding.message


def test_metrics_of_the_manifest_that_are_not_those_of_the_file(root: Path) -> None:
    change(
        root / MANIFEST,
        lambda entries: [
            {**entries[0], "metrics": {"timesteps": 199, "reward_sum": -40.1}},
            {**entries[1], "frame_count": 7, "agent_id": "carol"},
        ],
    )
    assert problems(root) == [("metrics", ALICE), ("metrics", ALICE), ("frame-count", BOB), ("agent-id", BOB)]


def test_a_sample_that_is_not_accepted_is_checked_and_not_learned_from(root: Path) -> None:
    change(root / MANIFEST, lambda entries: [{**entry, "accepted": False} for entry in entries])
    assert problems(root) == [("empty", MANIFEST)]
    (root / ALICE).write_bytes(b"")
    assert problems(root) == [("checksum", ALICE), ("empty", MANIFEST)]


def test_a_capture_folder_with_its_manifest_and_metrics_in_it(tmp_path: Path) -> None:
    folder = tmp_path / "kitchen"
    shutil.copytree(Path(__file__).parent / "data" / "kitchen_capture", folder)
    names = sorted(path.stem for path in folder.glob("*.npz"))
    digests = {
        name: {
            "sample": f"kitchen/{name}.npz",
            "meta": f"kitchen/{name}.json",
            "sha256": sample_digest((folder / f"{name}.npz").read_bytes(), (folder / f"{name}.json").read_bytes()),
        }
        for name in names
    }
    (tmp_path / "checksums.json").write_text(json.dumps(digests))
    entry = {
        "manifest": "kitchen/rollout_sample_manifest.json",
        "checksums": "checksums.json",
        "captures_dir": "kitchen",
    }
    (tmp_path / "versions.json").write_text(json.dumps({"kitchen": entry}))
    report = audit_catalogue(tmp_path / "versions.json", data_root=tmp_path)
    assert [finding for finding in report.findings if finding.severity is Severity.FAIL] == []
    assert report.datasets[0].sample_count == 2
