"""What audits say, in order and in 80 columns."""

from townlet_trajectory.audit.report import AuditReport, DatasetAudit, FindingList


def audit(found: FindingList, name: str = "town") -> DatasetAudit:
    return DatasetAudit(
        name=name, manifest="m.json", checksums="c.json", captures="folder", sample_count=2, findings=found.all()
    )


def test_the_status_is_that_of_the_worst_finding() -> None:
    found = FindingList()
    assert audit(found).status == "PASS"
    found.info("lengths", "trajectories", "two of 3 steps")
    assert audit(found).status == "PASS"
    found.warn("overlap", "alice", "is twice at tick 3")
    assert audit(found).status == "WARN"
    found.fail("checksum", "alice.npz", "differs")
    assert audit(found).status == "FAIL"


def test_the_document_has_the_names_that_readers_know() -> None:
    found, calm = FindingList(), FindingList()
    found.fail("checksum", "alice.npz", "differs")
    found.info("lengths", "trajectories", "two of 3 steps")
    calm.warn("overlap", "alice", "is twice at tick 3")
    report = AuditReport(path="versions.json", datasets=(audit(found), audit(calm, "calm")))
    document = report.document(timestamp="2026-01-01T00:00:00Z")
    assert document == {
        "versions_path": "versions.json",
        "datasets": [
            {
                "name": "town",
                "status": "FAIL",
                "manifest": "m.json",
                "checksums": "c.json",
                "captures": "folder",
                "findings": ["checksum: alice.npz: differs"],
                "sample_count": 2,
                "details": [
                    {"severity": "FAIL", "code": "checksum", "entry": "alice.npz", "message": "differs"},
                    {"severity": "INFO", "code": "lengths", "entry": "trajectories", "message": "two of 3 steps"},
                ],
            },
            {
                "name": "calm",
                "status": "WARN",
                "manifest": "m.json",
                "checksums": "c.json",
                "captures": "folder",
                "findings": ["overlap: alice: is twice at tick 3"],
                "sample_count": 2,
                "details": [{"severity": "WARN", "code": "overlap", "entry": "alice", "message": "is twice at tick 3"}],
            },
        ],
        "failures": 1,
        "warnings": 1,
        "timestamp": "2026-01-01T00:00:00Z",
    }
    assert [finding.code for finding in report.findings] == ["checksum", "lengths", "overlap"]


def test_the_text_gives_the_worst_first_in_80_columns() -> None:
    found = FindingList()
    found.info("lengths", "trajectories", "two of 3 steps")
    found.warn("overlap", "alice", "word " * 30)
    found.fail("checksum", "alice.npz", "differs")
    lines = AuditReport(path="versions.json", datasets=(audit(found),)).text().splitlines()
    assert lines[0] == "FAIL  town  (2 samples)"
    assert [line[:8] for line in lines[1:]] == ["  FAIL  ", "  WARN  ", "        ", "        ", "  INFO  "]
    assert max(map(len, lines)) <= 80
