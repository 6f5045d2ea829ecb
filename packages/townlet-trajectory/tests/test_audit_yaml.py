"""A catalogue whose manifest is YAML."""

import json
import shutil
from pathlib import Path

import yaml

from townlet_trajectory.audit.captures import audit_catalogue
from townlet_trajectory.audit.report import Severity

CATALOGUE = Path(__file__).parent / "data" / "catalogue"
FOLDER = Path("data/bc_datasets")


def test_a_yaml_manifest_is_audited_as_a_json_one(tmp_path: Path) -> None:
    root = Path(shutil.copytree(CATALOGUE, tmp_path / "catalogue"))
    manifest, versions = root / FOLDER / "manifests" / "idle_v1.json", root / FOLDER / "versions.json"
    samples = json.loads(manifest.read_text())
    manifest.with_suffix(".yaml").write_text(yaml.safe_dump({"samples": samples}))
    versions.write_text(versions.read_text().replace("manifests/idle_v1.json", "manifests/idle_v1.yaml"))
    assert audit_catalogue(versions, data_root=root).datasets[0].status == "PASS"

    manifest.with_suffix(".yaml").write_text("samples: &a [*a]")
    (finding,) = [f for f in audit_catalogue(versions, data_root=root).findings if f.severity is Severity.FAIL]
    assert finding.code == "manifest"
