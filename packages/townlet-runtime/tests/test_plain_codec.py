import pytest
from plain_world import Mind, Person, PlainWorld, Thing, Use, world_of

from townlet_behavior import ActionVocabulary, AgentIntent, Shift, UnknownActionError
from townlet_runtime.plain import AgentIntentCodec, KeyCodec, plain_vocabulary

WORDS = plain_vocabulary(["fridge", "bed"])
CODEC = AgentIntentCodec(WORDS, {"baker": Shift(start_tick=9, location=(4, 4))})


def test_the_vocabulary_has_every_kind_and_every_object_in_order() -> None:
    plain = ("wait", "move", "chat", "blocked")
    with_object = [f"{kind}:{item}" for kind in ("request", "start", "release") for item in ("bed", "fridge")]
    assert WORDS.keys == (*plain, *with_object)
    assert WORDS.kinds == (*plain, *(key.partition(":")[0] for key in with_object))
    assert (WORDS.keys[WORDS.wait], plain_vocabulary(["fridge", "bed"]).digest) == ("wait", WORDS.digest)


@pytest.mark.parametrize("key", WORDS.keys)
def test_decoding_and_encoding_is_the_identity_where_the_arguments_are_there(key: str) -> None:
    world = world_of("ann", "bob")
    world.agents["bob"].position = world.agents["ann"].position
    index = WORDS.index(key)
    assert CODEC.encode(CODEC.decode(index, world, "ann"), world, "ann") == index


def test_arguments_come_from_the_world() -> None:
    world = world_of("ann", "bob")
    world.agents["ann"].job_id = "baker"
    assert CODEC.decode(WORDS.index("move"), world, "ann").position == (4, 4)
    assert CODEC.decode(WORDS.index("move"), world, "bob").position == (1, 5)
    request = AgentIntent(kind="request", object_id="bed", affordance_id="rest_sleep")
    assert CODEC.decode(WORDS.index("request:bed"), world, "ann") == request
    # nobody is on the cell, so there is nobody to chat with
    assert CODEC.decode(WORDS.index("chat"), world, "ann") == AgentIntent(kind="wait")
    world.agents["bob"].position, world.agents["ann"].personality = (0, 5), Mind(1.0)
    chat = CODEC.decode(WORDS.index("chat"), world, "ann")
    # 0.5 + 0.3 · 1
    assert (chat.target_agent, chat.quality) == ("bob", pytest.approx(0.8))


def test_an_object_that_is_gone_has_no_affordance() -> None:
    world = PlainWorld({"ann": Person()}, {})
    assert CODEC.decode(WORDS.index("start:bed"), world, "ann") == AgentIntent(kind="start", object_id="bed")


@pytest.mark.parametrize("place", ["lines", "turns", "running_affordances"])
def test_a_release_without_an_object_gives_up_the_one_that_the_agent_is_at(place: str) -> None:
    world = world_of("ann")
    vars(world)[place]["fridge"] = {"lines": ["ann"], "turns": "ann", "running_affordances": Use("ann")}[place]
    assert CODEC.encode(AgentIntent(kind="release"), world, "ann") == WORDS.index("release:fridge")
    with pytest.raises(UnknownActionError, match="'release:None'"):
        CODEC.encode(AgentIntent(kind="release"), world_of("ann"), "ann")


def test_a_mapping_is_read_as_it_was_written() -> None:
    for intent in (
        AgentIntent(kind="move", position=(1, 2)),
        AgentIntent(kind="chat", target_agent="bob", quality=0.5),
        AgentIntent(kind="request", object_id="bed", affordance_id="rest_sleep", blocked=True),
    ):
        assert CODEC.from_action(CODEC.to_action(intent)) == intent


def test_keys_are_their_own_intents() -> None:
    codec = KeyCodec(ActionVocabulary(keys=("rest", "dig"), kinds=("wait", "work")))
    assert [codec.encode(codec.decode(index, None, "ann"), None, "ann") for index in (0, 1)] == [0, 1]
    assert codec.from_action(codec.to_action("dig")) == "dig"
    with pytest.raises(UnknownActionError, match="an action must have the key `action`"):
        codec.from_action({"kind": "work"})
    with pytest.raises(UnknownActionError, match="'fly'"):
        codec.encode("fly", None, "ann")


def test_new_objects_are_no_actions() -> None:
    world = world_of("ann")
    world.objects["sauna"] = Thing("sauna")
    with pytest.raises(UnknownActionError, match="'start:sauna'"):
        CODEC.encode(AgentIntent(kind="start", object_id="sauna"), world, "ann")
