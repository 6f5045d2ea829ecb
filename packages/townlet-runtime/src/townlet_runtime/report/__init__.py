"""The report of a run: one self-contained page made from the files of its directory (extra `report`)."""
