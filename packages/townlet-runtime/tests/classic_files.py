"""A small capture of the original."""

import json
from pathlib import Path

import numpy as np

FEATURES = ["need_hunger", "rivalry_max", "rivalry_avoid_count"]


def write_originals(folder: Path) -> Path:
    """Write three samples as the original did, observations after the actions and `dones` in the middle."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for name, steps in (("anna", 30), ("bert", 30), ("cleo", 30)):
        actions = np.arange(steps) % 2
        # The observation says what comes next, so that a clone can be right.
        features = np.stack([1.0 - actions, rng.random(steps), np.zeros(steps)], axis=1)
        np.savez(
            folder / f"{name}.npz",
            map=np.zeros((steps, 4, 3, 3), np.float32),
            features=features.astype(np.float32),
            actions=actions.astype(np.int64),
            old_log_probs=np.full(steps, np.log(0.5), np.float32),
            value_preds=np.zeros(steps + 1, np.float32),
            rewards=actions.astype(np.float32),
            dones=np.arange(steps) == 14,
        )
        description = {
            "feature_names": FEATURES,
            "map_shape": [4, 3, 3],
            "timesteps": steps,
            "value_pred_steps": steps + 1,
            "action_lookup": {'{"kind": "wait"}': 0, '{"kind": "move"}': 1},
            "action_dim": 2,
            "agent_id": name,
        }
        (folder / f"{name}.json").write_text(json.dumps(description))
    samples = [
        {"sample": f"{name}.npz", "meta": f"{name}.json", "metrics": {"reward_sum": 15.0, "reward_mean": 0.5}}
        for name in ("anna", "bert", "cleo")
    ]
    (folder / f"{folder.name}.json").write_text(json.dumps(samples))
    return folder / f"{folder.name}.json"
