"""Bring a config file into the names and defaults used here; know every name, and those without effect.

A setting is declared once, by the part that uses it: the town's records, townlet-behavior's, townlet-training's (whose
JSON schema is kept in `data/training.json`, so that a config is checked without torch). A config file uses those names.
The names of the original file format are other spellings of them, listed here and nowhere else.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence
from copy import deepcopy
from types import MappingProxyType
from typing import TypeAlias

from townlet_runtime.errors import WrongValueError
from townlet_trajectory.storage.json import JsonValue

Path: TypeAlias = tuple[str, ...]
Content: TypeAlias = dict[str, JsonValue]

ANY = "*"
"""Stands in a known path for a name or position that the file chooses."""


def _split(key: str) -> Path:
    return tuple(key.split("."))


SPELLINGS: Mapping[Path, Path] = MappingProxyType(
    {
        _split(original): _split(ours)
        for original, ours in {
            "world.grid_size": "town.grid_size",
            "town.agents": "town.num_agents",
            "observations_config.hybrid.local_window": "town.local_window",
            "observations_config.hybrid.time_ticks_per_day": "town.ticks_per_day",
            "rewards.decay_rates": "town.needs_decay",
            "rewards.clip.clip_per_tick": "rewards.clip_per_tick",
            "employment.late_tick_penalty": "rewards.late_tick_penalty",
            "economy.stove_stock_replenish": "town.stove_stock_replenish",
            "policy_runtime.option_commit_ticks": "town.option_ticks",
            "queue_fairness.cooldown_ticks": "queue.cooldown_ticks",
            "queue_fairness.ghost_step_after": "queue.ghost_step_after",
            "conflict.rivalry": "rivalry",
            "rewards.social.C1_chat_base": "social.chat_base",
            "rewards.social.C1_coeff_trust": "social.coeff_trust",
            "rewards.social.C1_coeff_fam": "social.coeff_familiarity",
            "rewards.social.C2_avoid_conflict": "social.avoid_conflict",
            "features.stages.relationships": "social.relationships",
            "features.stages.social_rewards": "social.social_rewards",
            "training.social_reward_stage_override": "social.social_rewards",
            "personalities.distribution": "personality.distribution",
            "personalities.overrides": "personality.overrides",
            "features.behavior.personality_profiles": "personality.profiles",
            "features.behavior.reward_multipliers": "personality.reward_multipliers",
            "behavior.personality_profiles": "personality.profiles",
            "behavior.reward_multipliers": "personality.reward_multipliers",
            "ppo.clip_param": "ppo.clip_range",
            "ppo.gamma": "ppo.discount",
            "ppo.mini_batch_size": "ppo.minibatch_size",
            "ppo.num_mini_batches": "ppo.num_minibatches",
            "ppo.advantage_normalization": "ppo.normalize_advantages",
            "training.bc.learning_rate": "bc.learning_rate",
            "training.bc.batch_size": "bc.batch_size",
            "training.bc.epochs": "bc.num_epochs",
            "training.bc.weight_decay": "bc.weight_decay",
            "training.bc.manifest": "training.bc_manifest",
            "training.anneal_accuracy_threshold": "gates.clone_accuracy",
            "training.anneal_schedule": "schedule.stages",
            "training.anneal_enable_policy_blend": "schedule.policy_blend",
            "stability.promotion.required_passes": "promotion.required_passes",
        }.items()
    }
)
"""Spelling of the original file format -> key. Of two that mean the same key, the later one here wins; the key wins
over both. Where the value is a section, so are both keys."""

OVERRIDE_OF_STAGE = _split("training.social_reward_stage_override")
SCHEDULES: Path = ("scenario", "agents", ANY, "schedule", ANY)
STAGES = ("OFF", "A", "B", "C1", "C2", "C3")
"""Of relationships, in the original file format."""
IN_SCHEDULES: Mapping[str, str] = {"object": "object_id", "affordance": "affordance_id", "target": "target_agent"}
"""The same for what a schedule holds."""

FORMAT_DEFAULTS: Mapping[str, JsonValue] = MappingProxyType(
    {
        "town": {
            "grid_size": [48, 48],
            "local_window": 11,
            "ticks_per_day": 1440,
            "needs_decay": {"hunger": 0.01, "hygiene": 0.005, "energy": 0.008},
            "option_ticks": 15,
        },
        "rewards": {"survival_tick": 0.002, "late_tick_penalty": 0.005},
        "queue": {"cooldown_ticks": 60},
        "social": {"relationships": False, "social_rewards": "OFF"},
        "lifecycle": {"respawn_delay_ticks": 0, "departure_rate": 0.0},
        "economy": {"wage_income": 0.02},
    }
)
"""Defaults of the file format that differ from those of the part that uses the key; they hold where a file is silent.
Those of learning are townlet-training's preset `contract`."""

NO_EFFECT: Mapping[str, tuple[JsonValue, ...]] = MappingProxyType(
    {
        **dict.fromkeys(
            """
            affordances.runtime.* console_auth curiosity embedding_allocator perturbations shaping snapshot telemetry
            economy.* employment.absence_penalty employment.absence_slack employment.absent_cutoff
            employment.attendance_window employment.daily_exit_cap employment.exit_queue_limit
            employment.exit_review_window employment.grace_ticks employment.max_absent_shifts employment.narration
            features.console features.training observations_config.compact observations_config.social_snippet
            personalities.* rewards.clip.clip_per_episode rewards.clip.no_positive_within_death_ticks
            rewards.eviction_penalty scenario.agents.*.schedule.*.quality stability.affordance_fail_threshold
            stability.lateness_threshold stability.option_thrash stability.promotion.allowed_alerts
            stability.promotion.window_ticks stability.reward_variance stability.starvation town.needs_decay.*
            world.weather_seed
            """.split(),
            (),
        ),
        "employment.enforce_job_loop": (False,),
        "features.observations.personality_channels": (False,),
        "features.observations.personality_ui": (False,),
        "features.relationship_modifiers": (False,),
        "features.systems.lifecycle": ("on",),
        "features.systems.observations": ("hybrid",),
        "observations_config.hybrid.include_targets": (False,),
        "queue_fairness.age_priority_weight": (0,),
        "training.bc.device": ("cpu",),
    }
)
"""Keys that are accepted with any value, and that nothing acts on; a last `*` stands for every name that is not known.
Beside each: values that say what happens anyway, and need no warning."""

OF_THE_TOWN = frozenset(
    """affordances behavior conflict economy employment features jobs lifecycle observations_config personalities
    personality policy_runtime queue queue_fairness rewards rivalry scenario.agents scenario.objects social town
    training.rollout_auto_seed_agents training.social_reward_schedule
    training.social_reward_stage_override world""".split()
)
"""Keys that describe the town, and nothing in another environment."""
ELSEWHERE = frozenset(
    """environment.actions environment.global_state environment.max_entities environment.observation_kinds
    environment.settings environment.vectorization""".split()
)
"""Keys that have no effect in the town."""


def merge(base: Content, over: Content) -> Content:
    """Return `base` with the values of `over`, section by section; neither is changed."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def nested(path: Path, value: JsonValue) -> Content:
    """Return the sections that hold `value` at `path`, and nothing else."""
    for key in reversed(path[1:]):
        value = {key: value}
    return {path[0]: value}


def respelled(content: Content) -> tuple[Content, dict[Path, Path]]:
    """Bring every key into the spelling used here.

    Args:
        content: of a config file or an override; it is not changed.

    Returns:
        The content, and by key how it was spelled, where that differs.

    Raises:
        WrongValueError: if a value cannot be translated.
    """
    rest: Content = {key: value for key, value in deepcopy(content).items() if value is not None}
    moved: Content = {}
    spelled: dict[Path, Path] = {}
    for theirs, ours in SPELLINGS.items():
        for section, _ in _sections(rest, theirs[:-1]):
            if theirs[-1] not in section:
                continue
            value = section.pop(theirs[-1])
            if value is None and theirs == OVERRIDE_OF_STAGE:
                continue
            moved = merge(moved, nested(ours, _stage(value) if theirs[-1] == "relationships" else value))
            spelled[ours] = theirs
    for entry in schedule_entries(rest):
        for theirs_here, ours_here in IN_SCHEDULES.items():
            if theirs_here in entry:
                entry.setdefault(ours_here, entry.pop(theirs_here))
    return merge(moved, rest), spelled


def respelled_path(path: Path) -> Path:
    """Return the key that `path` spells, which may be one below a section that is spelled in two ways."""
    found = next((path[:length] for length in range(len(path), 0, -1) if path[:length] in SPELLINGS), ())
    return (*SPELLINGS[found], *path[len(found) :]) if found else path


def as_spelled(path: Path, spelled: Mapping[Path, Path]) -> Path:
    """Return `path` as it was spelled, by what `respelled` returned."""
    found = next((path[:length] for length in range(len(path), 0, -1) if path[:length] in spelled), ())
    return (*spelled[found], *path[len(found) :]) if found else path


def take_without_effect(content: Content, known: Collection[Path]) -> list[Path]:
    """Take the keys of `NO_EFFECT` out of `content`, and return those to warn of, once each.

    Args:
        known: the keys that have an effect.
    """
    named: dict[Path, None] = {}
    for pattern, harmless in NO_EFFECT.items():
        *parents, last = _split(pattern)
        for section, where in _sections(content, tuple(parents)):
            names = [last] if last != ANY else [name for name in section if (*where, name) not in known]
            for name in names:
                if name in section and section.pop(name) not in harmless:
                    named[(*where, name)] = None
    return list(named)


def prune(content: Content, known: Collection[Path]) -> None:
    """Take out sections of the original file format that are empty, or whose keys were all taken."""
    for path in sorted({key for key in spellings() if key not in known}, key=len, reverse=True):
        for section, _ in _sections(content, path[:-1]):
            if path[-1] in section and section[path[-1]] in (None, {}):
                del section[path[-1]]


def schedule_entries(content: Content) -> Iterator[Content]:
    """Every entry of every schedule in `scenario.agents`."""
    for entry, _ in _sections(content, SCHEDULES):
        yield entry


def _sections(content: JsonValue, path: Path, where: Path = ()) -> Iterator[tuple[Content, Path]]:
    """Every section at `path`, which may hold `ANY`, and where it is; `[]` stands for every place in a list."""
    if not path:
        if isinstance(content, dict):
            yield content, where
    elif path[0] == ANY and isinstance(content, list):
        for item in content:
            yield from _sections(item, path[1:], (*where[:-1], f"{where[-1]}[]"))
    elif isinstance(content, dict) and path[0] in content:
        yield from _sections(content[path[0]], path[1:], (*where, path[0]))


def _stage(value: JsonValue) -> JsonValue:
    """Whether there are relationships: every stage but `OFF` is the same here."""
    if value not in STAGES:
        raise WrongValueError(
            f"must be one of {', '.join(STAGES)}, got {value!r:.80}", ("features", "stages", "relationships")
        )
    return value != "OFF"


def nearest_key(path: Sequence[str], known: Collection[Path]) -> str:
    """Return the known dotted key that is most like `path`: by its last part, those beside it first."""
    *parent, last = path

    def likeness(candidate: Path) -> float:
        # A key of another section has to be clearly more like it than those beside it.
        elsewhere = 0.0 if _is_below(candidate[:-1], parent) else 0.25
        initials = "".join(word[:1] for word in candidate[-1].split("_"))
        ratio = max(difflib.SequenceMatcher(None, last, name).ratio() for name in (candidate[-1], initials))
        return ratio - elsewhere

    # In order, so that of equals it is always the same one.
    best = max(sorted(known), key=likeness)
    return ".".join([*parent, best[-1]] if _is_below(best[:-1], parent) else best)


def _is_below(known_parent: Path, parent: Sequence[str]) -> bool:
    return len(known_parent) == len(parent) and all(a in (ANY, b) for a, b in zip(known_parent, parent, strict=True))


def spellings() -> Iterator[Path]:
    """Every key in the spelling of the original file format, and every key without effect, with their sections."""
    keys = {*SPELLINGS, *map(_split, NO_EFFECT), *((*SCHEDULES, name) for name in IN_SCHEDULES)}
    for key in keys:
        yield from (key[:length] for length in range(1, len(key) + 1) if key[length - 1] != ANY)


def keys_of_schema(part: JsonValue, definitions: JsonValue, prefix: Path = ()) -> Iterator[Path]:
    """Every key that a JSON schema knows, sections included.

    Args:
        part: of the schema; references in it are followed.
        definitions: its `$defs`.
        prefix: where the part is.
    """
    if not isinstance(part, dict) or not isinstance(definitions, dict):
        return
    reference = part.get("$ref")
    if isinstance(reference, str):
        yield from keys_of_schema(definitions[reference.rpartition("/")[2]], definitions, prefix)
    properties = part.get("properties")
    for name, inner in properties.items() if isinstance(properties, dict) else ():
        yield (*prefix, name)
        yield from keys_of_schema(inner, definitions, (*prefix, name))
    for items in (part.get("items"), part.get("additionalProperties")):
        yield from keys_of_schema(items, definitions, (*prefix, ANY))
    options = part.get("anyOf")
    for option in options if isinstance(options, list) else ():
        yield from keys_of_schema(option, definitions, prefix)
