"""Worker processes: units of collection and waves of episodes, the same result whoever does them, and in any order."""
