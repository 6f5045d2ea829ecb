"""`python -m townlet_runtime` is `townlet`."""

import sys

from townlet_runtime.cli import main

sys.exit(main())
