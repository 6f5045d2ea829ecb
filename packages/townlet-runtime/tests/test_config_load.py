import string
from pathlib import Path

import pytest
from config_content import config_of
from hypothesis import given
from hypothesis import strategies as st

from townlet_runtime.config import BUILT_IN, config_from, load_config, parse_override, town_config
from townlet_runtime.config.dump import resolved
from townlet_runtime.config.schema import known_keys
from townlet_runtime.errors import ConfigError

SCENARIOS = sorted((Path(__file__).parent / "data" / "scenarios").glob("*.yaml"))


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    return path


def refusal(path: Path | None, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(path, [parse_override(text) for text in overrides])
    return str(caught.value)


def test_without_a_file_the_built_in_config_is_used() -> None:
    loaded = load_config(None)
    assert (loaded.source, loaded.warning) == (BUILT_IN, None)
    assert loaded.config.preset == "town"


def test_a_file_has_the_defaults_of_the_format_and_nothing_of_the_built_in_one(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, "seed: 3\n")).config
    assert config.preset is None
    assert config.queue.cooldown_ticks == 60
    assert load_config(None).config.queue.cooldown_ticks == 5
    assert load_config(written(tmp_path, "")).config == config_of({})


def test_original_files_load_with_one_warning_each() -> None:
    assert len(SCENARIOS) == 4
    for path in SCENARIOS:
        loaded = load_config(path)
        assert loaded.warning is not None
        assert loaded.warning.startswith(f"{path}: without effect here: ")
        assert "rewards.needs_weights" not in loaded.warning
        idle = (
            ("employment.narration",) if path.stem == "story_arc_small" else ("features.training", "world.weather_seed")
        )
        assert [key for key in idle if key not in loaded.warning] == []


def test_what_a_scenario_plays_has_an_effect() -> None:
    for path in SCENARIOS:
        warning = load_config(path).warning
        assert warning is not None
        named = warning.partition("without effect here: ")[2].split(", ")
        played = ("scenario.", "features.stages", "conflict", "personalities", "rewards.social")
        assert [key for key in named if key.startswith(played)] == []


def test_an_unknown_section_is_a_warning_with_the_nearest_known_key(tmp_path: Path) -> None:
    loaded = load_config(written(tmp_path, "trainng: {source: bc}\nweb: 1\nseed: 4\n"))
    assert loaded.config.seed == 4
    assert loaded.warning is not None
    assert "unknown and left out: trainng (nearest known key: training), web (nearest known key: " in loaded.warning


def test_keys_without_effect_warn_whatever_they_say(tmp_path: Path) -> None:
    for text in ("telemetry: {colour: red}", "telemetry: {diff_enabled: 3}", "telemetry: 3"):
        assert load_config(written(tmp_path, text)).warning == f"{tmp_path / 'c.yaml'}: without effect here: telemetry"
    assert load_config(written(tmp_path, "employment: {narration: {lateness_threshold: 0.4}}")).warning == (
        f"{tmp_path / 'c.yaml'}: without effect here: employment.narration"
    )


def test_a_value_that_says_what_happens_anyway_needs_no_warning(tmp_path: Path) -> None:
    text = "features: {systems: {lifecycle: 'on', observations: hybrid}, stages: {relationships: 'OFF'}}"
    assert load_config(written(tmp_path, text)).warning is None


def test_objects_that_the_town_does_not_have_are_named(tmp_path: Path) -> None:
    loaded = load_config(written(tmp_path, "scenario: {objects: [{id: s1, type: sofa}, {id: b, type: bed}]}"))
    assert loaded.warning is not None and loaded.warning.endswith("scenario.objects[s1] (type `sofa`)")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ppo: {gama: 0.9}", "`ppo.gama`: unknown key; the nearest known key is `ppo.gamma`"),
        ("ppo: {lr: 0.9}", "`ppo.lr`: unknown key; the nearest known key is `ppo.learning_rate`"),
        ("town: {agent: 3}", "`town.agent`: unknown key; the nearest known key is `town.agents`"),
        ("jobs: {cook: {start: 3}}", "`jobs.cook.start`: unknown key; the nearest known key is `jobs.cook.start_tick`"),
        ("town: {required_passes: 3}", "nearest known key is `promotion.required_passes`"),
        ("ppo: {gamma: 5}", "`ppo.gamma`: must be less than or equal to 1, got 5"),
        ("world: 3", "`world`: must be a section (`key: value` lines), got 3"),
        ("policy_runtime: {option_commit_ticks: x}", "must be a valid integer or an object, got 'x'"),
        ("scenario: {agents: [{position: [1, 1]}]}", "`scenario.agents.0.id`: must be there"),
        ("network: {hidden_sizes: [8, x]}", "`network.hidden_sizes.1`: must be a valid integer"),
        (
            "affordances: {runtime: {factory: 'os:system'}}",
            "`affordances.runtime.factory`: must be null, got 'os:system'",
        ),
        ("affordances: {affordance_file: x}", "`affordances.affordance_file`: unknown key; the nearest known key is"),
        ("environment: {nam: town}", "nearest known key is `environment.name`"),
        ("environment: {settings: {a: [1]}}", "`environment.settings.a`: must be a valid string or a valid integer"),
        (
            "environment: {name: 'os:system'}",
            "or a registered name, got 'os:system' (a config must not name code to import)",
        ),
        ("environment: {name: 'gymnasium:evil:CartPole-v1'}", "got 'gymnasium:evil:CartPole-v1'"),
        ("town: {local_window: 4}", "`town.local_window`: must be an odd number of cells, got 4"),
        (
            "observations_config: {hybrid: {local_window: 8}}",
            "`observations_config.hybrid.local_window`: must be an odd number of cells, got 8",
        ),
        ("world: {grid_size: [100000, 100000]}", "`world.grid_size.0`: must be less than or equal to 4096, got 100000"),
        ("seed: 9223372036854775808", "`seed`: must be less than or equal to 9223372036854775807, got 92233720368"),
        ("behavior: {hunger_threshold: 2}", "`behavior.hunger_threshold`: must be in [0, 1], got 2"),
        ("stability: {promotion: {required_passes: 11}}", "`stability.promotion.required_passes`: must be in [1, 10]"),
        ("conflict: {rivalry: {min_value: 0.9, max_value: 0.1}}", "`conflict.rivalry.min_value`: expected at most"),
        ("rewards: {clip: {clip_per_tik: 1}}", "unknown key; the nearest known key is `rewards.clip.clip_per_tick`"),
        ("world: {grid: [3, 3]}", "`world.grid`: unknown key; the nearest known key is `world.grid_size`"),
        ("environment: {max_episode_ticks: 0}", "must be greater than or equal to 1, got 0"),
        ("lifecycle: {departure_rate: 2}", "must be less than or equal to 1, got 2"),
        ("conflict: {rivalry: {max_edges: 0}}", "must be greater than or equal to 1, got 0"),
        ("rewards: {social: {C1_chat: 0.1}}", "the nearest known key is `rewards.social.C1_chat_base`"),
        ("features: {stages: {relationships: off}}", "must be one of OFF, A, B, C1, C2, C3, got 'off'"),
        ("[1, 2]", "expected sections"),
        (f"config_id: [{'x' * 200}]", "must be a valid string, got ['xxx"),
    ],
)
def test_a_wrong_key_or_value_is_one_error_that_names_file_and_key(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)
    said = refusal(path)
    assert said.startswith(f"{path}: ")
    assert message in said
    assert len(said) < 300 and "\n" not in said


def test_a_file_that_is_no_config_is_refused_with_the_sections_looked_for(tmp_path: Path) -> None:
    for text in ("timeline: [{tick: 3}]", "{events: [], version: 1}"):
        said = refusal(written(tmp_path, text))
        assert said.startswith(f"{tmp_path / 'c.yaml'}: no config: expected at least one of the sections affordances, ")
        assert said.endswith("got timeline" if "timeline" in text else "got events, version")
    assert load_config(written(tmp_path, "perturbations: {}")).config == load_config(written(tmp_path, "")).config


def test_whole_numbers_may_have_an_exponent(tmp_path: Path) -> None:
    path = written(tmp_path, "{training: {total_env_steps: 1e6}, town: {agents: 3e1}, scenario: {ticks: 4.0}}")
    config = load_config(path, [parse_override("training.rollout_ticks=2e2")]).config
    assert config.training == {"total_env_steps": 1_000_000, "rollout_ticks": 200}
    assert (config.town["num_agents"], config.scenario.ticks) == (30, 4)
    assert "must be a valid integer, got 1.5" in refusal(None, "town.agents=1.5")


def test_overrides_are_checked_like_the_file_and_named_in_errors() -> None:
    assert refusal(None, "ppo.gamma=5").startswith("--set ppo.gamma=5: `ppo.gamma`: must be")
    assert "nearest known key is `town.agents`" in refusal(None, "town.agnts=5")
    assert refusal(None, "tow.agents=5").startswith("--set tow.agents=5: `tow.agents`: unknown key")
    assert refusal(None, "town=5").startswith("--set town=5: `town`: must be a section")
    assert refusal(None, "ppo.gamma=0.9", "ppo.gamma=7").startswith("--set ppo.gamma=7")


def test_what_the_file_got_wrong_is_not_blamed_on_an_override(tmp_path: Path) -> None:
    path = written(tmp_path, "ppo: {gamma: 5}")
    with pytest.raises(ConfigError) as caught:
        load_config(path, [parse_override("ppo.learning_rate=1.0")])
    assert str(caught.value).startswith(f"{path}: ")


@given(
    st.sampled_from([key for key in known_keys() if len(key) > 1 and "*" not in key]),
    st.text(string.ascii_lowercase, min_size=1, max_size=6),
)
def test_a_key_that_is_not_known_never_passes_in_silence(key: tuple[str, ...], suffix: str) -> None:
    unknown = (*key[:-1], f"{key[-1]}_{suffix}")
    if unknown in known_keys():
        return
    try:
        said = load_config(None, [parse_override(f"{'.'.join(unknown)}=1")]).warning
    except ConfigError as error:
        said = f"{error}"
    assert said is not None
    assert f"`{'.'.join(unknown)}`" in said or f"without effect here: {key[0]}" in said


def test_an_affordance_file_is_read_where_the_config_names_one(tmp_path: Path) -> None:
    path = written(tmp_path, "affordances: {affordances_file: own.yaml}")
    assert refusal(path).startswith(f"{path}: `affordances.affordances_file`: expected an affordance file, found none")
    (tmp_path / "own.yaml").write_text("- {id: nap, object_type: bed, duration: 3, effects: {energy: 0.2}}")
    bed = town_config(load_config(path).config).affordances["bed"]
    assert (bed.id, bed.duration, bed.effects.energy, bed.cost) == ("nap", 3, 0.2, 0.0)
    (tmp_path / "own.yaml").write_text("- {id: nap, object_type: bed, duration: 0, effects: {}}")
    assert refusal(path).startswith(f"{tmp_path / 'own.yaml'}: `nap.duration`: must be greater than")
    elsewhere = written(tmp_path, "{environment: {name: 'pettingzoo:x'}, affordances: {affordances_file: own.yaml}}")
    assert load_config(elsewhere).warning == f"{elsewhere}: without effect here: affordances"


def test_environments_are_named_by_registry(tmp_path: Path) -> None:
    for name in ("town", "gymnasium:CartPole-v1", "gymnasium:ALE/Pong-v5", "pettingzoo:mpe2.simple_spread_v3"):
        path = written(tmp_path, f"environment: {{name: '{name}', settings: {{a: 1, b: x, c: null, d: 0.5, e: true}}}}")
        section = load_config(path).config.environment
        assert (section.name, section.is_town) == (name, name == "town")
        assert section.settings == {"a": 1, "b": "x", "c": None, "d": 0.5, "e": True}


def test_an_override_is_one_scalar_or_a_list_or_mapping() -> None:
    parsed = parse_override("town.local_window = 9")
    assert (parsed.path, parsed.value, parsed.label) == (("town", "local_window"), 9, "--set town.local_window = 9")
    values = {"[1, x]": [1, "x"], "{b: 2}": {"b": 2}, "x=y": "x=y", "#ff0000": "#ff0000", "null": None, "''": ""}
    assert {text: parse_override(f"a.b={text}").value for text in values} == values
    assert parse_override("a=1e6").value == 1e6


@pytest.mark.parametrize("text", ["a", "=3", "a..b=3", ".a=3"])
def test_what_is_no_override_is_refused_by_its_text(text: str) -> None:
    with pytest.raises(ConfigError, match=r"expected KEY=VALUE") as caught:
        parse_override(text)
    assert text in str(caught.value)


@pytest.mark.parametrize("text", ["a=", "a=  "])
def test_an_override_without_a_value_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=f"^--set {text}: expected a value, got none"):
        parse_override(text)


def test_a_colour_is_text_and_reaches_the_environment() -> None:
    overrides = [parse_override("environment.name=pettingzoo:x"), parse_override("environment.settings.color=#ff0000")]
    assert load_config(None, overrides).config.environment.settings == {"color": "#ff0000"}


def test_the_last_override_wins_in_whichever_spelling_and_the_content_stays(tmp_path: Path) -> None:
    path = written(
        tmp_path, "{ppo: {discount: 0.5, entropy_coef: 0.2}, conflict: {rivalry: {max_edges: 3, min_value: 0.1}}}"
    )
    texts = ["ppo.gamma=0.6", "ppo.discount=0.7", "ppo.gamma=0.8", "rivalry.max_edges=5"]
    config = load_config(path, [parse_override(text) for text in texts]).config
    assert config.ppo == {"discount": 0.8, "entropy_coef": 0.2}
    assert (config.rivalry.max_edges, config.rivalry.min_value) == (5, 0.1)
    content = {"ppo": {"gamma": 0.9}}
    config_from(content, [parse_override("ppo={num_epochs: 3}")], source="x")
    assert content == {"ppo": {"gamma": 0.9}}


def test_an_override_of_a_section_replaces_it(tmp_path: Path) -> None:
    path = written(tmp_path, "{ppo: {gamma: 0.5, entropy_coef: 0.2}}")
    assert load_config(path, [parse_override("ppo={clip_param: 0.3}")]).config.ppo == {"clip_range": 0.3}


def test_below_a_value_nothing_can_be_set(tmp_path: Path) -> None:
    path = written(tmp_path, "{config_id: x}")
    assert "`config_id` is no section, so nothing below it can be set" in refusal(path, "config_id.b.c=1")


def test_the_built_in_config_has_the_defaults_of_the_town_and_a_file_those_of_the_format(tmp_path: Path) -> None:
    built_in, silent = load_config(None).config, load_config(written(tmp_path, "")).config
    assert (town_config(built_in).grid_size, town_config(silent).grid_size) == ((16, 16), (48, 48))
    assert (built_in.rewards.survival_tick, silent.rewards.survival_tick) == (0.01, 0.002)
    half = load_config(written(tmp_path, "rewards: {wage_rate: 0.02}")).config.rewards
    assert (half.wage_rate, half.survival_tick, half.needs_penalty) == (0.02, 0.002, 0.01)


@given(st.sampled_from(["seed", "ppo.gamma", "ppo.discount", "town.agents", "behavior.hunger_threshold"]), st.data())
def test_an_override_changes_its_key_and_no_other(key: str, data: st.DataObject) -> None:
    value = data.draw(st.integers(1, 9) if key in ("seed", "town.agents") else st.floats(0.1, 0.9))
    plain = resolved(load_config(None).config)
    changed = resolved(load_config(None, [parse_override(f"{key}={value}")]).config)
    section, _, name = {"ppo.gamma": "ppo.discount", "town.agents": "town.num_agents"}.get(key, key).rpartition(".")
    inside = changed[section] if section else changed
    assert isinstance(inside, dict) and inside.pop(name) == value
    before = plain.get(section, {}) if section else plain
    assert isinstance(before, dict)
    before.pop(name, None)
    assert {k: v for k, v in changed.items() if v} == {k: v for k, v in plain.items() if v}


ODD: tuple[object, ...] = (None, True, "x", "", -1, 2**63, 1e300, 0.5, "\u001b[31m", [], {}, [[]], [{}], [1], [1, 2, 3])
ODD += ({"a": {}}, {"": 1}, {"x": [None]}, [None], {"*": {}})


@given(st.sampled_from(sorted(known_keys())), st.sampled_from(ODD), st.sampled_from(["a", "bed", None]))
def test_odd_content_anywhere_is_a_config_or_one_line(key: tuple[str, ...], value: object, name: str | None) -> None:
    for part in reversed(key):
        value = {part: value} if part != "*" else [value] if name is None else {name: value}
    assert isinstance(value, dict)
    try:
        config = config_from(value, source="town.yaml").config
    except ConfigError as error:
        said = str(error)
    else:
        again = config_from(resolved(config), source="town.yaml").config
        said = "town.yaml: " if resolved(again) == resolved(config) else "it means something else when it is read again"
    assert said.startswith("town.yaml: ") and "\n" not in said
