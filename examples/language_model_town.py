"""Let a language model decide in the default town, beside its script, through any OpenAI-compatible URL.

    python language_model_town.py --url http://localhost:11434/v1 --model llama3.2 --record town --ticks 600

That is `townlet run --controller language_model_town:make --ticks-per-second 10`, the model named by the environment.
"""

import argparse
import json
import os
import sys
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass

from townlet_behavior import (
    Answer,
    AnswerLog,
    BatchController,
    Budget,
    CommitmentConfig,
    DeferredConfig,
    DeferredController,
    Question,
)
from townlet_runtime import DescribedObservations, SimulationSpec
from townlet_runtime.cli import main

TASK = "You live in a small town. Needs are 1 when satisfied, 0 when desperate. Answer with one of the actions alone."
NEEDS_AND_WORK = (
    "need_hunger",
    "need_hygiene",
    "need_energy",
    "wallet",
    "on_shift",
    "at_workplace",
    "can_chat",
    "using_object",
)
PLACES = ("usable_fridge_nearest", "usable_shower_nearest", "usable_bed_nearest", "reservation_active")


@dataclass(frozen=True)
class Model:
    """Asks a chat model; one call of this is one batch of questions, and they run side by side."""

    url: str
    name: str
    key: str
    timeout_s: float = 20.0

    def __call__(self, questions: Sequence[Question]) -> list[Answer]:
        return [self.answer(question) for question in questions]

    def answer(self, question: Question) -> Answer:
        asked = f"You are {question.agent_id} and see {question.shown}. Actions: {', '.join(question.actions)}"
        messages = [{"role": "system", "content": TASK}, {"role": "user", "content": asked}]
        body = {"model": self.name, "messages": messages, "max_tokens": 20, "temperature": 0}
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.key}"}
        request = urllib.request.Request(f"{self.url}/chat/completions", json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=self.timeout_s) as response:
            reply = json.loads(response.read(1 << 20))
        text = reply["choices"][0]["message"]["content"].strip()
        return Answer(action=text, tokens=reply["usage"]["total_tokens"], note=text)


def make(spec: SimulationSpec, script: BatchController) -> DeferredController:
    """What `--controller language_model_town:make` calls: `script` is the town's own."""
    url, name, key = (os.environ.get(f"LLM_{each}", "") for each in ("URL", "MODEL", "KEY"))
    config = DeferredConfig(
        options=CommitmentConfig(ticks=spec.option_ticks),
        batch_size=1,
        in_flight=8,
        run_budget=Budget(calls=int(os.environ.get("LLM_CALLS", "200"))),
    )
    log = os.environ["LLM_LOG"]
    return DeferredController(
        Model(url, name, key) if url else None,
        script,
        vocabulary=spec.vocabulary,
        describe=DescribedObservations(spec, names=(*NEEDS_AND_WORK, *PLACES), digits=1),
        capacity=spec.capacity,
        name=name,
        config=config,
        log=AnswerLog(log) if url else AnswerLog.read(log),
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="", help="without it the log is repeated; the key is in LLM_KEY")
    parser.add_argument("--model", required=True)
    parser.add_argument("--log", default="answers.jsonl", help="of the answers, from which the run can be repeated")
    options, rest = parser.parse_known_args()
    os.environ |= {"LLM_URL": options.url, "LLM_MODEL": options.model, "LLM_LOG": options.log}
    sys.exit(main(["run", "--controller", "language_model_town:make", "--ticks-per-second", "10", *rest]))
