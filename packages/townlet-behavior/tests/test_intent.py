import pytest

from townlet_behavior import AgentIntent, UnknownActionError


def test_a_wait_says_nothing_else() -> None:
    intent = AgentIntent(kind="wait", object_id="bed", position=(1, 2), target_agent="bob", quality=0.5)
    assert intent.to_action() == {"kind": "wait"}


def test_a_blocked_wait_says_so() -> None:
    assert AgentIntent(kind="wait", blocked=True).to_action() == {"kind": "wait", "blocked": True}


def test_other_kinds_always_give_object_affordance_and_blocked() -> None:
    assert AgentIntent(kind="request", object_id="fridge").to_action() == {
        "kind": "request",
        "object": "fridge",
        "affordance": None,
        "blocked": False,
    }


def test_what_is_set_is_given() -> None:
    chat = AgentIntent(kind="chat", target_agent="bob", quality=0.7).to_action()
    move = AgentIntent(kind="move", position=(0, 3)).to_action()
    assert (chat["target"], chat["quality"], "position" in chat) == ("bob", 0.7, False)
    assert (move["position"], "target" in move, "quality" in move) == ((0, 3), False, False)


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(UnknownActionError, match=r"`kind` must be one of .*, got 'dance'"):
        AgentIntent(kind="dance")  # type: ignore[arg-type]


def test_a_quality_that_is_no_number_is_refused() -> None:
    with pytest.raises(UnknownActionError, match="`quality` must be finite, got nan"):
        AgentIntent(kind="chat", quality=float("nan"))


@pytest.mark.parametrize(
    "intent",
    [
        AgentIntent(kind="wait"),
        AgentIntent(kind="wait", blocked=True),
        AgentIntent(kind="chat", target_agent="bob", quality=0.7),
        AgentIntent(kind="request", object_id="bed", affordance_id="rest_sleep"),
        AgentIntent(kind="move", position=(0, 3)),
    ],
)
def test_an_action_is_read_as_it_was_written(intent: AgentIntent) -> None:
    assert AgentIntent.from_action(intent.to_action()) == intent


def test_the_names_of_an_intents_own_fields_are_read_too() -> None:
    action = {"kind": "start", "object_id": "bed", "affordance_id": "rest_sleep"}
    assert AgentIntent.from_action(action) == AgentIntent(kind="start", object_id="bed", affordance_id="rest_sleep")


@pytest.mark.parametrize(
    ("action", "problem"),
    [
        ({"object": "bed"}, r"an action must have `kind` and no field of \[\], got \{'object': 'bed'\}"),
        ({"kind": "wait", "speed": 3}, r"no field of \['speed'\]"),
        ({"kind": "arrest"}, "`kind` must be one of"),
    ],
)
def test_what_is_no_action_is_refused(action: dict[str, object], problem: str) -> None:
    with pytest.raises(UnknownActionError, match=problem):
        AgentIntent.from_action(action)
