"""One network through behavior cloning, anneal and PPO, with gates, checkpoints and a log."""
