"""The threads of libraries that numpy computes with. Imports nothing: they are settled before numpy is imported."""

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
"""Of the environment. A process that collects has one thread of each: its products are small."""
