"""Why a step was decided as it was, for each combination of kind, source, veto, possession and option."""

from itertools import product
from typing import Any

import pytest
from steps_by_hand import EAT, NAMES, WAIT, WORK, row_of

from townlet_trajectory.audit.explanation import Decider
from townlet_trajectory.audit.reasons import reasons_of
from townlet_trajectory.audit.step_row import StepRow
from townlet_trajectory.data.schema import Kind, Source

FREE = "(ratio 0.25)"


def why(
    *, since: int | None = None, begun_by: int | None = None, first_tick: int | None = None, **changes: Any
) -> tuple[str, ...]:
    row = StepRow(
        names=NAMES,
        columns=row_of(**changes),
        tick=20,
        option_since=since,
        option_proposer=begun_by,
        first_tick=first_tick,
    )
    return reasons_of(row)


def test_the_blend_drew_the_script() -> None:
    drawn = f"The blend drew the script: this side has 75 % of the decisions {FREE}. The policy gave eat 20 %."
    assert why() == (drawn,)


def test_the_blend_drew_the_policy() -> None:
    drawn = f"The blend drew the policy: it has 25 % of the decisions {FREE}. The policy gave eat 20 %."
    assert why(source=Source.LEARNED) == (drawn,)


def test_a_temperature_is_said() -> None:
    said = "The policy gave eat 20 %, and was drawn from at temperature 0.5."
    assert why(source=Source.LEARNED, temperature=0.5)[0].endswith(said)


def test_a_script_that_proposed_nothing_waits() -> None:
    said = "It proposed nothing, which is waiting. The policy gave wait 20 %."
    assert why(expert_action=-1, chosen_action=WAIT, action=WAIT, proposer=-1)[0].endswith(said)


def test_without_a_share_the_script_decides() -> None:
    said = "The choice is that of the script: the policy has no share of the decisions (ratio 0)."
    assert why(kind=Kind.FOREIGN, ratio=0.0) == (said,)


@pytest.mark.parametrize("source", [Source.SCRIPTED, Source.LEARNED])
def test_a_choice_without_probability(source: Source) -> None:
    (said,) = why(kind=Kind.FOREIGN, source=source)
    assert "no recorded probability describes it" in said


def test_a_slow_mind_and_its_fallback_are_named() -> None:
    (said,) = why(proposer=1, proposal_age=3)
    assert said.startswith(
        "The blend drew `model A` (in the script's place), from what it saw at tick 17: this side has"
    )
    (said,) = why(proposer=2)
    assert said.startswith("The blend drew the fallback script: this side has 75 % of the decisions")


def test_an_option_is_in_force() -> None:
    held = {"kind": Kind.FORCED, "held_action": WORK, "chosen_action": WORK, "action": WORK}
    said = "An option was in force, and nothing was decided: the policy chose work at tick 15, held"
    assert why(**held, ticks_left=4, since=15, source=Source.LEARNED, drawn_action=WORK) == (
        f"{said} for 4 ticks from this one on.",
    )
    assert why(**held, ticks_left=1, since=15, source=Source.LEARNED, drawn_action=EAT) == (
        f"{said} until this tick.",
        "Without it, the blend would have drawn eat.",
    )
    assert "the script chose work before the record begins" in why(**held, ticks_left=2)[0]
    said = "`model A` (in the script's place) chose work at tick 15"
    assert said in why(**held, ticks_left=2, since=15, begun_by=1)[0]
    # A policy's choice has no proposer, whatever was proposed beside it.
    assert "the policy chose work" in why(**held, ticks_left=2, since=15, begun_by=1, source=Source.LEARNED)[0]


def test_a_single_legal_action() -> None:
    assert why(kind=Kind.FORCED) == ("There was nothing to decide: eat was the only legal action.",)


def test_possession() -> None:
    possessed = {"possessed": True, "kind": Kind.FOREIGN, "source": Source.EXTERNAL}
    said = "The agent was possessed, and its possessor asked for eat: neither blend nor option counts then."
    assert why(**possessed, demonstrated=True) == (said,)
    refused = why(**possessed, vetoed=True, veto_reason=1, action=WAIT)
    assert refused[0] == "The agent was possessed, and the choice was its possessor's: eat."
    said = "The agent was possessed, and its possessor asked for nothing at this tick: it did wait."
    assert why(**possessed, chosen_action=WAIT, action=WAIT) == (said,)


def test_a_veto_has_its_reason() -> None:
    vetoed = "A guardrail vetoed eat, for the reason `rivalry`: the agent did wait instead."
    assert why(vetoed=True, veto_reason=2, action=WAIT)[1:] == (vetoed,)
    held = {"kind": Kind.FORCED, "held_action": EAT, "ticks_left": 3}
    assert why(vetoed=True, veto_reason=2, action=WAIT, **held)[-1] == f"{vetoed} This ended the option."
    assert "`reason 9`" in why(vetoed=True, veto_reason=9, action=WAIT)[1]


def test_a_reaction_delay() -> None:
    late = {"kind": Kind.FOREIGN, "observation_age": 3}
    said = "The agent reacts 3 ticks late: the choice is the one that was drawn from"
    assert why(**late) == (f"{said} the script's side at tick 17.",)
    assert why(**late, source=Source.LEARNED, first_tick=17) == (f"{said} the policy at tick 17.",)
    assert "of tick 17 nothing is recorded" in why(**late, first_tick=18)[0]


def test_a_record_that_says_little() -> None:
    nothing = dict.fromkeys(row_of())
    assert why(**(nothing | {"action": EAT})) == ("The record does not say who decided.",)
    others = nothing | {"action": EAT, "source": Source.EXTERNAL, "kind": Kind.FOREIGN}
    assert why(**others) == ("Another program decided; the record has no more of it than the action.",)


def expected_decider(kind: int, source: int, possessed: bool, held: int) -> Decider:
    """The twin: the order of the bridge, read backwards."""
    if possessed:
        return Decider.POSSESSOR
    if held >= 0:
        return Decider.COMMITMENT
    if kind == Kind.FORCED:
        return Decider.ONLY_ACTION
    return [Decider.SCRIPT, Decider.POLICY, Decider.OUTSIDE][source]


def test_every_combination_says_who_and_why() -> None:
    flags = (False, True)
    for kind, source, vetoed, possessed, demonstrated, held in product(Kind, Source, flags, flags, flags, (-1, WORK)):
        columns = row_of(
            kind=kind,
            source=source,
            vetoed=vetoed,
            veto_reason=2 * vetoed,
            action=WAIT if vetoed else EAT,
            possessed=possessed,
            demonstrated=demonstrated,
            held_action=held,
            ticks_left=2 * (held >= 0),
        )
        row = StepRow(names=NAMES, columns=columns, tick=20)
        said = reasons_of(row)
        assert row.decider is expected_decider(kind, source, possessed, held)
        assert all(sentence.endswith(".") and len(sentence.split()) <= 40 for sentence in said)
        assert sum("guardrail" in sentence for sentence in said) == vetoed
        assert ("possessed" in said[0]) == possessed
        assert ("option was in force" in said[0]) == (held >= 0 and not possessed)
