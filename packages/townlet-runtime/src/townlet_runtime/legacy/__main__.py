"""`python -m townlet_runtime.legacy SCRIPT ARGS...` is one of the original's scripts."""

import sys

from townlet_runtime.legacy.scripts import run_script

sys.exit(run_script(sys.argv[1:]))
