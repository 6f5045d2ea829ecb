"""The mathematics of learning: advantages, losses, PPO and behavior cloning."""
