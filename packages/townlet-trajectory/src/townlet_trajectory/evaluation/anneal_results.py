"""The stages of a schedule as `anneal_results.json` lists them, the flags that they raise, and their overall status."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TypeAlias

from townlet_trajectory.errors import ManifestError
from townlet_trajectory.storage.json import Fields, JsonValue

StageResult: TypeAlias = Mapping[str, int | float | str | bool | None]
"""One stage. Of mode `bc`: `cycle mode accuracy loss threshold passed bc_weight`, and `rolled_back` where it failed; of
mode `ppo`: `cycle mode bc_weight` and the keys of the last line that it wrote to the log."""

LOSS_TOLERANCE = 0.10
"""A loss that is higher than its baseline by more than this share of it raises a flag."""
FALL_TOLERANCE = 0.15
"""Queue conflicts, or their intensity, that are fewer than the baseline by more than this share raise a flag."""
_LEAST_LOSS = 1e-6
"""The size that a baseline of 0 counts as: rounding is no drift."""

_FLAGS = ("loss", "queue", "intensity")
_FAILED = "bc_stage_failed_cycle_"


class _Mode(StrEnum):
    BC = "bc"
    PPO = "ppo"


class Status(StrEnum):
    """What the stages of a schedule amount to."""

    PASS = "PASS"
    HOLD = "HOLD"
    """A stage of PPO raised a flag."""
    FAIL = "FAIL"
    """A stage of cloning missed its accuracy."""


@dataclass(frozen=True, kw_only=True)
class StageBaseline:
    """Measures of a stage of PPO, which the next one on the same dataset is compared with."""

    loss: float
    """Total loss of its last update."""
    queue_conflict_events: float | None
    """Mean over the episodes in which the trained policy was evaluated; None without a world that counts them."""
    queue_conflict_intensity_sum: float | None


def flags_of(measured: StageBaseline, baseline: StageBaseline | None) -> dict[str, bool]:
    """Compare a stage of PPO with the last one on the same dataset.

        loss:       not finite, or L - B > 0.10 max(|B|, 10⁻⁶)
        queue:      n < (1 - 0.15) n_B, of conflicts in queues; intensity: likewise, of their intensity

    Args:
        measured: of the stage.
        baseline: of the last stage of PPO on the same dataset; None: this is the first, and only a loss that is not
            finite raises a flag.

    Returns:
        Whether each flag is up, by `loss`, `queue` and `intensity`; a count that is not known raises none.
    """
    drifted = not math.isfinite(measured.loss)
    if baseline is not None and not drifted:
        drifted = measured.loss - baseline.loss > LOSS_TOLERANCE * max(abs(baseline.loss), _LEAST_LOSS)

    def fell(count: float | None, before: float | None) -> bool:
        return count is not None and before is not None and count < (1.0 - FALL_TOLERANCE) * before

    before = measured if baseline is None else baseline
    return {
        "loss": drifted,
        "queue": fell(measured.queue_conflict_events, before.queue_conflict_events),
        "intensity": fell(measured.queue_conflict_intensity_sum, before.queue_conflict_intensity_sum),
    }


def reasons_of(results: Sequence[Mapping[str, JsonValue]], source: str | Path) -> tuple[str, ...]:
    """Return why the status is not `PASS`: first each `bc_stage_failed_cycle_N`, then each `loss_flag_cycle_N`,
    `queue_flag_cycle_N` and `intensity_flag_cycle_N`, with N as the file spells it, `2` or `2.0`.

    A stage of cloning fails where its accuracy is below its threshold, or it says that it did not pass. A flag that is
    missing or null is not up.

    Args:
        results: the stages, in order.
        source: name of their file, for errors.

    Raises:
        ManifestError: if a stage lacks a value.
    """
    stages = [Fields(result, source, error=ManifestError) for result in results]
    return tuple(reason for rule in (_failures, _flags) for stage in stages for reason in rule(stage))


def status_of(reasons: Sequence[str]) -> Status:
    """Return `FAIL` where one of the `reasons` is a stage of cloning that failed, `HOLD` for others, else `PASS`."""
    if any(reason.startswith(_FAILED) for reason in reasons):
        return Status.FAIL
    return Status.HOLD if reasons else Status.PASS


def _failures(stage: Fields) -> list[str]:
    if stage.choice("mode", _Mode) is not _Mode.BC:
        return []
    passed = stage.flag("passed") and stage.number("accuracy") >= stage.number("threshold")
    return [] if passed else [f"{_FAILED}{_cycle(stage)}"]


def _flags(stage: Fields) -> list[str]:
    if stage.choice("mode", _Mode) is not _Mode.PPO:
        return []
    return [
        f"{name}_flag_cycle_{_cycle(stage)}"
        for name in _FLAGS
        if stage.values.get(key := f"anneal_{name}_flag") is not None and stage.flag(key)
    ]


def _cycle(stage: Fields) -> str:
    """The number as the file spells it, because readers look for that text."""
    stage.number("cycle")
    return repr(stage.values["cycle"])
