"""The policy layer of a multi-agent simulation: possess, blend, record, score, act without torch.

`PolicyRuntime` decides for the agents of a plain Python world, one dictionary a tick. A world of arrays is a
`Simulation`: `BatchRuntime` decides for its agents, `BatchLoop` steps both together, `Collector` gathers experience for
a learner, `Evaluator` scores whole episodes. `OnnxPolicy` acts as a network was trained to.
`townlet_runtime.town` is a world to begin with, `townlet_runtime.config` reads config files, `townlet_runtime.cli` is
the command `townlet`.

Names are imported when they are first used (PEP 562): `import townlet_runtime` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from townlet_runtime.adapters.controllers import ObservationController
    from townlet_runtime.adapters.mesa_worlds import MesaWorlds
    from townlet_runtime.adapters.py_trees_controller import TreeController, tree_script
    from townlet_runtime.adapters.registry import Environment
    from townlet_runtime.adapters.spaces.settings import SpaceSettings
    from townlet_runtime.core.evaluator import Evaluator
    from townlet_runtime.core.loop import BatchLoop, GroupedLoop, LoopReport
    from townlet_runtime.core.rollouts import Collector
    from townlet_runtime.core.runtime import BatchRuntime
    from townlet_runtime.core.stretches import JsonLinesSink, Telemetry, TelemetryRecord, TelemetrySink
    from townlet_runtime.core.telemetry import ActionProbability, AgentSnapshot
    from townlet_runtime.plain.runtime import PolicyRuntime
    from townlet_runtime.plain.town_loop import SimulationLoop
    from townlet_runtime.policy.drawing import greedy_actions, sample_actions
    from townlet_runtime.policy.file import PolicyCard
    from townlet_runtime.policy.foreign import ModelParts
    from townlet_runtime.policy.onnx import OnnxPolicy, RecurrentOnnxPolicy, load_policy
    from townlet_runtime.policy.policy import (
        Policy,
        RecurrentActor,
        UniformPolicy,
        require_fit,
        spec_sha256,
    )
    from townlet_runtime.policy.seal import SealedPolicy, seal
    from townlet_runtime.policy.seal_spec import SealSpec
    from townlet_runtime.policy.vectors import VectorsCheck, check_vectors
    from townlet_runtime.serving.client import PolicyAnswer, PolicyClient, ServedPolicy
    from townlet_runtime.simulation.checks import check_grouped_simulation, check_simulation
    from townlet_runtime.simulation.described import DescribedObservations
    from townlet_runtime.simulation.interface import (
        Closing,
        CommitmentColumns,
        Exact,
        GroupedSimulation,
        Guarded,
        Observed,
        Rendered,
        Saved,
        Scripted,
        Simulation,
        SimulationSpec,
        Stepped,
        require_seeds,
    )
    from townlet_runtime.simulation.kits import check_controller, check_guardrail, check_policy
    from townlet_runtime.simulation.one_group import CheckedGroups, OneGroup
    from townlet_runtime.simulation.recorded import Filling, schema_of
    from townlet_runtime.simulation.split_groups import SplitGroups

__all__ = [
    "ActionProbability",
    "AgentSnapshot",
    "BatchLoop",
    "BatchRuntime",
    "CheckedGroups",
    "Closing",
    "Collector",
    "CommitmentColumns",
    "DescribedObservations",
    "Environment",
    "Evaluator",
    "Exact",
    "Filling",
    "GroupedLoop",
    "GroupedSimulation",
    "Guarded",
    "JsonLinesSink",
    "LoopReport",
    "MesaWorlds",
    "ModelParts",
    "ObservationController",
    "Observed",
    "OneGroup",
    "OnnxPolicy",
    "Policy",
    "PolicyAnswer",
    "PolicyCard",
    "PolicyClient",
    "PolicyRuntime",
    "RecurrentActor",
    "RecurrentOnnxPolicy",
    "Rendered",
    "Saved",
    "Scripted",
    "SealSpec",
    "SealedPolicy",
    "ServedPolicy",
    "Simulation",
    "SimulationLoop",
    "SimulationSpec",
    "SpaceSettings",
    "SplitGroups",
    "Stepped",
    "Telemetry",
    "TelemetryRecord",
    "TelemetrySink",
    "TreeController",
    "UniformPolicy",
    "VectorsCheck",
    "check_controller",
    "check_grouped_simulation",
    "check_guardrail",
    "check_policy",
    "check_simulation",
    "check_vectors",
    "greedy_actions",
    "load_policy",
    "require_fit",
    "require_seeds",
    "sample_actions",
    "schema_of",
    "seal",
    "spec_sha256",
    "tree_script",
]

_MODULES = {
    "adapters.controllers": ("ObservationController",),
    "adapters.mesa_worlds": ("MesaWorlds",),
    "adapters.py_trees_controller": ("TreeController", "tree_script"),
    "adapters.registry": ("Environment",),
    "adapters.spaces.settings": ("SpaceSettings",),
    "core.loop": ("BatchLoop", "GroupedLoop", "LoopReport"),
    "core.evaluator": ("Evaluator",),
    "core.rollouts": ("Collector",),
    "core.runtime": ("BatchRuntime",),
    "core.stretches": ("JsonLinesSink", "Telemetry", "TelemetryRecord", "TelemetrySink"),
    "core.telemetry": ("ActionProbability", "AgentSnapshot"),
    "plain.runtime": ("PolicyRuntime",),
    "plain.town_loop": ("SimulationLoop",),
    "policy.vectors": ("VectorsCheck", "check_vectors"),
    "policy.drawing": ("greedy_actions", "sample_actions"),
    "policy.file": ("PolicyCard",),
    "policy.foreign": ("ModelParts",),
    "policy.seal_spec": ("SealSpec",),
    "policy.onnx": ("OnnxPolicy", "RecurrentOnnxPolicy", "load_policy"),
    "policy.policy": (
        "Policy",
        "RecurrentActor",
        "UniformPolicy",
        "require_fit",
        "spec_sha256",
    ),
    "policy.seal": ("SealedPolicy", "seal"),
    "serving.client": ("PolicyAnswer", "PolicyClient", "ServedPolicy"),
    "simulation.checks": ("check_grouped_simulation", "check_simulation"),
    "simulation.described": ("DescribedObservations",),
    "simulation.interface": (
        "Closing",
        "CommitmentColumns",
        "Exact",
        "GroupedSimulation",
        "Guarded",
        "Observed",
        "Rendered",
        "Saved",
        "Scripted",
        "Simulation",
        "SimulationSpec",
        "Stepped",
        "require_seeds",
    ),
    "simulation.kits": ("check_controller", "check_guardrail", "check_policy"),
    "simulation.one_group": ("CheckedGroups", "OneGroup"),
    "simulation.recorded": ("Filling", "schema_of"),
    "simulation.split_groups": ("SplitGroups",),
}


def __getattr__(name: str) -> object:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
