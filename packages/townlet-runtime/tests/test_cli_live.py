"""`townlet live` as it is typed: an address, a person, Ctrl-C, and what was recorded."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

from test_live_serve import Page

from townlet_trajectory.formats.batch_file import load_batch


def test_what_a_person_did_is_recorded_when_it_ends(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "townlet_runtime", "live", "--port", "0", "--record", f"npz:{tmp_path / 'shown'}"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    address = next(found.group(0) for line in process.stderr if (found := re.search(r"http://\S+", line)))
    page = Page(address)
    page.until(lambda: "roster" in page.last)
    page.ask("pause")
    agent = page.last["roster"]["ids"][0]
    assert page.ask("acquire", agent=agent)["ok"]
    for _ in range(3):
        assert page.ask("feed", agent=agent, action="wait")["ok"]
        before = page.tick
        page.ask("step", ticks=1)
        page.until(lambda before=before: page.tick > before)
    page.close()
    process.send_signal(signal.SIGINT)
    said = process.stderr.read()
    assert process.wait(20.0) == 128 + signal.SIGINT, said
    assert "recorded" in said
    batch = load_batch(next((tmp_path / "shown").glob("*.npz")))
    assert int(batch.columns["demonstrated"].sum()) == 3
