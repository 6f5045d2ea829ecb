import numpy as np
import pytest
from strategies import EAT, WORK, Script, bridge_of, proposals_of, view_of

from townlet_behavior import DecisionBatch, Kind, Proposals, Source
from townlet_behavior.decisions import constants_of

DTYPES = {
    "action": "int64",
    "chosen_action": "int64",
    "kind": "int8",
    "source": "int8",
    "vetoed": "bool",
    "veto_reason": "int8",
    "possessed": "bool",
    "demonstrated": "bool",
    "expert_action": "int64",
    "behavior_log_prob": "float32",
    "policy_log_prob": "float32",
    "value": "float32",
    "ratio": "float32",
    "held_action": "int64",
    "ticks_left": "int32",
    "drawn_action": "int64",
    "proposer": "int8",
    "proposal_age": "int32",
    "observation_age": "int32",
    "temperature": "float32",
}


NOBODY = Proposals(
    actions=np.zeros(0, np.int64), log_probs=np.zeros((0, 5), np.float32), values=np.zeros(0, np.float32)
)


def check_columns(decisions: DecisionBatch, size: int) -> None:
    columns = decisions.columns()
    assert {name: str(column.dtype) for name, column in columns.items()} == DTYPES
    assert {column.shape for column in columns.values()} == {(size,)}
    assert len(decisions) == size


def test_columns_have_their_names_types_and_order_whatever_happened() -> None:
    bridge = bridge_of(Script(EAT, EAT, EAT), ratio=0.5, ticks=2)
    bridge.held(view_of(0, 1, 2), tick=0)
    bridge.possession.acquire(1, tick=0)
    for tick in range(3):
        decisions = bridge.decide(view_of(0, 1, 2), tick=tick, proposals=proposals_of(WORK, WORK, WORK))
        check_columns(decisions, 3)
    assert list(decisions.columns()) == list(DTYPES)


def test_columns_of_the_script_alone() -> None:
    check_columns(bridge_of(Script(EAT, EAT)).decide(view_of(0, 1), tick=0), 2)


def test_columns_of_nobody() -> None:
    for ticks in (0, 5):
        bridge = bridge_of(Script(), ratio=0.5, ticks=ticks)
        check_columns(bridge.decide(view_of(), tick=0), 0)
        check_columns(bridge.decide(view_of(mask=np.zeros((0, 5), np.bool_)), tick=1, proposals=NOBODY), 0)


def test_the_codes_are_those_in_files() -> None:
    assert {kind.name.lower(): kind.value for kind in Kind} == {"decision": 0, "forced": 1, "foreign": 2}
    assert {source.name.lower(): source.value for source in Source} == {"scripted": 0, "learned": 1, "external": 2}


def test_constant_columns_are_made_once_and_cannot_be_written_to() -> None:
    columns = constants_of(3)
    assert columns is constants_of(3)
    assert [columns.codes[code].tolist() for code in (*Kind, -1)] == [[0, 0, 0], [1, 1, 1], [2, 2, 2], [-1, -1, -1]]
    assert columns.nowhere.tolist() == [False] * 3 and columns.no_action.tolist() == [-1] * 3
    assert columns.no_ticks.tolist() == columns.zeros.tolist() == [0] * 3 and columns.ones.tolist() == [1] * 3
    for column in (*columns.codes, *columns[1:]):
        with pytest.raises(ValueError, match="read-only"):
            column[0] = 1
