"""The paired differences, drawn."""

from __future__ import annotations

import dataclasses

import numpy as np
from report_samples import SAMPLE

from townlet_runtime.report.data import read_run
from townlet_runtime.report.paired_plot import paired_plot
from townlet_runtime.report.scores import differences


def test_the_paired_plot_counts_the_seeds_won() -> None:
    evaluation = read_run(SAMPLE).evaluation
    assert evaluation is not None
    first = differences(evaluation.final)[0]
    shown = dataclasses.replace(first, values=np.array([1.0, -1.0, 0.0, 2.0]))
    assert "better on 2 of 4 seeds" in paired_plot([shown])
