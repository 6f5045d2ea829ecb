import logging

import pytest

from townlet_runtime.adapters.open import close_environments, episode_bound, opened


class Door:
    """Knows whether it is open."""

    def __init__(self, *, jammed: bool = False) -> None:
        self.is_open = True
        self._jammed = jammed

    def close(self) -> None:
        self.is_open = False
        if self._jammed:
            raise OSError("jammed")


def test_the_tighter_bound_holds() -> None:
    assert (episode_bound(5, 9), episode_bound(9, 5), episode_bound(None, 5), episode_bound(5, None)) == (5, 5, 5, 5)
    assert episode_bound(None, None) == 1000


def test_what_was_opened_stays_open_where_nothing_fails() -> None:
    with opened("doors", Door, 3) as doors:
        assert len(doors) == 3
    assert all(door.is_open for door in doors)


def test_all_are_closed_where_one_cannot_be_built_or_the_rest_fails() -> None:
    made: list[Door] = []

    def build() -> Door:
        if len(made) == 2:
            raise RuntimeError("no third")
        made.append(Door())
        return made[-1]

    with pytest.raises(RuntimeError, match="no third"), opened("doors", build, 3):
        pass
    with pytest.raises(ValueError, match="later"), opened("doors", Door, 2) as doors:
        raise ValueError("later")
    assert not any(door.is_open for door in [*made, *doors])


def test_a_door_that_jams_is_logged_and_the_others_are_closed(caplog: pytest.LogCaptureFixture) -> None:
    doors = [Door(jammed=True), Door()]
    with caplog.at_level(logging.WARNING):
        close_environments("doors", doors)
    assert not any(door.is_open for door in doors)
    assert [record.getMessage() for record in caplog.records] == ["doors: `close` failed"]
