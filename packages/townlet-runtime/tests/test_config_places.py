from pathlib import Path

import pytest

from townlet_runtime.config.places import Located, UnreadableError

TEXT = """\
town:
  grid_size: [4, 5]
jobs:
  a.b: {wage_rate: 1.0}
scenario:
  agents:
    - id: ann
      job: x
    - id: bob
    - {id: cyd, needs: {hunger: 2}}
"""


def located(text: str = TEXT) -> Located:
    return Located.parse(text.encode(), "town.yaml")


@pytest.mark.parametrize(
    ("key", "mark", "is_exact"),
    [
        ("town", (1, 1), True),
        ("town.grid_size", (2, 3), True),
        ("town.grid_size.1", (2, 18), True),
        ("town.num_agents", (1, 1), False),
        ("ppo.gamma", None, False),
        ("jobs.a.b.wage_rate", (4, 9), True),
        ("jobs[a.b]", (4, 3), True),
        ("scenario.agents.1.job", (9, 7), False),
        ("scenario.agents[bob]", (9, 7), True),
        ("scenario.agents[ann].job", (8, 7), True),
        ("scenario.agents.2.needs.hunger", (10, 25), True),
    ],
)
def test_a_key_stands_where_it_or_the_section_around_it_begins(
    key: str, mark: tuple[int, int] | None, is_exact: bool
) -> None:
    assert located().place(key) == (key, mark, is_exact)


def test_what_is_left_keeps_its_place_and_its_number() -> None:
    file = located()
    assert file.take("scenario.agents.0")
    assert file.content["scenario"]["agents"][0] == {"id": "bob"}
    assert file.place("scenario.agents.1.needs.hunger") == ("scenario.agents.2.needs.hunger", (10, 25), True)
    assert file.place("scenario.agents[cyd].needs") == ("scenario.agents[cyd].needs", (10, 17), True)


def test_where_a_key_is_not_there_the_section_around_it_is_taken() -> None:
    file = located()
    assert file.take("town.num_agents") and "town" not in file.content
    assert not file.take("town.num_agents")
    assert file.take("jobs.a.b.wage_rate") and file.content["jobs"] == {"a.b": {}}


def test_an_entry_at_the_top_is_named_by_its_id_or_its_place() -> None:
    file = located("- {id: eat, duration: 0}\n- {type: object}\n")
    assert file.place("eat.duration").mark == (1, 13)
    assert file.place("[1].id") == ("[1].id", (2, 3), False)


def test_a_file_that_is_no_yaml_is_named_with_the_place(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("a: 1\na: 2\n")
    with pytest.raises(UnreadableError, match=rf"^{path}: .*twice") as caught:
        Located.read(path)
    assert caught.value.mark == (2, 1)
    with pytest.raises(UnreadableError, match="cannot read it: No such file") as caught:
        Located.read(tmp_path / "none.yaml")
    assert caught.value.mark is None
