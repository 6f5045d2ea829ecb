"""`townlet replay`, `bench` and `soak`: a look at one sample, the time of a tick, and training for a long while."""
