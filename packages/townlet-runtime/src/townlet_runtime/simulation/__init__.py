"""The interface of simulations, checks of it, and a small simulation for tests."""
