"""Who made each proposal, as a controller of several proposers says it."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from strategies import BOX, EAT, PARTS, VOCABULARY, WAIT, Script, bridge_of, view_of

from townlet_behavior import ActionSpec, ConfigError, NoProposals, ShapeError, View, proposers_of
from townlet_behavior.forms import form_of
from townlet_behavior.proposers import AskedScript


class Minds(Script):
    """Proposes, and says who did, what the test says."""

    def __init__(self, names: Any, proposer: NDArray[Any], age: NDArray[Any]) -> None:
        super().__init__(EAT, EAT, -1)
        self.proposers, self._said = names, (proposer, age)

    def proposed_by(self, view: object) -> tuple[NDArray[np.int8], NDArray[np.int32]]:
        return self._said


def said(*proposers: int) -> NDArray[np.int8]:
    return np.array(proposers, np.int8)


def ages(*ticks: int) -> NDArray[np.int32]:
    return np.array(ticks, np.int32)


def test_proposers_and_ages_are_recorded_and_counted() -> None:
    minds = Minds(("fallback", "mind"), said(1, 0, 9), ages(4, 0, 0))
    bridge = bridge_of(minds)
    assert bridge.proposers == ("fallback", "mind")
    decisions = bridge.decide(view_of(0, 1, 2), tick=0)
    assert decisions.proposer.tolist() == [1, 0, -1]  # nothing was proposed for the last
    assert decisions.proposal_age.tolist() == [4, 0, 0]
    assert bridge.counts().proposals == {"fallback": 1, "mind": 1}
    minds._said[1][0] = 7  # the controller may use its arrays again
    assert decisions.proposal_age.tolist() == [4, 0, 0]


def test_a_controller_that_says_nothing_is_the_script() -> None:
    assert proposers_of(Script(WAIT)) == ("script",)
    assert bridge_of(Script(EAT, -1)).decide(view_of(0, 1), tick=0).proposer.tolist() == [0, -1]


@pytest.mark.parametrize("names", [(), ("a", "a"), ("",), tuple(map(str, range(128)))])
def test_names_that_are_none_are_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="`proposers` must be 1 to 127 different names"):
        bridge_of(Minds(names, said(0, 0, 0), ages(0, 0, 0)))
    assert len(proposers_of(Minds(tuple(map(str, range(127))), said(), ages()))) == 127


@pytest.mark.parametrize(
    ("proposer", "age", "problem"),
    [
        (np.zeros(3), ages(0, 0, 0), "got float64"),
        (said(0, 0), ages(0, 0, 0), r"got int8 \(2,\)"),
        (said(0, 0, 0), np.zeros(3), r"and float64 \(3,\)"),
        (said(0, 2, 0), ages(0, 0, 0), r"indices into 2 `proposers`, got \[0, 2, 0\]"),
        (said(-1, 0, 0), ages(0, 0, 0), r"indices into 2 `proposers`, got \[-1, 0, 0\]"),
        (said(0, 0, 0), ages(0, -1, 0), r"ages of at least 0 ticks, got \[0, -1, 0\]"),
    ],
)
def test_what_is_no_answer_is_refused(proposer: NDArray[Any], age: NDArray[Any], problem: str) -> None:
    with pytest.raises(ShapeError, match=problem):
        bridge_of(Minds(("a", "b"), proposer, age)).decide(view_of(0, 1, 2), tick=0)


class Eager(NoProposals):
    """Proposes after all."""

    def propose(self, view: View) -> NDArray[np.int64]:
        return np.full(len(view.slots), EAT)


@pytest.mark.parametrize("actions", [VOCABULARY, PARTS, BOX], ids=["index", "parts", "numbers"])
def test_no_script_says_nothing_however_many_there_are(actions: ActionSpec) -> None:
    form, silent = form_of(actions), NoProposals(actions)
    script = AskedScript(silent, form)
    for size in (0, 3, 3, 1):
        asked = script.ask(view_of(*range(size)))
        assert asked.script.tolist() == [form.wait.tolist()] * size and asked.script.dtype == form.dtype
        np.testing.assert_array_equal(asked.expert, form.recorded(silent.propose(view_of(*range(size)))))
        assert asked.proposer.tolist() == [-1] * size and asked.age.tolist() == [0] * size


def test_a_script_that_proposes_after_all_is_asked() -> None:
    asked = AskedScript(Eager(), form_of(VOCABULARY)).ask(view_of(0, 1))
    assert asked.script.tolist() == asked.expert.tolist() == [EAT, EAT] and asked.proposer.tolist() == [0, 0]


class Fickle(Script):
    """Proposes to wait, then to eat, then to wait."""

    def __init__(self) -> None:
        super().__init__(WAIT)
        self.asked = 0

    def propose(self, view: View) -> NDArray[np.int64]:
        self.asked += 1
        return np.full(len(view.slots), (WAIT, EAT)[self.asked % 2 == 0], np.int64)


def test_a_script_that_is_asked_ahead_is_asked_once_and_its_word_holds() -> None:
    script = Fickle()
    bridge = bridge_of(script)
    view = view_of(0)
    assert bridge.script.ahead(view).expert.tolist() == [WAIT]
    assert bridge.script.ahead(view).expert.tolist() == [WAIT]
    assert bridge.decide(view, tick=0).expert_action.tolist() == [WAIT]
    assert script.asked == 1
    assert bridge.decide(view, tick=1).expert_action.tolist() == [EAT]  # it was said for one decision
    bridge.script.ahead(view)
    assert bridge.decide(view_of(0), tick=2).expert_action.tolist() == [EAT]  # of another view: the fourth answer
    assert script.asked == 4
