"""The original's script names and classes, for those who are on their way from it.

`python -m townlet_runtime.legacy run_training ARGS...` runs `townlet train ARGS...`, and likewise all twenty scripts.
`TrainingHarness` and `PolicyTrainingOrchestrator` train as the original's classes of these names did, and
`PromotionManager` is the old name of `PromotionRegistry`. Each says in a DeprecationWarning what takes its place.

This folder is kept for two minor releases after 0.1, or six months after it, whichever is later; then it is removed
as a whole, with its tests. Nothing outside of it imports it.

Names are imported when they are first used: `import townlet_runtime.legacy` imports no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from townlet_runtime.legacy.harness import PolicyTrainingOrchestrator, PromotionManager, TrainingHarness

__all__ = ["PolicyTrainingOrchestrator", "PromotionManager", "TrainingHarness"]


def __getattr__(name: str) -> object:
    if name in __all__:
        return getattr(import_module(f"{__name__}.harness"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
