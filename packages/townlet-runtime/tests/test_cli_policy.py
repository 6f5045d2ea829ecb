"""`townlet policy`: seal and check, from the command line."""

import json
from pathlib import Path

import pytest
from finished_run import town_policy, write_finished_run
from foreign_models import FLOAT, W, gru, linear, model_of, node, saved

from townlet_runtime.cli import main
from townlet_runtime.policy.onnx import load_policy


def sealed(capsys: pytest.CaptureFixture[str], model: Path, *options: str) -> tuple[Path, str, str]:
    output = model.with_name("policy.onnx")
    assert main(["policy", "seal", str(model), "--output", str(output), *options]) == 0
    return output, *capsys.readouterr()


def refusal(capsys: pytest.CaptureFixture[str], *command: str) -> str:
    assert main(["policy", *command]) == 2
    out, err = capsys.readouterr()
    assert out == "" and "Traceback" not in err and "internal" not in err
    return err


def test_a_model_is_sealed_and_checked(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    model = saved(linear(outputs=("logits", "value")), tmp_path)
    options = ("--vocabulary", "wait, left,right", "--actions", "logits", "--values", "value", "--json")
    path, out, err = sealed(capsys, model, *options)
    made = json.loads(out)
    policy = load_policy(path)
    assert (made["sha256"], made["values"], made["actions"]) == (policy.digest, True, 3)
    assert policy.vocabulary == ("wait", "left", "right") and policy.observation_shapes == {"obs": (4,)}
    assert "names of features are not known" in err and "no values" not in err
    assert main(["policy", "check", str(path), "--json"]) == 0
    checked = json.loads(capsys.readouterr().out)
    assert checked["passed"] is True and checked["differences"].keys() == {"log_probs", "values"}
    assert checked["sha256"] == policy.digest and checked["rows"] == 16


def test_a_breach_is_exit_code_1(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path, out, err = sealed(capsys, saved(linear(), tmp_path), "--vocabulary", "wait,left,right")
    assert str(path) in out and "steps are recorded with the value 0" in err
    vectors = path.with_name("policy.vectors.json")
    elsewhere = vectors.rename(tmp_path / "golden.json")
    content = json.loads(elsewhere.read_bytes())
    content["observations"]["obs"]["numbers"][0] += 1.0
    elsewhere.write_text(json.dumps(content))
    assert main(["policy", "check", str(path), "--vectors", str(elsewhere)]) == 1
    assert "BEYOND the tolerance of 1e-05 on 16 agents" in capsys.readouterr().out
    content["log_probs"] |= {"shape": [16, 3], "numbers": [None] * 48}
    content["values"] = {"shape": [16], "numbers": [0.0] * 16}
    elsewhere.write_text(json.dumps(content))
    assert main(["policy", "check", str(path), "--vectors", str(elsewhere), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["differences"]["values"] is None


def test_a_policy_of_a_run_is_checked(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "alone.onnx"
    path.write_bytes(town_policy())
    assert "alone.vectors.json: expected readable golden vectors" in refusal(capsys, "check", str(path))
    run = write_finished_run(tmp_path / "run")
    assert "expected a readable policy file" in refusal(capsys, "check", str(run / "absent.onnx"))


def test_a_world_says_what_a_policy_is_for(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    model = saved(
        model_of(
            [node("MatMul", ["features", "W"], ["logits"])],
            {"features": (FLOAT, ["N", 4])},
            {"logits": (FLOAT, ["N", 3])},
            {"W": W},
        ),
        tmp_path,
    )
    assert "`features` [" in refusal(capsys, "seal", str(model), "-o", str(tmp_path / "p.onnx"), "--env", "town")
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps({"vocabulary": ["a", "b", "c"], "world": "road", "observations": {"features": [4]}}))
    path, out, _ = sealed(capsys, model, "--spec", str(spec))
    assert "3 actions, for road" in out and load_policy(path).observation_shapes == {"features": (4,)}


def test_states_are_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    options = ("--vocabulary", "a,b,c", "--actions", "logits", "--state", "h0=hn", "--input", "obs=features", "-q")
    path, _, _ = sealed(capsys, saved(gru(), tmp_path), *options)
    assert load_policy(path).card.state_size == 5
    assert load_policy(path).observation_shapes == {"features": (4,)}


@pytest.mark.parametrize(
    ("actions", "kind", "columns", "shown"),
    [
        (
            {"parts": [{"name": "hand", "keys": ["open", "closed", "fist"]}]},
            "logits",
            3,
            ["1 parts of an action, for road", "  hand: open, closed, fist"],
        ),
        (
            {"names": ["steer"], "low": [-1], "high": [0.5]},
            "gaussian",
            2,
            ["1 clipped numbers, for road", "  steer from -1 to 0.5"],
        ),
    ],
)
def test_policies_of_array_actions_are_sealed_checked_and_shown(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    actions: dict[str, object],
    kind: str,
    columns: int,
    shown: list[str],
) -> None:
    model = saved(
        model_of(
            [node("MatMul", ["features", "W"], ["said"])],
            {"features": (FLOAT, ["N", 4])},
            {"said": (FLOAT, ["N", columns])},
            {"W": W[:, :columns]},
        ),
        tmp_path,
    )
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps({"actions": actions, "world": "road", "observations": {"features": [4]}}))
    path, out, _ = sealed(capsys, model, "--spec", str(spec), "--output-kind", kind)
    assert shown[0] in out
    assert main(["policy", "check", str(path)]) == 0
    assert "within the tolerance" in capsys.readouterr().out
    assert main(["policy", "show", str(path)]) == 0
    told = capsys.readouterr().out.splitlines()
    assert shown[0] in told[0] and told[1] == shown[1]
    assert told[2:] == ["observation features: float32 [4]", "no recurrent state, without values"]
    assert main(["policy", "show", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["label"]["version"] == 2


def test_a_discrete_policy_is_shown(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path, _, _ = sealed(
        capsys, saved(gru(), tmp_path), "--vocabulary", "a,b,c", "--actions", "logits", "--state", "h0=hn"
    )
    assert main(["policy", "show", str(path)]) == 0
    first, *actions, seen, last = capsys.readouterr().out.splitlines()
    assert "3 actions, for unknown, SHA-256" in first and actions == ["  a", "  b", "  c"]
    assert (seen, last) == ("observation obs: float32 [4]", "5 numbers of recurrent state, without values")
    assert "expected a readable policy file" in refusal(capsys, "show", str(tmp_path / "absent.onnx"))


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ((), "--env, --spec, --vocabulary: one of them says what the policy is for"),
        (("--vocabulary", "a,b,c", "--env", "town"), "one of them says"),
        (("--vocabulary", "a,,c"), "--vocabulary: expected different keys, got 'a,,c'"),
        (("--vocabulary", "a,b,a"), "--vocabulary: expected different keys"),
        (("--vocabulary", "a,b,c", "--input", "obs"), "--input: expected NAME=NAME, got 'obs'"),
        (("--vocabulary", "a,b,c", "--state", "=x"), "--state: expected NAME=NAME, got '=x'"),
        (("--env", "town", "--group", "riders"), "--group: expected one of agents, got riders"),
        (("--env", "moon"), "moon"),
        (("--vocabulary", "a,b"), "expected 2 numbers for each agent in `logits`"),
        (("--vocabulary", "a,b,c", "--vector-seed", "-1"), "expected a whole number from 0"),
    ],
)
def test_wrong_options_are_refused_by_name(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, options: tuple[str, ...], complaint: str
) -> None:
    model = saved(linear(), tmp_path)
    assert complaint in refusal(capsys, "seal", str(model), "-o", str(tmp_path / "p.onnx"), *options)
    assert not (tmp_path / "p.onnx").exists()
