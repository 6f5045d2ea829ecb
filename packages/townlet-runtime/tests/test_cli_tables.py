"""Tables fit the terminal, and nothing of a cell is lost."""

from pathlib import Path

import pytest
from finished_run import write_finished_run
from hypothesis import given
from hypothesis import strategies as st
from several_runs import write_runs

from townlet_runtime.cli import main
from townlet_runtime.cli.console import Console, table
from townlet_runtime.cli.views.comparison import compare_named, comparison_lines
from townlet_runtime.cli.views.registry_views import history_lines, live_lines, status_lines
from townlet_runtime.cli.views.results import show_results
from townlet_runtime.cli.views.tables import aligned, terminal_width
from townlet_runtime.runs.finished import read_run
from townlet_trajectory.evaluation.promotion import PromotionConfig
from townlet_trajectory.evaluation.registry import PromotionRegistry
from townlet_trajectory.evaluation.registry_records import RegistrySettings

WIDTHS = (60, 80, 120, 200)


def test_a_table_that_fits_is_aligned() -> None:
    rows = [("a", "1,000"), ("learned", "2")]
    assert aligned(("who", "n"), rows, left=False, width=14) == ["who          n", "a        1,000", "learned      2"]
    assert aligned(("who", "n"), rows, left=True, width=None) == ["who      n", "a        1,000", "learned  2"]


def test_the_widest_column_wraps_between_words() -> None:
    rows = [("one", "a reason of many words", "3")]
    assert aligned(("who", "why", "n"), rows, left=False, width=20) == [
        "who           why  n",
        "one   a reason of  3",
        "       many words",
    ]
    assert aligned(("who", "why", "n"), rows, left=True, width=20) == [
        "who  why           n",
        "one  a reason of   3",
        "     many words",
    ]


def test_a_word_that_does_not_fit_is_folded() -> None:
    rows = [("first", "a-very-long-word-of-one-piece", "3")]
    assert aligned(("who", "why", "n"), rows, left=True, width=20) == [
        "who    why         n",
        "first  a-very-lon  3",
        "       g-word-of-",
        "       one-piece",
    ]


CELLS = st.text(st.sampled_from("abc -1"), max_size=30).map(str.strip)


@given(st.integers(20, 90), st.lists(st.tuples(CELLS, CELLS, CELLS), max_size=4), st.booleans())
def test_no_line_is_wider_and_no_letter_is_lost(width: int, rows: list[tuple[str, ...]], left: bool) -> None:
    lines = aligned(("who", "how", "why"), rows, left=left, width=width)
    assert all(len(line) <= width for line in lines)
    shown, said = "".join(lines), "".join(cell for row in rows for cell in row)
    for letter in "abc1-":
        assert shown.count(letter) >= said.count(letter)


def test_the_width_is_that_of_the_terminal_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "61")
    assert terminal_width() == 61
    assert max(map(len, table(("a", "b"), [("x", "word " * 30)]))) <= 61
    monkeypatch.delenv("COLUMNS")
    monkeypatch.setattr("os.get_terminal_size", lambda *_: (_ for _ in ()).throw(OSError))
    assert terminal_width() is None


def test_what_cannot_be_printed_is_measured_as_it_is_shown() -> None:
    assert table(("a", "b"), [("\x1b[1m", "2")])[1] == "\\u001b[1m  2"


@pytest.mark.parametrize("width", WIDTHS)
def test_views_fit(
    width: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    settings = RegistrySettings(config=PromotionConfig(), seed=1, behavior="scripted", config_id="town", world={})
    registry = PromotionRegistry.create(tmp_path / "registry", settings)
    digest = registry.submit({"policy.onnx": b"one"}, metadata={})
    registry.record_manual_swap(digest, reason="because of many a word " * 5, by="somebody")
    registry.set_alias("an-alias-with-a-rather-long-name-of-its-own", digest)
    state = registry.state()
    comparison = comparison_lines(compare_named(write_runs(tmp_path / "ppo", {0: 0.0, 1: 1.0}), ()))
    show_results(read_run(write_finished_run(tmp_path / "run")), Console(json=False, verbose=False, quiet=False))
    results = capsys.readouterr().out.splitlines()
    tables = [line for line in results if "  " in line]
    assert main(["run", "--ticks", "3"]) == 0
    tables += [line for line in capsys.readouterr().out.splitlines() if "  " in line]
    assert main(["config", "show"]) == 0
    tables += capsys.readouterr().out.splitlines()
    tables += [*comparison, *history_lines(state), *live_lines(state.periods)]
    tables += [line for line in status_lines(registry) if "  " in line]
    assert len(tables) > 150
    assert [line for line in tables if len(line) > width] == []
    assert not [line for line in tables if line.endswith(("...", "…"))]


def test_output_that_is_no_terminal_is_plain(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in (("NO_COLOR", "1"), ("TERM", "xterm-256color"), ("COLORTERM", "truecolor")):
        monkeypatch.setenv(name, value)
        for words in (["run", "--ticks", "3"], ["config", "show"], ["train", "--help"], ["--help"]):
            assert main(words) == 0
            out, err = capsys.readouterr()
            assert "\x1b" not in out + err
