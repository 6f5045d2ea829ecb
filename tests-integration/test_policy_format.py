"""`docs/policy-format.md` says what the code does: operators, limits, keys of the label and of golden vectors."""

from __future__ import annotations

import json
import re
from pathlib import Path

from townlet_runtime.policy import file, graph
from townlet_runtime.policy.operators import ALLOWED
from townlet_trajectory.evaluation import golden_vectors
from townlet_trajectory.evaluation.golden_vectors import PolicyInputs, PolicyOutputs, read_vectors, vectors_path
from townlet_trajectory.evaluation.policy_card import PolicyCard
from townlet_trajectory.storage.json import MAX_JSON_BYTES

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "policy-format.md").read_text(encoding="utf-8")


def test_the_list_of_operators_is_the_one_that_is_checked() -> None:
    (listed,) = re.findall(r"```text\n([\s\S]*?)```", PAGE)
    assert listed.split() == sorted(ALLOWED)


def test_the_label_has_the_keys_of_the_example_and_each_is_described() -> None:
    (example,) = re.findall(r"```json\n([\s\S]*?)```", PAGE)
    card = PolicyCard(vocabulary=("wait",), observation_shapes={"x": (1,)}, weights_sha256="0" * 64, world="w")
    keys = list(json.loads(card.text()))
    assert list(json.loads(example)) == keys
    section = PAGE.split("## The label")[1].split("## Golden vectors")[0]
    assert [key for key in keys if f"`{key}`" not in section] == []


def test_golden_vectors_have_the_keys_that_are_described(exported: Path) -> None:
    path = vectors_path(exported / "policy.onnx")
    section = PAGE.split("## Golden vectors")[1].split("## Limits")[0]
    content = json.loads(path.read_bytes())
    assert [key for key in content if f"`{key}`" not in section] == []
    vectors = read_vectors(path)
    assert isinstance(vectors.inputs, PolicyInputs) and isinstance(vectors.outputs, PolicyOutputs)
    assert (content["format"], content["schema_version"]) == ("townlet-policy-vectors", [1, 0])


def test_the_limits_are_those_that_are_checked() -> None:
    limits = PAGE.split("## Limits")[1].split("## Sealing")[0]
    assert f"at most {file.MAX_POLICY_BYTES >> 20} MiB" in limits
    assert f"at {file.MAX_BATCH:,} agents" in limits and f"from 1 to {file.MAX_BATCH:,} can" in PAGE
    assert f"at most {graph.MAX_DESCRIPTION_BYTES >> 20} MiB beside" in limits
    assert f"at most {graph.MAX_NODES:,} nodes" in limits
    assert f"at most {graph.MAX_INTERMEDIATE_BYTES >> 30} GiB" in limits
    assert graph.MAX_MULTIPLICATIONS == 2**43 and "at most 2⁴³\n  multiplications" in limits
    assert f"S is at most {file.MAX_STATE:,}" in limits
    assert f"at most {golden_vectors.MAX_NUMBERS:,} numbers" in limits
    assert f"at most {MAX_JSON_BYTES >> 20} MiB" in PAGE.split("## Golden vectors")[1]
    assert f"up to {golden_vectors.MAX_ROWS} rows" in PAGE
