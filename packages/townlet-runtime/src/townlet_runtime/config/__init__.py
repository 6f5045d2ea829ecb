"""Config files: read, checked, and turned into the frozen settings of every part."""

from townlet_runtime.config.dump import dump_config
from townlet_runtime.config.learning import Mode, training_mode, training_settings, with_training
from townlet_runtime.config.load import BUILT_IN, LoadedConfig, load_config
from townlet_runtime.config.overrides import Override, parse_override
from townlet_runtime.config.schema import Config
from townlet_runtime.config.town import bridge_config, script_config, town_config

__all__ = [
    "BUILT_IN",
    "Config",
    "LoadedConfig",
    "Mode",
    "Override",
    "bridge_config",
    "dump_config",
    "load_config",
    "parse_override",
    "script_config",
    "town_config",
    "training_mode",
    "training_settings",
    "with_training",
]
