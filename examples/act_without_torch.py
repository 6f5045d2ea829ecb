"""Act with a trained policy, without torch: `python act_without_torch.py RUN_DIR/policy.onnx`."""

import sys

from townlet_behavior import BridgeConfig, CommitmentConfig
from townlet_runtime import BatchLoop, BatchRuntime, OnnxPolicy
from townlet_runtime.town import Town, TownConfig

policy = OnnxPolicy.load(sys.argv[1])  # its SHA-256 is verified first
town = Town(TownConfig(), num_worlds=1)
commitment = CommitmentConfig(ticks=town.spec.option_ticks)
for ratio in (0.0, 0.5, 1.0):  # the script alone, half of the decisions each, the policy alone
    runtime = BatchRuntime(
        town.spec,
        town.scripted("scripted"),
        config=BridgeConfig(ratio=ratio, commitment=commitment),
        policy=policy,
        service=None,  # a TrajectoryService would record every step
        seed=0,
        greedy=True,
    )
    loop = BatchLoop(town, runtime)
    loop.reset(seed=7)
    report = loop.run_for(200)
    print(f"ratio {ratio}: {report.mean_reward:.4f} a tick; ticks by source {dict(report.ticks_by_source)}")
assert "torch" not in sys.modules
