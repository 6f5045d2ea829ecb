"""What a config says about training, as townlet-training calls it: a table of names, and nothing computed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Literal

from townlet_runtime.config.overrides import Override, apply_overrides
from townlet_runtime.config.schema import Config, Section, Setting
from townlet_runtime.config.schema.training import PPO, Source
from townlet_runtime.config.yaml_reader import Yaml
from townlet_runtime.errors import ConfigError

Mode = Literal["anneal", "ppo", "bc"]
"""What is trained. anneal: clone the script, blend, then PPO. ppo: PPO alone. bc: the clone alone."""

TRAINING_NAMES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "ppo.learning_rate": ("ppo.learning_rate",),
        "ppo.clip_param": ("ppo.clip_range",),
        "ppo.value_loss_coef": ("ppo.value_loss_coef",),
        "ppo.entropy_coef": ("ppo.entropy_coef",),
        "ppo.num_epochs": ("ppo.num_epochs",),
        "ppo.mini_batch_size": ("ppo.minibatch_size",),
        "ppo.gae_lambda": ("ppo.gae_lambda",),
        "ppo.gamma": ("ppo.discount",),
        "ppo.max_grad_norm": ("ppo.max_grad_norm",),
        "ppo.value_clip": ("ppo.value_clip",),
        "ppo.advantage_normalization": ("ppo.normalize_advantages",),
        "ppo.num_mini_batches": ("ppo.num_minibatches",),
        "ppo.target_kl": ("ppo.target_kl",),
        "ppo.min_ratio": ("ppo.min_ratio",),
        "ppo.learning_rate_schedule": ("ppo.learning_rate_schedule",),
        "ppo.clip_schedule": ("ppo.clip_schedule",),
        "training.rollout_ticks": ("rollout_ticks",),
        "training.total_env_steps": ("total_env_steps",),
        "training.num_envs": ("num_envs",),
        "training.keep_checkpoints": ("keep_checkpoints",),
        "training.bc.learning_rate": ("bc.learning_rate",),
        "training.bc.batch_size": ("bc.batch_size",),
        "training.bc.epochs": ("bc.num_epochs",),
        "training.bc.weight_decay": ("bc.weight_decay",),
        "training.anneal_accuracy_threshold": ("gates.clone_accuracy",),
        "network.hidden_sizes": ("network.hidden_sizes",),
        "network.activation": ("network.activation",),
        "network.normalize_observations": ("network.normalize_observations",),
        "network.value_scale": ("network.value_scale",),
        "anneal.clone_ticks": ("anneal.clone_ticks",),
        "anneal.held_out_fraction": ("anneal.held_out_fraction",),
        "anneal.warmup_updates": ("anneal.warmup_updates",),
        "anneal.blend_fraction": ("anneal.blend_fraction",),
        "anneal.min_ratio": ("anneal.min_ratio",),
        "anneal.kickstart_start": ("anneal.kickstart_start",),
        "anneal.kickstart_end": ("anneal.kickstart_end",),
        "anneal.max_retries": ("anneal.max_retries",),
        "anneal.kept_fraction": ("gates.kept_fraction",),
        "evaluation.every_updates": ("eval_every",),
        "evaluation.episodes": ("eval_episodes",),
        "evaluation.final_episodes": ("final_episodes",),
        "evaluation.acting": ("acting",),
        "evaluation.level": ("gates.level",),
        "evaluation.resamples": ("gates.num_resamples", "promotion.num_resamples"),
        "evaluation.promotion_episodes": ("promotion.num_episodes",),
        "evaluation.tail_margin": ("promotion.tail_margin",),
        "stability.promotion.required_passes": ("promotion.required_passes",),
    }
)
"""Key of the config -> dotted field of townlet_training's `TrainingConfig` (all of them, where there are several)."""

_EITHER = frozenset({"ppo.mini_batch_size", "ppo.num_mini_batches"})
_NULL_MEANS_SOMETHING = frozenset({"ppo.value_clip", "ppo.target_kl"})

_MODES: Mapping[Source, Mode] = MappingProxyType({"rollout": "ppo", "ppo": "ppo", "bc": "bc", "anneal": "anneal"})


def training_mode(config: Config) -> Mode:
    """Return what is trained: `training.source`, and `anneal` where the file is silent.

    Raises:
        ConfigError: if the source is one that needs recorded captures.
    """
    if "source" not in config.training.model_fields_set:
        return "anneal"
    if config.training.source not in _MODES:
        raise ConfigError(
            f"expected one of {', '.join(_MODES)}, got {config.training.source}; say what to train with --mode",
            key="training.source",
        )
    return _MODES[config.training.source]


def training_settings(config: Config) -> dict[str, Setting]:
    """Return what is said about training, by dotted field of `TrainingConfig`.

    Said is what the file and the overrides set and, where no preset is named, the defaults of the file format. All
    else is the preset's, or townlet-training's own.
    """
    said = dict(_values(config, only_set=True))
    said.setdefault("training.total_env_steps", config.training.total_env_steps)
    by_size = "ppo.mini_batch_size" in said and "ppo.num_mini_batches" not in said
    if config.preset is None:
        said = dict(_values(config.model_copy(update={"ppo": config.ppo or PPO()}), only_set=False)) | said
    if said.keys() & _EITHER:
        # Two ways to say how many steps a gradient step sees; the trainer takes one of them.
        said["ppo.num_mini_batches" if by_size else "ppo.mini_batch_size"] = None
    decisive = {key for key, value in said.items() if value is not None} | _NULL_MEANS_SOMETHING | _EITHER
    return {
        field: said[key] for key in TRAINING_NAMES if key in said and key in decisive for field in TRAINING_NAMES[key]
    }


def _values(section: Section, *, only_set: bool, prefix: str = "") -> Iterator[tuple[str, Setting]]:
    for name in section.model_fields_set if only_set else type(section).model_fields:
        key, value = f"{prefix}{name}", getattr(section, name)
        if isinstance(value, Section):
            yield from _values(value, only_set=only_set, prefix=f"{key}.")
        elif key in TRAINING_NAMES:
            yield key, value


def with_training(config: Config, *, mode: Mode, seed: int, fields: Mapping[str, Setting]) -> Config:
    """Return `config` with every value of training written out, so that it no longer depends on a preset.

    Args:
        seed: of the run; replaces every seed that the file states.
        fields: every dotted field of the `TrainingConfig` in use.
    """
    values: dict[str, Setting] = {"seed": seed, "training.source": mode}
    if config.scenario.seed is not None:
        # It would win over `seed` when the file is read back.
        values["scenario.seed"] = seed
    for key, names in TRAINING_NAMES.items():
        value = fields[names[0]]
        if value is not None or key in _NULL_MEANS_SOMETHING:
            values[key] = value
    content: dict[str, Yaml] = config.model_dump(exclude_unset=True)
    replaced = apply_overrides(content, [_override(key, value) for key, value in values.items()])
    return Config.model_validate(replaced)


def _override(key: str, value: Setting) -> Override:
    plain: Yaml = list(value) if isinstance(value, tuple) else value
    return Override(path=tuple(key.split(".")), value=plain, label=key)
