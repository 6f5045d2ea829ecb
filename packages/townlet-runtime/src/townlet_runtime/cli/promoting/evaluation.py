"""`townlet promote evaluate`: the decision that follows from the stages of an anneal."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from townlet_runtime.cli.console import CommandError, Console
from townlet_runtime.cli.promotion import EXIT_CODES
from townlet_trajectory.evaluation.anneal_results import AnnealDecision, decide_anneal
from townlet_trajectory.storage.json import MAX_JSON_BYTES, parse_json
from townlet_trajectory.storage.paths import read_named

STANDARD_INPUT = "<stdin>"


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
    """The options of `townlet promote evaluate`."""

    input: Path | None
    summary: Path | None
    as_json: bool
    """Whether JSON is printed; else lines for people."""
    dry_run: bool


def evaluate_stages(options: EvaluationOptions, console: Console) -> int:
    """Decide, print the decision, and return the exit code: PROMOTE 0, HOLD 1, FAIL 2.

    Raises:
        CommandError: if two files are named.
        ArtifactError: if the file cannot be read, or holds no stages.
    """
    if options.input is not None and options.summary is not None:
        raise CommandError(f"--input {options.input} and --summary {options.summary}: name one of them")
    path = options.summary if options.input is None else options.input
    if path is None:
        if sys.stdin.isatty():
            console.note("reading the stages from standard input, up to its end")
        source, data = STANDARD_INPUT, sys.stdin.buffer.read(MAX_JSON_BYTES + 1)
    else:
        source, data = str(path), read_named(path, max_bytes=MAX_JSON_BYTES)
    decision = decide_anneal(parse_json(data, source), source)
    entries = decision.entries()
    lines = json.dumps(entries, indent=2).splitlines() if options.as_json else decision_lines(decision)
    console.result(entries, lines)
    return 0 if options.dry_run else EXIT_CODES[decision.decision]


def decision_lines(decision: AnnealDecision) -> list[str]:
    """Return the lines for people, as the original's format `human` has them."""
    promotion = decision.promotion
    lines = [
        f"Decision: {decision.decision}",
        f"Status:   {decision.status}",
        f"Ready?:   {'yes' if decision.candidate_ready else 'no'}",
    ]
    if {"pass_streak", "required_passes"} <= promotion.keys():
        streak = f"{promotion['pass_streak']}/{promotion['required_passes']}"
        last = promotion.get("last_result")
        lines.append(f"Pass streak: {streak}" + ("" if last is None else f" (last result: {last})"))
    if decision.reasons:
        lines += ["Reasons:", *(f"  - {reason}" for reason in decision.reasons)]
    return lines
