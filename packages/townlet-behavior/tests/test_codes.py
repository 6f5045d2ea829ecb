from townlet_behavior import Kind, Source


def test_the_codes_are_those_in_files() -> None:
    assert {kind.name.lower(): kind.value for kind in Kind} == {"decision": 0, "forced": 1, "foreign": 2}
    assert {source.name.lower(): source.value for source in Source} == {"scripted": 0, "learned": 1, "external": 2}
