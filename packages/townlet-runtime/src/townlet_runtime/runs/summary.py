"""`summary.json`: what a run was and what came of it, in a few numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter

from townlet_runtime.runs.strict_json import (
    EXACT,
    Interval,
    ReportError,
    parse_record,
    read_bytes,
    record_json,
    require_digest,
    require_finite,
    require_interval,
)
from townlet_trajectory.storage.files import write_bytes_atomic

Decision = Literal["PROMOTE", "HOLD", "FAIL"]
_GROUP = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True, kw_only=True)
class RunSummaryFile:
    """`summary.json`: one run in a few numbers. None where the mode has no such stage or the world no such yardstick.

    Returns are those of whole episodes, averaged over agents as the evaluation does it.
    """

    __pydantic_config__ = EXACT

    mode: str
    env: str
    preset: str | None
    seed: int
    threads: int
    env_steps: int
    agent_steps: int
    wall_time_s: float
    env_steps_per_s: float | None
    acting: str
    """`greedy` or `sampled`: how the policy chose while it was evaluated."""
    eval_episodes: int
    eval_return_mean: float | None
    eval_return_iqm: float | None
    eval_return_ci: Interval | None
    scripted_return_mean: float | None
    nearest_return_mean: float | None
    idle_return_mean: float | None
    random_return_mean: float | None
    clone_return_mean: float | None
    improvement_mean: float | None
    """Mean over episodes of learned minus scripted on the same seed."""
    improvement_ci: Interval | None
    improvement_normalized: float | None
    """`improvement_mean` in units of scripted minus idle, or minus random where the world has no idle behavior."""
    promotion: Decision | None
    policy_sha256: str | None
    """Of `policy.onnx`; None where every group has a policy of its own."""
    weights_sha256: str | None
    versions: Mapping[str, str]
    policies_sha256: Mapping[str, str] | None = None
    """Of `policy-GROUP.onnx`, by group; None where there is one group."""
    controller: str | None = None
    """What played the script, as it was named; None: the world's own, or nobody."""

    def __post_init__(self) -> None:
        name = "RunSummaryFile"
        require_finite(name, **vars(self))
        for key, count in (
            ("threads", self.threads),
            ("env_steps", self.env_steps),
            ("agent_steps", self.agent_steps),
            ("wall_time_s", self.wall_time_s),
            ("eval_episodes", self.eval_episodes),
        ):
            if count < 0:
                raise ReportError(name, key=key, expected="a number >= 0", came=repr(count))
        require_interval(name, "eval_return_ci", self.eval_return_ci)
        require_interval(name, "improvement_ci", self.improvement_ci)
        require_digest(name, "policy_sha256", self.policy_sha256)
        require_digest(name, "weights_sha256", self.weights_sha256)
        for group, digest in (self.policies_sha256 or {}).items():
            if _GROUP.fullmatch(group) is None:
                expected = "names that can be part of a file name"
                raise ReportError(name, key="policies_sha256", expected=expected, came=repr(group)[:80])
            require_digest(name, f"policies_sha256.{group}", digest)

    def to_json(self) -> str:
        """Return the text of the file, keys in the order of the fields."""
        return record_json(self)

    def write(self, path: Path) -> None:
        """Replace `path` by this record, atomically."""
        write_bytes_atomic(path, self.to_json().encode())

    @classmethod
    def read(cls, path: Path) -> RunSummaryFile:
        """Return the record in `path`; `ReportError` names the file, the key, what was expected and what came."""
        return parse_record(_SUMMARY, read_bytes(path), file=path)


_SUMMARY = TypeAdapter(RunSummaryFile)
