"""Config files: read, checked, and turned into the frozen settings of every part."""

from townlet_runtime.config.dump import (
    Difference,
    config_differences,
    config_digest,
    dump_config,
    is_scheduled,
    training_mode,
    training_settings,
    with_training,
)
from townlet_runtime.config.load import BUILT_IN, LoadedConfig, Override, config_from, load_config, parse_override
from townlet_runtime.config.schema import Config
from townlet_runtime.config.town import bridge_config, script_config, town_config

__all__ = [
    "BUILT_IN",
    "Config",
    "Difference",
    "LoadedConfig",
    "Override",
    "bridge_config",
    "config_differences",
    "config_digest",
    "config_from",
    "dump_config",
    "is_scheduled",
    "load_config",
    "parse_override",
    "script_config",
    "town_config",
    "training_mode",
    "training_settings",
    "with_training",
]
