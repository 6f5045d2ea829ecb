import pytest
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from townlet_runtime.config.problems import path_of, problem_of
from townlet_runtime.config.schema import Config
from townlet_runtime.config.yaml_reader import Yaml


def details(content: dict[str, Yaml]) -> list[ErrorDetails]:
    with pytest.raises(ValidationError) as caught:
        Config.model_validate(content)
    return caught.value.errors(include_url=False)


def test_a_path_has_the_keys_of_the_file_and_no_names_of_branches() -> None:
    content: dict[str, Yaml] = {"policy_runtime": {"option_commit_ticks": "x"}}
    found = details(content)
    assert len(found) == 2
    assert {path_of(detail, content) for detail in found} == {("policy_runtime", "option_commit_ticks")}
    assert problem_of(found) == "must be a valid integer or a valid dictionary, got 'x'"


def test_a_missing_key_is_named_though_it_is_not_there() -> None:
    content: dict[str, Yaml] = {"scenario": {"agents": [{"id": "a"}, {}]}}
    (found,) = details(content)
    assert path_of(found, content) == ("scenario", "agents", "1", "id")
    assert problem_of([found]) == "Field required"


def test_long_values_are_cut_and_misread_words_explained() -> None:
    (found,) = details({"config_id": ["x" * 99]})
    assert problem_of([found]).endswith(f"got ['{'x' * 78}...")
    (found,) = details({"config_id": True})
    assert problem_of([found]).endswith("got True (quote it: YAML reads on, off, yes and no as true and false)")
