"""Datasets of Minari (Farama Foundation). Needs the extra `minari`."""
