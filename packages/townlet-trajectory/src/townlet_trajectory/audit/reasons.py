"""Who decided a step, and why, in sentences."""

from __future__ import annotations

from townlet_trajectory.audit.explanation import Decider, OptionInForce
from townlet_trajectory.audit.step_row import StepRow
from townlet_trajectory.audit.words import percent, ticks
from townlet_trajectory.data.schema import Source

SCRIPT, FALLBACK = "script", "fallback"
"""Proposers that are no slow mind: the script itself, and the one that stands in for a mind without an answer."""

_BEGAN = {
    int(Source.SCRIPTED): "the script",
    int(Source.LEARNED): "the policy",
    int(Source.EXTERNAL): "a possessor",
}


def reasons_of(row: StepRow) -> tuple[str, ...]:
    """Say who made the choice of a step, why that one, and what guardrails made of it."""
    return (*_choice(row), *_veto(row))


def _choice(row: StepRow) -> list[str]:
    option, chosen = row.option, row.action("chosen_action") or row.executed
    match row.decider:
        case Decider.POSSESSOR:
            return [_of_possessor(row, chosen)]
        case Decider.COMMITMENT if option is not None:
            return _of_commitment(row, option)
        case Decider.ONLY_ACTION:
            return [f"There was nothing to decide: {chosen} was the only legal action."]
        case Decider.SCRIPT | Decider.POLICY if (row.number("observation_age") or 0) > 0:
            return [_of_delay(row, row.number("observation_age") or 0)]
        case Decider.SCRIPT:
            return [_of_script(row, chosen)]
        case Decider.POLICY:
            return [_of_policy(row, chosen)]
        case Decider.OUTSIDE:
            return ["Another program decided; the record has no more of it than the action."]
        case _:
            return ["The record does not say who decided."]


def _of_possessor(row: StepRow, chosen: str) -> str:
    if row.flag("demonstrated"):
        return f"The agent was possessed, and its possessor asked for {chosen}: neither blend nor option counts then."
    if row.flag("vetoed"):
        return f"The agent was possessed, and the choice was its possessor's: {chosen}."
    return f"The agent was possessed, and its possessor asked for nothing at this tick: it did {chosen}."


def _of_commitment(row: StepRow, option: OptionInForce) -> list[str]:
    began = _named(option.proposer) or _BEGAN.get(row.number("source") or 0, "an unknown source")
    when = "before the record begins" if option.since is None else f"at tick {option.since}"
    left = "until this tick" if option.ticks_left == 1 else f"for {option.ticks_left} ticks from this one on"
    said = [f"An option was in force, and nothing was decided: {began} chose {option.action} {when}, held {left}."]
    drawn = row.action("drawn_action")
    if drawn is not None and drawn != option.action:
        said.append(f"Without it, the blend would have drawn {drawn}.")
    return said


def _of_script(row: StepRow, chosen: str) -> str:
    ratio, side = row.real("ratio"), _script_side(row)
    proposed = " It proposed nothing, which is waiting." if row.proposed_nothing else ""
    if row.is_drawn and ratio is not None:
        share = f"this side has {percent(1.0 - ratio)} of the decisions (ratio {ratio:.4g})"
        return f"The blend drew {side}: {share}.{proposed}{_policy_gave(row, chosen)}"
    if ratio == 0.0:
        return f"The choice is that of {side}: the policy has no share of the decisions (ratio 0).{proposed}"
    return (
        f"The choice is that of {side}, and no recorded probability describes it: there was no policy, it had no "
        f"opinion or took its most probable action, or its share is too small to learn from.{proposed}"
    )


def _of_policy(row: StepRow, chosen: str) -> str:
    ratio = row.real("ratio")
    share = "" if ratio is None else f": it has {percent(ratio)} of the decisions (ratio {ratio:.4g})"
    if row.is_drawn:
        return f"The blend drew the policy{share}.{_policy_gave(row, chosen)}"
    return f"The blend drew the policy{share}; no recorded probability describes its choice."


def _policy_gave(row: StepRow, chosen: str) -> str:
    probability, temperature = row.probability("policy_log_prob"), row.real("temperature")
    if probability is None:
        return ""
    tempered = "" if temperature in (None, 1.0) else f", and was drawn from at temperature {temperature:.4g}"
    return f" The policy gave {chosen} {percent(probability)}{tempered}."


def _of_delay(row: StepRow, age: int) -> str:
    side = "the policy" if row.decider is Decider.POLICY else "the script's side"
    then = row.tick - age
    if row.first_tick is not None and then < row.first_tick:
        return f"The agent reacts {ticks(age)} late, and of tick {then} nothing is recorded: it waits where it was new."
    return f"The agent reacts {ticks(age)} late: the choice is the one that was drawn from {side} at tick {then}."


def _script_side(row: StepRow) -> str:
    """The script's side of the blend, by the name of who proposed there."""
    age = row.number("proposal_age") or 0
    seen = f", from what it saw at tick {row.tick - age}" if age > 0 else ""
    return f"{_named(row.proposer) or 'the script'}{seen}"


def _named(proposer: str | None) -> str | None:
    if proposer in (None, SCRIPT):
        return None
    if proposer == FALLBACK:
        return "the fallback script"
    return f"`{proposer}` (in the script's place)"


def _veto(row: StepRow) -> list[str]:
    reason, chosen = row.veto_reason, row.action("chosen_action") or "the choice"
    if reason is None:
        return []
    ended = "" if row.option is None else " This ended the option."
    return [f"A guardrail vetoed {chosen}, for the reason `{reason}`: the agent did {row.executed} instead.{ended}"]
