"""The parts of `townlet promote` beside candidates: decisions about files, drills, rehearsals, and asking first."""
