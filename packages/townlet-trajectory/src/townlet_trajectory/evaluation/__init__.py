"""Scores of whole episodes, comparisons, gates and promotion: numpy, and scipy where an interval is computed."""
