"""The page: complete, self-contained, escaped, the same bytes every time."""

from __future__ import annotations

import dataclasses
import html
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from report_samples import copy_run, data_of, edit, finish, leave_the_world, move_elsewhere, town

from townlet_runtime.report.page import render_page
from townlet_runtime.report.writing import write_report
from townlet_runtime.runs.strict_json import ReportError
from townlet_trajectory.evaluation.promotion import Decision

TITLES = (
    "Scores", "Promotion", "Return while training", "Paired differences per seed",
    "Blend ratio and real shares by source", "Accuracy of the clone", "KL divergence", "Entropy", "Losses",
    "The town", "Town events", "Configuration",
)  # fmt: skip
PLOTS = ("return", "paired", "shares", "clone", "kl", "entropy", "losses", "town", "events")
ATTACK = "<script>alert('x')</script>\" onload=\"y"


class Page(HTMLParser):
    """Collects what a browser would act on."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.ids: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag not in {"meta", "br"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return copy_run(tmp_path / "run")


@pytest.fixture
def run_without_log(run: Path) -> Path:
    """For words that do not depend on the plots of the log: drawing them takes most of the time."""
    (run / "metrics.jsonl").unlink()
    return run


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of the unchanged sample."""
    return text_of(copy_run(tmp_path_factory.mktemp("page") / "run"))


def text_of(run: Path) -> str:
    return write_report(finish(run), town_picture=town()).read_text()


def test_every_part_is_there(page: str) -> None:
    text = page
    assert tuple(re.findall(r"<h2>(.*?)</h2>", text)) == TITLES
    for name in PLOTS:
        section = text[text.index(f'<section id="{name}">') :]
        assert re.match(r'<section id="\w+">\s*<h2>.*</h2>\s*<figure>\s*<svg ', section), name
        assert "<figcaption>" in section[: section.index("</section>")]


def test_the_headline_says_what_matters(page: str) -> None:
    head = re.sub(r"<[^>]+>", " ", page[page.index("<header>") : page.index("</header>")])
    for word in ("anneal", "town", "seed 7", "PROMOTE", "27,000", "41.3 s", "greedy", "beats the script by 44.2"):
        assert word in head, word
    assert "the learned policy returned 44.2 more than the script" in head


def test_every_interval_says_how_many_of_what_it_is_over(run: Path) -> None:
    # The sample has 20 final episodes; its config is changed to say how many chose the checkpoint.
    (run / "config.yaml").write_text("training:\n  eval_episodes: 16\n")
    page = text_of(run)
    words = " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())
    for sentence in (
        "(95 % interval of the difference over these 20 episodes: ",
        "95 % interval of the mean over 20 episodes",
        "they say nothing about policies trained with other seeds, which townlet compare does",
        "the band its 95 % interval over these 16 episodes.",
        "the bar its 95 % interval over these 20 episodes of one trained policy.",
        "over the 20 episodes of the pass",
    ):
        assert sentence in words, sentence


def test_a_config_that_says_no_episodes_is_no_hindrance(run: Path) -> None:
    (run / "config.yaml").write_text("mode: anneal\n")
    assert "over these episodes." in " ".join(text_of(run).split())


def test_scores_and_gates_are_tables(page: str) -> None:
    text = page
    scores = text[text.index('<section id="scores"') : text.index('<section id="promotion"')]
    policies = re.findall(
        r'<th scope="row"><span class="dot" style="background: var\(--[\w-]+\)"></span>(\w+)</th>', scores
    )
    assert policies == ["learned", "scripted", "nearest", "idle", "random", "clone"]
    gates = text[text.index('<section id="promotion"') : text.index('<div class="grid">')]
    assert re.findall(r'<th scope="row">(\w+)</th><td class="passed">', gates) == ["mean", "tail", "readiness"]


def test_a_failed_gate_looks_failed_and_minutes_are_minutes(run_without_log: Path) -> None:
    run = run_without_log
    edit(run / "promotion.json", lambda content: content["gates"][1].update(verdict="failed"))
    edit(run / "summary.json", lambda content: content.update(wall_time_s=125.4))
    text = write_report(finish(run), town_picture=None).read_text()
    assert '<th scope="row">tail</th><td class="failed">✗ failed</td>' in text
    assert "2 min 05 s" in text


def test_the_page_is_well_formed_and_needs_nothing_but_itself(page: str) -> None:
    text, parsed = page, Page(page)
    assert parsed.open == []
    assert len(parsed.ids) == len(set(parsed.ids))
    assert not {"script", "link", "img", "iframe", "object", "image", "form", "base"} & set(parsed.tags)
    assert all((value or "").startswith("#") for name, value in parsed.attributes if name in {"href", "src"})
    references = {value[1:] for name, value in parsed.attributes if name == "href" and value}
    references |= set(re.findall(r"url\(#([^)]+)\)", text))
    assert references <= set(parsed.ids)
    assert not any(name.startswith("on") or name == "xlink:href" for name, _ in parsed.attributes)
    for word in ("http:", "https:", "@import", "javascript:"):
        assert word not in text
    assert not re.findall(r"url\((?!#)", text)


def test_the_policy_of_the_page_forbids_everything_but_its_style(page: str) -> None:
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)
    assert policy is not None
    assert policy[1] == "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def test_whatever_files_say_is_text(run: Path) -> None:
    def poison(content: Any) -> None:
        content.update(reason=ATTACK)
        content["gates"][0].update(name=ATTACK, detail=ATTACK)

    edit(run / "promotion.json", poison)
    edit(run / "summary.json", lambda content: content.update(env=ATTACK, preset=ATTACK, versions={ATTACK: ATTACK}))
    edit(run / "evaluation.json", lambda content: content["final"]["learned"].update(events={ATTACK: [1.0] * 20}))
    lines = (run / "metrics.jsonl").read_text().replace('"ppo"', '"</svg><script>"')
    (run / "metrics.jsonl").write_text(lines)
    (run / "config.yaml").write_text(f"# </pre>{ATTACK}\n")
    picture = dataclasses.replace(town(), title=ATTACK)
    text = write_report(finish(run), town_picture=picture).read_text()
    assert "<script" not in text
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;" in text
    page = Page(text)
    assert page.open == []
    assert not any(name.startswith("on") for name, _ in page.attributes)


def test_the_same_input_gives_the_same_bytes_in_place_of_the_old_page(run: Path, page: str) -> None:
    (run / "report.html").write_text("old")
    path = write_report(finish(run), town_picture=town())
    assert path == run / "report.html"
    assert path.read_bytes() == page.encode()


def test_a_run_of_cloning_alone_says_what_it_has_not(run: Path) -> None:
    (run / "metrics.jsonl").unlink()
    (run / "promotion.json").unlink()
    nothing = dict.fromkeys(("promotion", "improvement_mean", "improvement_ci", "env_steps_per_s", "preset"))
    edit(run / "summary.json", lambda content: content.update(mode="bc", **nothing))
    edit(run / "evaluation.json", lambda content: content.update(history=[]))
    text = write_report(finish(run), town_picture=None).read_text()
    assert text.count("No update was logged: this run had no PPO stage.") == 5
    assert "The policy was not evaluated during this run." in text
    assert "No decision" in text
    assert "This run took no promotion decision." in text
    assert "No picture of the town was taken." in text
    assert set(re.findall(r'<section id="(\w+)">\s*<h2>[^<]*</h2>\s*<figure>', text)) == {"paired", "clone"}
    assert tuple(re.findall(r"<h2>(.*?)</h2>", text)) == TITLES


def test_another_world_has_no_town_no_script_and_no_decision(run: Path) -> None:
    text = write_report(finish(move_elsewhere(run)), town_picture=None).read_text()
    titles = re.findall(r"<h2>(.*?)</h2>", text)
    assert tuple(titles) == tuple(title for title in TITLES if title not in {"The town", "Town events"})
    assert "This world has no script that the policy could replace, so there was nothing to decide." in text
    assert "more than the random policy on the same seeds" in text
    assert "Normalized: " not in text
    assert "minus\nrandom" in text or ">random<" in text
    assert "nearest" not in text[text.index('<section id="scores"') : text.index('<div class="grid">')]


def test_another_world_has_its_own_events_and_rules(run: Path) -> None:
    move_elsewhere(run)
    edit(run / "summary.json", lambda content: content.update(guardrails=["no-spilling", "my_rules:slow"]))
    counts = {"picked": [3.0] * 20, "<b>": [0.0] * 20}
    edit(run / "evaluation.json", lambda content: content["final"]["learned"].update(events=counts))
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    own = {"events/picked": 9.0, "reward/fruit": 0.5, "reward/walking": -0.1}
    (run / "metrics.jsonl").write_text("".join(json.dumps({**row, **own}) + "\n" for row in rows))
    text = text_of(run)
    assert "<dt>guardrails</dt><dd>no-spilling, my_rules:slow</dd>" in text
    section = text[text.index('<section id="events">') :]
    assert "<h2>Parts of the reward</h2>" in text and ">walking</text>" in text
    assert "<h2>Events</h2>" in section and ">picked</text>" in section and "Faints" not in section
    assert "&lt;b&gt;" in section


def test_with_a_script_and_nobody_idling_chance_is_the_lower_end_of_the_scale(run_without_log: Path) -> None:
    run = run_without_log
    edit(run / "summary.json", lambda content: content.update(env="gymnasium:Walk-v1", controller="walk:script"))

    def forget(content: Any) -> None:
        for part in ("baselines", "summaries", "paired", "normalized"):
            del content["final"][part]["idle"]

    edit(run / "evaluation.json", forget)
    text = write_report(finish(run), town_picture=None).read_text()
    assert "Normalized: 0 is the random policy, 1 the script." in text
    assert "of the distance from the random policy to the script." in text
    assert "gain over the random policy" in text
    assert "<dt>script</dt><dd>walk:script</dd>" in text


def test_every_group_has_plots_of_what_it_learned(run: Path) -> None:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()[:4]]
    by_group = [{**row, "group": group} for row in rows for group in ("speaker", "<i>listener")]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in by_group))

    def split(content: Any) -> None:
        clone = content["results"]["agents"]
        content["results"] = {"speaker": clone, "<i>listener": clone}

    edit(run / "cloning.json", split)
    text = text_of(run)
    parsed = Page(text)
    assert parsed.open == [] and len(parsed.ids) == len(set(parsed.ids))
    titles = re.findall(r"<h2>(.*?)</h2>", text)
    for title in ("KL divergence", "Entropy", "Losses", "Accuracy of the clone"):
        assert [each for each in titles if each.startswith(title)] == [
            f"{title}: speaker", f"{title}: &lt;i&gt;listener"
        ]  # fmt: skip
    assert titles.count("Blend ratio and real shares by source") == titles.count("Town events") == 1


def test_a_run_of_ppo_alone_has_no_clone(run: Path) -> None:
    def forget(content: Any) -> None:
        final = content["final"]
        final["learned"]["events"] = {}
        final.update(clone=None, baselines={}, paired={}, normalized={})
        final["summaries"] = {"learned": final["summaries"]["learned"]}

    edit(run / "evaluation.json", forget)
    edit(run / "summary.json", lambda content: content.update(clone_accuracies={}))
    (run / "cloning.json").unlink()
    text = text_of(run)
    assert "This run had no clone stage." in text
    assert "there is nothing to pair" in text
    assert "Mean count per episode" not in text


def test_a_run_without_a_world_shows_its_clone(run: Path) -> None:
    text = write_report(finish(leave_the_world(run)), town_picture=None).read_text()
    assert "<h1>Townlet run: no world, bc, seed 7</h1>" in text
    assert "no evidence: the policy fits no world" in text
    assert "The clone finds 91.7 % of the held-out choices most probable." in text
    assert re.findall(r'<section id="(\w+)">\s*<h2>[^<]*</h2>\s*<figure>', text) == ["clone"]


def test_a_loss_is_called_a_loss_and_gaps_are_dashes(run_without_log: Path) -> None:
    run = run_without_log
    record = data_of(run)
    assert record.promotion is not None
    summary = dataclasses.replace(
        record.summary, improvement_mean=-3.0, improvement_ci=(-4.0, -2.0), improvement_normalized=None,
        promotion=Decision.FAIL, wall_time_s=3725.0,
    )  # fmt: skip
    gated = dataclasses.replace(record.promotion.latest, comparison=None)
    promotion = dataclasses.replace(record.promotion, decision=Decision.FAIL, gates=(), history=(gated,))
    text = render_page(dataclasses.replace(record, summary=summary, promotion=promotion), town_picture=None)
    assert "returned 3.00 less than the script" in text
    assert "distance from the idle" not in text
    assert "1 h 02 min" in text
    assert '<table class="gates">' not in text
    assert text.count("<dd>–</dd>") == 3


def test_a_damaged_run_leaves_no_page(run: Path) -> None:
    edit(run / "summary.json", lambda content: content.update(eval_return_mean=float("nan")))
    with pytest.raises(ReportError, match=r"summary.json: `eval_return_mean`: expected a finite number, got nan"):
        write_report(finish(run), town_picture=None)
    assert not (run / "report.html").exists()
