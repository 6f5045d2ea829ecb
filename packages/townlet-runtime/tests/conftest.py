"""Hypothesis profiles, the way to this folder's own modules, and what is left out where an extra is not installed."""

import logging
import os
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))
# Tables fit the terminal; where a test does not say one, there is none, in every process of pytest-xdist too.
os.environ.pop("COLUMNS", None)

LOG_LEVEL = logging.getLogger().level

settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.register_profile("thorough", deadline=None, max_examples=500, stateful_step_count=50)
settings.load_profile("ci" if os.environ.get("CI") else "default")

PAGES = (
    "test_cli_live.py",
    "test_cli_serve.py",
    "test_cli_train_live.py",
    "test_live_lesson.py",
    "test_live_replay.py",
    "test_live_serve.py",
    "test_live_teacher.py",
    "test_serving_client.py",
)
NEEDS = {
    "ray": ("test_cli_ray.py", "test_workers_ray.py"),
    "fsspec": ("test_cli_places.py", "test_workers_recording.py"),
    "uvicorn": PAGES,
    "websockets": PAGES,
    "townlet_training": (
        "test_cli_ray.py",
        "test_cli_adapt.py",
        "test_cli_distill.py",
        "test_cli_environments.py",
        "test_cli_evaluate.py",
        "test_cli_explain.py",
        "test_cli_matrix.py",
        "test_cli_numbers.py",
        "test_cli_promote.py",
        "test_cli_promote_rehearse.py",
        "test_cli_report_own_logs.py",
        "test_cli_resume.py",
        "test_cli_run_starts.py",
        "test_cli_workers.py",
        "test_cli_train_live.py",
        "test_cli_soak.py",
        "test_cli_train.py",
        "test_cli_train_bc.py",
        "test_cli_train_many.py",
        "test_cli_train_record.py",
        "test_cli_train_schedule.py",
        "test_cli_training_data.py",
        "test_legacy_harness.py",
        "test_training.py",
        "test_training_record.py",
        "test_training_settings.py",
        "test_training_workers.py",
    ),
    "matplotlib": (
        "test_cli_adapt.py",
        "test_cli_compare.py",
        "test_cli_distill.py",
        "test_cli_explain.py",
        "test_cli_environments.py",
        "test_cli_evaluate.py",
        "test_cli_matrix.py",
        "test_cli_promote.py",
        "test_cli_promote_rehearse.py",
        "test_cli_report_own_logs.py",
        "test_cli_report_runs.py",
        "test_cli_results.py",
        "test_cli_resume.py",
        "test_cli_run_starts.py",
        "test_cli_train.py",
        "test_cli_train_bc.py",
        "test_cli_train_many.py",
        "test_cli_train_record.py",
        "test_cli_train_schedule.py",
        "test_cli_training_data.py",
        "test_legacy_harness.py",
        "test_report_comparison.py",
        "test_report_figures.py",
        "test_report_log_plot.py",
        "test_report_page.py",
        "test_report_plots.py",
        "test_report_town_plot.py",
    ),
    "jinja2": (
        "test_cli_adapt.py",
        "test_cli_compare.py",
        "test_cli_distill.py",
        "test_cli_explain.py",
        "test_cli_environments.py",
        "test_cli_matrix.py",
        "test_cli_promote.py",
        "test_cli_promote_rehearse.py",
        "test_cli_report_own_logs.py",
        "test_cli_report_runs.py",
        "test_cli_resume.py",
        "test_cli_run_starts.py",
        "test_cli_train.py",
        "test_cli_train_bc.py",
        "test_cli_train_many.py",
        "test_cli_train_record.py",
        "test_cli_train_schedule.py",
        "test_cli_training_data.py",
        "test_legacy_harness.py",
        "test_report_comparison.py",
        "test_report_page.py",
    ),
    "gymnasium": (
        "test_adapters_gymnasium.py",
        "test_adapters_history.py",
        "test_adapters_parallel.py",
        "test_adapters_pettingzoo.py",
        "test_cli_environments.py",
        "test_cli_pictures.py",
        "test_cli_resume.py",
        "test_episodes.py",
        "test_runs_opponents.py",
        "test_spaces_actions.py",
        "test_spaces_answers.py",
        "test_spaces_arrays.py",
        "test_spaces_observations.py",
        "test_spaces_ragged.py",
        "test_split_groups.py",
    ),
    "pettingzoo": (
        "test_adapters_pettingzoo.py",
        "test_cli_environments.py",
        "test_town_parallel.py",
    ),
    "mesa": ("test_adapters_mesa.py",),
    "networkx": ("test_adapters_mesa.py",),  # Mesa's own examples import it, Mesa does not
    "py_trees": ("test_adapters_py_trees.py",),
    "pyarrow": (
        "test_cli_dataset_rewriting.py",
        "test_cli_explain.py",
        "test_cli_places.py",
        "test_cli_train_record.py",
        "test_cli_training_data.py",
        "test_training_record.py",
        "test_workers_recording.py",
    ),
    "h5py": ("test_cli_dataset_rewriting.py", "test_cli_explain.py", "test_cli_training_data.py"),
}
"""Modules of the extras, of those of townlet-trajectory too, and the files that import what imports them."""
ABSENT = tuple(module for module in NEEDS if find_spec(module) is None)

collect_ignore = sorted({file for module in ABSENT for file in NEEDS[module]})


@pytest.fixture(autouse=True)
def root_logger_as_it_was() -> Iterator[None]:
    """A command sets up the log of its process, which here is that of all tests; also one that a fixture has called."""
    root, ticks = logging.getLogger(), logging.getLogger("townlet_runtime.core.telemetry")
    root.setLevel(LOG_LEVEL)
    ticks.setLevel(logging.NOTSET)
    handlers = root.handlers[:]
    yield
    root.setLevel(LOG_LEVEL)
    root.handlers[:] = handlers


@pytest.fixture(scope="module")
def undrawn() -> Iterator[None]:
    """Draw no report, which takes longer than a small run: for tests that are about something else."""
    from townlet_runtime.cli.views import results

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(results, "draw_report", lambda run, *_, **__: run)
        yield


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Nothing is left out in silence."""
    if collect_ignore:
        terminalreporter.write_line(f"without {', '.join(ABSENT)}, left out: {', '.join(collect_ignore)}")
