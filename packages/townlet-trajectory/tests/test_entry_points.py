from pathlib import Path

import pytest
from installed import install

from townlet_trajectory.errors import RegistrationError
from townlet_trajectory.storage.entry_points import load_registered, registered_names

GROUP = "townlet.test"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "my_registered.py").write_text("NUMBER = 3\n")
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_an_object_is_found_by_group_and_name(folder: Path) -> None:
    install(folder, {GROUP: {"three": "my_registered:NUMBER", "a": "my_registered:NUMBER"}})
    assert load_registered(GROUP, "three") == 3
    assert load_registered(GROUP, "four") is None
    assert load_registered("townlet.other", "three") is None
    assert registered_names(GROUP) == ("a", "three")
    assert registered_names("townlet.other") == ()


def test_what_cannot_be_imported_is_named(folder: Path) -> None:
    (folder / "my_broken.py").write_text("raise RuntimeError('unfinished')\n")
    install(folder, {GROUP: {"broken": "my_broken:x", "gone": "my_registered:gone"}})
    with pytest.raises(RegistrationError, match=r"^`broken` of .* `townlet.test`: my_broken:x cannot .*: unfinished$"):
        load_registered(GROUP, "broken")
    with pytest.raises(RegistrationError, match="my_registered:gone cannot be imported: AttributeError") as caught:
        load_registered(GROUP, "gone")
    assert (caught.value.group, caught.value.name) == (GROUP, "gone")


def test_one_name_for_two_things_is_refused(folder: Path) -> None:
    install(folder, {GROUP: {"three": "my_registered:NUMBER"}})
    install(folder, {GROUP: {"three": "my_registered:NUMBER"}}, name="same")
    assert load_registered(GROUP, "three") == 3
    install(folder, {GROUP: {"three": "my_registered:OTHER"}}, name="other")
    with pytest.raises(RegistrationError, match="registered more than once: my_registered:NUMBER, my_registered:OTHER"):
        load_registered(GROUP, "three")
