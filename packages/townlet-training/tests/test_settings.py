"""A record of settings is held to what its annotations declare."""

from dataclasses import dataclass, field, fields, is_dataclass
from typing import Annotated, Any, Literal, get_type_hints

import pytest
from pydantic import Field, TypeAdapter

from townlet_training.config import GroupConfig, StageConfig, TrainingConfig
from townlet_training.errors import ConfigError
from townlet_training.settings import check_settings
from townlet_trajectory.evaluation.promotion import PromotionConfig


@dataclass(frozen=True, kw_only=True)
class Inner:
    size: Annotated[int, Field(ge=1, le=9)] = 1

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True, kw_only=True)
class Outer:
    share: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.5
    word: Literal["a", "b"] = "a"
    flag: bool = True
    clip: Annotated[float, Field(gt=0.0)] | None = None
    sizes: tuple[Annotated[int, Field(ge=1)], ...] = (1,)
    inner: Inner = field(default_factory=Inner)

    def __post_init__(self) -> None:
        check_settings(self)


def test_what_is_declared_is_accepted_up_to_its_ends() -> None:
    outer = Outer(share=0, word="b", flag=False, clip=1e-9, sizes=(), inner=Inner(size=9))
    assert (outer.share, outer.inner.size) == (0, 9)
    assert Outer().clip is None


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"share": 1.0}, "`share` must be less than 1, got 1.0"),
        ({"share": float("nan")}, "`share` must be a finite number, got nan"),
        ({"share": True}, "`share` must be a valid number, got True"),
        ({"share": "0.5"}, "`share` must be a valid number, got '0.5'"),
        ({"word": "c"}, "`word` must be 'a' or 'b', got 'c'"),
        ({"flag": 1}, "`flag` must be a valid boolean, got 1"),
        ({"clip": 0.0}, "`clip` must be greater than 0, got 0.0"),
        ({"sizes": (1, 0)}, "`sizes` must be greater than or equal to 1, got .1, 0."),
        ({"sizes": 3}, "`sizes` must be a valid tuple, got 3"),
    ],
)
def test_another_type_or_number_is_refused_by_name(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{message}$"):
        Outer(**wrong)


def test_a_record_inside_checks_itself() -> None:
    with pytest.raises(ConfigError, match="^`size` must be less than or equal to 9, got 10$"):
        Outer(inner=Inner(size=10))


def whole_numbers(part: dict[str, Any], definitions: dict[str, Any], path: str = "") -> dict[str, dict[str, Any]]:
    """Every integer of a JSON schema, by dotted name."""
    if "$ref" in part:
        part = definitions[part["$ref"].rpartition("/")[2]]
    found = {path: part} if part.get("type") == "integer" else {}
    for name, inner in part.get("properties", {}).items():
        found |= whole_numbers(inner, definitions, f"{path}.{name}")
    for inner in (*part.get("anyOf", ()), *([part["items"]] if "items" in part else [])):
        found |= whole_numbers(inner, definitions, path)
    return found


def test_every_whole_number_of_a_run_has_a_floor_and_a_ceiling() -> None:
    schema = TypeAdapter(TrainingConfig).json_schema()
    numbers = whole_numbers(schema, schema["$defs"])
    assert {".num_envs", ".ppo.minibatch_size", ".network.hidden_sizes", ".gates.num_resamples"} <= set(numbers)
    numbers = {name: part for name, part in numbers.items() if not name.startswith(".promotion.")}
    assert [name for name, part in numbers.items() if "minimum" not in part] == []
    ceilings = {name: part.get("maximum", part.get("exclusiveMaximum", 2**64)) for name, part in numbers.items()}
    assert [name for name, ceiling in ceilings.items() if ceiling >= 2**63] == []


def test_every_setting_of_a_run_is_held_to_its_annotation() -> None:
    def refused(record: Any, name: str) -> bool:
        try:
            record(**{name: object()}, **({"seed": 1} if record is TrainingConfig and name != "seed" else {}))
        except ConfigError as error:
            return f"`{name}`" in str(error)
        return False

    # The promotion's are declared in townlet-trajectory, which has no pydantic: it checks them by hand.
    hints = get_type_hints(TrainingConfig).values()
    nested = [hint for hint in hints if is_dataclass(hint) and hint is not PromotionConfig]
    assert len(nested) == 7
    for record in (TrainingConfig, *nested, StageConfig, GroupConfig):
        assert [each.name for each in fields(record) if not refused(record, each.name)] == []
