"""The paired differences, drawn."""

from __future__ import annotations

import dataclasses

import numpy as np
from report_samples import data_of

from townlet_runtime.report.paired_plot import paired_plot
from townlet_runtime.report.scores import differences


def test_the_paired_plot_counts_the_seeds_won() -> None:
    first = differences(data_of().evaluation.final)[0]
    shown = dataclasses.replace(first, values=np.array([1.0, -1.0, 0.0, 2.0]))
    assert "better on 2 of 4 seeds" in paired_plot([shown])
