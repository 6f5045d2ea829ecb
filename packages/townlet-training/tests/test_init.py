"""The public names."""

import townlet_training


def test_every_public_name_is_there_and_listed_once() -> None:
    names = townlet_training.__all__
    assert len(set(names)) == len(names)
    for name in names:
        assert name in vars(townlet_training)
