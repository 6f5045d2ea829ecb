"""The keys of a config file, section by section."""

from townlet_runtime.config.schema.base import NoEffect, OpenSection, ReadAtLoad, Section, Setting
from townlet_runtime.config.schema.root import Config

__all__ = ["Config", "NoEffect", "OpenSection", "ReadAtLoad", "Section", "Setting"]
