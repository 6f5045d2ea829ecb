"""What holds of workers where nothing else is said. Imports nothing: threads are settled before numpy is imported."""

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
"""Of the environment: threads of the libraries that numpy computes with. A process that collects has one of each: its
products are small."""
WORKER_TIMEOUT_S = 600.0
"""For a unit of collection, or a wave of episodes; then a worker counts as hung."""
