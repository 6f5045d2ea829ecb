"""Mesa's example models, which some versions of Mesa build from settings and others from a scenario."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from mesa.examples import BoltzmannWealth, Schelling, WolfSheep
from mesa.experimental.devs import ABMSimulator

__all__ = ["BoltzmannWealth", "Schelling", "WolfSheep", "advance", "example"]


def example(model: type, seed: int, **settings: Any) -> Any:
    """Build a model with a seed."""
    module = vars(import_module(model.__module__))
    scenarios = [one for name, one in module.items() if name.endswith("Scenario") and name != "Scenario"]
    if scenarios:
        return model(scenario=scenarios[0](rng=seed, **settings))
    return model(seed=seed, **settings, **({"simulator": ABMSimulator()} if model is WolfSheep else {}))


def advance(model: Any) -> None:
    """Let a model take a step, by its simulator where it has one."""
    if "simulator" in vars(model):
        model.simulator.run_for(1)
    else:
        model.step()
