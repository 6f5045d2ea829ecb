"""`townlet explain`: which recorded steps of an agent are worth a look, and one of them explained."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from townlet_runtime.cli.console import SUCCESS, CommandError, Console, Json, table
from townlet_runtime.cli.named_policy import load_policy
from townlet_runtime.policy.drawing import log_prob_of_numbers
from townlet_runtime.policy.onnx import FilePolicy, RecurrentOnnxPolicy
from townlet_runtime.policy.policy import distribution_of
from townlet_runtime.runs.recorded import warnings_to
from townlet_runtime.simulation.recorded import POLICY_STATE
from townlet_trajectory import ACTION_MASK, Box, Trajectory
from townlet_trajectory.audit.agent_steps import AgentSteps, marks_of, spans_of, steps_of_agent
from townlet_trajectory.audit.explanation import Span
from townlet_trajectory.audit.explanation_text import decided_by, explanation_lines, mark_lines
from townlet_trajectory.audit.words import short
from townlet_trajectory.formats.open import open_dataset
from townlet_trajectory.storage.urls import Place


@dataclass(frozen=True, kw_only=True)
class ExplainOptions:
    """The options of `townlet explain`; None where one was not given."""

    record: Place
    agent_id: str
    world: int | None
    episode: int | None
    tick: int | None
    around: int | None
    policy: Path | None
    data_root: Path


def explain_record(options: ExplainOptions, console: Console) -> int:
    """Show the steps of an agent, or explain one of them; return the exit code.

    Args:
        options: of the command.
        console: to print with.

    Raises:
        CommandError: if an option does not go with another, or there is no such tick or policy.
        DatasetError: if there is no such agent, world or episode.
        ArtifactError: if the record is none of the formats, missing or damaged.
    """
    if options.tick is None and (options.around is not None or options.policy is not None):
        raise CommandError("--around and --policy are about one step: name its --tick")
    with warnings_to(console.warning), open_dataset(options.record, data_root=options.data_root) as opened:
        steps = steps_of_agent(opened, options.agent_id, world=options.world, episode=options.episode)
        group = opened.info.group
    if options.tick is None:
        _show_life(steps, console)
        return SUCCESS
    trajectory, row = _find(steps, options.tick)
    answer = _Answer() if options.policy is None else _ask(_policy_of(options.policy, group), trajectory, row)
    explained = steps.explain(trajectory, row, **answer._asdict())
    record: dict[str, Json] = {**explained.document()}
    lines = explanation_lines(explained)
    if options.around is not None:
        spans = spans_of(trajectory, max(0, row - options.around), min(len(trajectory), row + options.around + 1))
        record["around"] = [span.document() for span in spans]
        lines += ["", *_span_lines(spans)]
    console.result(record, lines)
    return SUCCESS


def _show_life(steps: AgentSteps, console: Console) -> None:
    """Show all steps in spans, and then the ticks that are worth a look."""
    record: list[Json] = []
    lines: list[str] = []
    ends: list[str] = []
    for one in steps.trajectories:
        marked = {mark: one.ticks[where].tolist() for mark, where in marks_of(one).items() if where.any()}
        spans = spans_of(one)
        record.append(
            {
                "world": one.world,
                "episode": one.episode,
                "first_tick": int(one.ticks[0]),
                "last_tick": int(one.ticks[-1]),
                "terminated": one.terminated,
                "truncated": one.truncated,
                "marks": {str(mark): where for mark, where in marked.items()},
                "spans": [span.document() for span in spans],
            }
        )
        head = _head(one)
        lines += [head, *_span_lines(spans), ""]
        ends += [head, *mark_lines(marked)]
    ends.append("Name one of these ticks with --tick to see why.")
    console.result({"agent_id": steps.agent_id, "trajectories": record}, [*lines, *ends])


def _head(one: Trajectory) -> str:
    first, last = int(one.ticks[0]), int(one.ticks[-1])
    total = short(float(one.rewards.sum(dtype=np.float64)))
    return f"{one.agent_id}, world {one.world}, episode {one.episode}: ticks {first} to {last}, return {total}"


def _span_lines(spans: list[Span]) -> list[str]:
    rows = [
        (
            str(span.first_tick) if span.first_tick == span.last_tick else f"{span.first_tick}-{span.last_tick}",
            span.action if span.veto_reason is None else f"{span.action} (not {span.chosen_action})",
            decided_by(span),
            short(span.reward),
            " ".join(span.marks),
        )
        for span in spans
    ]
    return table(("ticks", "did", "decided by", "reward", "marks"), rows, left=True)


def _find(steps: AgentSteps, tick: int) -> tuple[Trajectory, int]:
    """The step at a tick."""
    found = steps.find(tick)
    if not found:
        raise CommandError(f"--tick {tick}: agent {steps.agent_id!r} has none; the nearest is {steps.nearest(tick)}")
    if len(found) > 1:
        episodes = ", ".join(str(one.episode) for one, _ in found)
        raise CommandError(f"--tick {tick}: agent {steps.agent_id!r} has it in the episodes {episodes}: name --episode")
    return found[0]


def _policy_of(path: Path, group: str) -> FilePolicy:
    """The policy that learned to play a group, or the only one."""
    policies = load_policy(path).policies
    if group not in policies and len(policies) > 1:
        raise CommandError(f"--policy {path}: has policies for {', '.join(policies)}, and the record is of `{group}`")
    return policies.get(group, next(iter(policies.values())))


class _Answer(NamedTuple):
    """What a policy says of one step: the one or the other."""

    log_probs: NDArray[np.float32] | None = None
    """[P]."""
    chosen_log_prob: float | None = None
    """Where actions are numbers."""


def _ask(policy: FilePolicy, trajectory: Trajectory, row: int) -> _Answer:
    """Ask a policy about what was seen when the choice was drawn."""
    schema, columns = trajectory.schema, trajectory.columns
    if policy.vocabulary != schema.vocabulary or policy.actions != schema.actions:
        raise CommandError("--policy: it was made for other actions than those of the record")
    drawn = row - int(columns["observation_age"][row]) if "observation_age" in columns else row
    if drawn < 0:
        raise CommandError(f"--policy: the choice was drawn {-drawn} ticks before the record begins")
    seen = {name: array[drawn : drawn + 1] for name, array in trajectory.observations.items()}
    mask = seen.pop(ACTION_MASK).astype(np.bool_) if ACTION_MASK in seen else None
    observations = {name: seen[name].astype(np.float32) for name in policy.observation_shapes if name in seen}
    if isinstance(policy, RecurrentOnnxPolicy):
        params = policy.act(observations, mask, _memory(policy, trajectory, drawn))[0]
    else:
        params = policy.act(observations, mask)[0]
    if not isinstance(policy.actions, Box):
        return _Answer(log_probs=params[0])
    chosen = columns["chosen_action" if "chosen_action" in columns else "action"][row : row + 1]
    numbers, distribution = chosen.astype(np.float32), distribution_of(policy)
    density = log_prob_of_numbers(params, numbers, box=policy.actions, distribution=distribution)
    return _Answer(chosen_log_prob=float(density[0]))


def _memory(policy: RecurrentOnnxPolicy, trajectory: Trajectory, row: int) -> NDArray[np.float32]:
    """The recorded memory [1, S] before the decision of a row."""
    memory = trajectory.columns.get(POLICY_STATE)
    if memory is None:
        raise CommandError(f"--policy: it has a recurrent state, and the record has no column `{POLICY_STATE}`")
    if memory.shape[1:] != (policy.state_size,):
        raise CommandError(
            f"--policy: it has {policy.state_size} numbers of recurrent state, `{POLICY_STATE}` of the record "
            f"{memory.shape[1]}"
        )
    return memory[row : row + 1].astype(np.float32)
