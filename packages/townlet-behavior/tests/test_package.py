import re
from pathlib import Path

import pytest

import townlet_behavior

README = Path(__file__).parents[1] / "README.md"


def test_every_public_name_is_there_once() -> None:
    names = townlet_behavior.__all__
    assert len(set(names)) == len(names)
    assert set(names) <= set(vars(townlet_behavior))


def test_the_version_is_that_of_the_distribution() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", townlet_behavior.__version__)


def test_the_readme_examples_print_what_they_say(capsys: pytest.CaptureFixture[str]) -> None:
    text = README.read_text()
    examples = re.findall(r"```python\n(.*?)```.*?prints\n\n```text\n(.*?)```", text, flags=re.DOTALL)
    assert len(examples) == text.count("```python\n") == 2
    for example, printed in examples:
        exec(compile(example, str(README), "exec"), {"__name__": "readme"})
        assert capsys.readouterr().out == printed


def test_the_readme_lists_the_columns_of_a_decision() -> None:
    documented = re.findall(r"^\| `(\w+)` \|", README.read_text(), flags=re.MULTILINE)
    assert documented == list(townlet_behavior.DecisionBatch.__annotations__)
