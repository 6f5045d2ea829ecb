"""The network: what it computes, in torch, in numpy and as a file."""
