"""`townlet policy`: seals models of other libraries, shows and checks policy files, adapts policies."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from townlet_runtime.cli.options import (
    MAX_COUNT,
    MAX_SEED,
    ControllerName,
    Env,
    GuardrailNames,
    Json,
    Quiet,
    Settings,
    Verbose,
    whole_number,
)
from townlet_runtime.cli.start import start, with_console
from townlet_runtime.cli.threads import limit_threads

if TYPE_CHECKING:
    from townlet_runtime.cli.console import Console
    from townlet_runtime.policy.file import PolicyCard
    from townlet_runtime.policy.seal import SealedPolicy
    from townlet_runtime.policy.seal_spec import SealSpec

policy_app = typer.Typer(
    help="Seal foreign models, show, check and adapt policies.",
    rich_markup_mode=None,
)


class KindName(StrEnum):
    """What the output of a model is, from which log-probabilities are made."""

    logits = "logits"
    log_probs = "log_probs"
    probs = "probs"
    actions = "actions"
    gaussian = "gaussian"


_Model = Annotated[Path, typer.Argument(metavar="MODEL", help="ONNX model of any library; your own file.")]
_Output = Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Policy file to write.")]
_Vocabulary = Annotated[
    str | None, typer.Option(metavar="KEY,KEY,...", help="Keys of the actions, in order.", show_default=False)
]
_Env = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="World that it is for: its actions and observations.", show_default=False),
]
_Spec = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="JSON with the vocabulary, or actions; if wanted world, observations, feature_names.",
        show_default=False,
    ),
]
_Group = Annotated[
    str | None, typer.Option(metavar="GROUP", help="Group of agents, where the world has several.", show_default=False)
]
_Inputs = Annotated[
    list[str] | None,
    typer.Option(
        "--input", metavar="INPUT=OBSERVATION", help="What an input is fed with. Repeatable.", show_default=False
    ),
]
_Actions = Annotated[
    str | None,
    typer.Option(
        "--actions",
        metavar="NAME",
        help="Value of the graph that tells the actions.  [default: the only output]",
        show_default=False,
    ),
]
_Kind = Annotated[KindName, typer.Option(help="What it is: scores, means and log-deviations, or the action itself.")]
_Values = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Value of the graph that is the state's worth.", show_default=False),
]
_States = Annotated[
    list[str] | None,
    typer.Option(
        "--state", metavar="INPUT=OUTPUT", help="Recurrent state, and its next value. Repeatable.", show_default=False
    ),
]
_VectorSeed = Annotated[
    int, typer.Option(parser=whole_number(0, MAX_SEED), metavar="N", help="Seed of the golden vectors' inputs.")
]
_Policy = Annotated[Path, typer.Argument(metavar="FILE", help="Policy file.")]
_Vectors = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Golden vectors.  [default: policy.vectors.json beside policy.onnx]",
        show_default=False,
    ),
]
_Source = Annotated[
    Path, typer.Argument(metavar="RUN_DIR", help="Directory of a finished run, or of an adapted policy.")
]
_OutputDir = Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="New directory to write.")]
_TargetConfig = Annotated[
    Path | None,
    typer.Option("--config", metavar="CONFIG", help="YAML config of the new world.", show_default=False),
]
_Reference = Annotated[
    Path | None,
    typer.Option(
        metavar="DATA",
        help="Data set over whose rows the new actions' mean probabilities are taken.  [default: a rollout of the old"
        " policy in the new world]",
        show_default=False,
    ),
]
_ReferenceTicks = Annotated[
    int, typer.Option(parser=whole_number(1, MAX_COUNT), metavar="N", help="Ticks of the rollout, in 16 worlds.")
]
_Priors = Annotated[
    list[str] | None,
    typer.Option(
        "--prior",
        metavar="P|KEY=P",
        help="Mean probability of every new action, or of one. Repeatable.  [default: 0.01]",
        show_default=False,
    ),
]
_Renames = Annotated[
    list[str] | None,
    typer.Option(
        "--rename",
        metavar="OLD=NEW",
        help="New name of an action, observation or feature. Repeatable.",
        show_default=False,
    ),
]
_AdaptSeed = Annotated[
    int, typer.Option(parser=whole_number(0, MAX_SEED), metavar="N", help="Seed of the rollout and the golden vectors.")
]


@policy_app.command(
    help="Make a policy file of an ONNX model of another library.\n\n"
    "What it is for is named by one of --env, --spec and --vocabulary. Golden vectors are written beside it."
)
@with_console
def seal(
    console: Console,
    model: _Model,
    output: _Output,
    vocabulary: _Vocabulary = None,
    env: _Env = None,
    spec: _Spec = None,
    group: _Group = None,
    inputs: _Inputs = None,
    actions: _Actions = None,
    output_kind: _Kind = KindName.logits,
    values: _Values = None,
    states: _States = None,
    vector_seed: _VectorSeed = 0,
    settings: Settings = None,
) -> int:
    """Carry out `townlet policy seal`; see `townlet_runtime.policy.seal.seal`."""
    from townlet_runtime.policy.foreign import ModelParts
    from townlet_runtime.policy.seal import seal as seal_model

    made = seal_model(
        model,
        output,
        spec=_spec_of(vocabulary, env, spec, group, settings or (), console),
        parts=ModelParts(
            output=actions,
            output_kind=output_kind.value,
            values=values,
            inputs=_pairs(inputs, "--input"),
            states=_pairs(states, "--state"),
        ),
        seed=vector_seed,
    )
    _report(made, console, from_world=env is not None)
    return 0


@policy_app.command(
    help="Compute the golden vectors of a policy file again.\n\nExit code 1 when a difference is too large."
)
@with_console
def check(
    console: Console,
    policy: _Policy,
    vectors: _Vectors = None,
) -> int:
    """Carry out `townlet policy check`; see `townlet_runtime.policy.vectors.check_vectors`."""
    from townlet_runtime.policy.vectors import check_vectors

    found = check_vectors(policy, vectors)
    # JSON has no infinity: an output that is missing or of another shape has no difference in numbers.
    differences = {name: one if one < float("inf") else None for name, one in found.differences.items()}
    console.result(
        {
            "policy": str(policy),
            "sha256": found.digest,
            "rows": found.rows,
            "tolerance": found.tolerance,
            "differences": differences,
            "passed": found.passed,
        },
        [
            f"{policy}: SHA-256 {found.digest}",
            *(f"{name}: largest difference {one:.3g}" for name, one in found.differences.items()),
            f"{'within' if found.passed else 'BEYOND'} the tolerance of {found.tolerance:g} on {found.rows} agents",
        ],
    )
    return 0 if found.passed else 1


@policy_app.command(help="Print what a policy file is for: its actions, observations, state and world.")
@with_console
def show(console: Console, policy: _Policy) -> int:
    """Carry out `townlet policy show`; the file is verified as it is before acting."""
    import json

    from townlet_runtime.policy.onnx import load_policy

    loaded = load_policy(policy)
    card = loaded.card
    state = f"{card.state_size} numbers of recurrent state" if card.state_size else "no recurrent state"
    console.result(
        {
            "policy": str(policy),
            "sha256": loaded.digest,
            "label": json.loads(card.text()) | {"file_sha256": loaded.digest},
        },
        [
            f"{policy}: {_number(card)} {_what(card)}, for {card.world}, SHA-256 {loaded.digest}",
            *(f"  {one}" for one in _actions_in_words(card)),
            *(f"observation {name}: float32 {list(shape)}" for name, shape in card.observation_shapes.items()),
            f"{state}, {'with' if card.has_values else 'without'} values",
        ],
    )
    return 0


@policy_app.command(
    help="Add the observations and actions of a world to the policy of a run.\n\n"
    "Old actions keep their logits bit for bit. `run --policy DIR` acts by the result, and `train --init-from DIR` "
    "trains it further."
)
def adapt(
    source: _Source,
    output: _OutputDir,
    config: _TargetConfig = None,
    env: Env = None,
    controller: ControllerName = None,
    guardrail: GuardrailNames = None,
    reference: _Reference = None,
    reference_ticks: _ReferenceTicks = 256,
    prior: _Priors = None,
    rename: _Renames = None,
    seed: _AdaptSeed = 0,
    settings: Settings = None,
    json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> int:
    """Carry out `townlet policy adapt`; see `AdaptOptions`."""
    limit_threads()

    def command(console: Console) -> int:
        from townlet_runtime.cli.training.run_starts import require_initial
        from townlet_runtime.runs.directory import require_new

        require_initial(source)
        require_new(output)
        from townlet_runtime.cli.commands.adapt import AdaptOptions, adapt_policy
        from townlet_runtime.cli.world_options import WorldOptions

        options = AdaptOptions(
            source=source,
            output=output,
            config=config,
            world=WorldOptions(env=env, controller=controller, guardrails=tuple(guardrail or ())),
            settings=tuple(settings or ()),
            reference=reference,
            reference_ticks=reference_ticks,
            priors=tuple(prior or ()),
            renamed=_pairs(rename, "--rename"),
            seed=seed,
        )
        return adapt_policy(options, console)

    return start(command, json=json, verbose=verbose, quiet=quiet)


def _report(made: SealedPolicy, console: Console, *, from_world: bool) -> None:
    card = made.card
    if not card.has_values:
        console.note("it has no values: steps are recorded with the value 0 (--values names one)")
    if not from_world and not card.feature_names:
        console.note("names of features are not known: their order is not compared with a world's")
    console.result(
        {
            "policy": str(made.path),
            "vectors": str(made.vectors),
            "sha256": made.digest,
            "world": card.world,
            "actions": _number(card),
            "state_size": card.state_size,
            "values": card.has_values,
            "differences": dict(made.differences),
        },
        [
            f"{made.path}: {_number(card)} {_what(card)}, for {card.world}, SHA-256 {made.digest}",
            f"{made.vectors}: largest difference to the model {max(made.differences.values()):.3g}",
        ],
    )


def _number(card: PolicyCard) -> int:
    """Of actions, parts or numbers."""
    return len(card.vocabulary) if card.actions is None else len(card.actions.names)


def _actions_in_words(card: PolicyCard) -> list[str]:
    """A line for each action, part or number."""
    from townlet_trajectory import Box

    if card.actions is None:
        return list(card.vocabulary)
    if isinstance(card.actions, Box):
        bounds = zip(card.actions.names, card.actions.low, card.actions.high, strict=True)
        return [f"{name} from {low:g} to {high:g}" for name, low, high in bounds]
    return [f"{name}: {', '.join(keys)}" for name, keys in card.actions.parts.items()]


def _what(card: PolicyCard) -> str:
    """What a policy has as many of as its file is said to have actions."""
    if card.actions is None:
        return "actions"
    return f"{card.distribution} numbers" if card.distribution else "parts of an action"


def _spec_of(
    vocabulary: str | None,
    env: str | None,
    spec: Path | None,
    group: str | None,
    settings: Sequence[str],
    console: Console,
) -> SealSpec:
    from townlet_runtime.errors import ConfigError
    from townlet_runtime.policy.seal_spec import SealSpec

    if sum(one is not None for one in (vocabulary, env, spec)) != 1:
        raise ConfigError("one of them says what the policy is for", file="--env, --spec, --vocabulary")
    if spec is not None:
        return SealSpec.read(spec)
    if vocabulary is not None:
        keys = tuple(key.strip() for key in vocabulary.split(","))
        if not all(keys) or len(set(keys)) != len(keys):
            raise ConfigError(f"expected different keys, got {vocabulary!r}", file="--vocabulary")
        return SealSpec(vocabulary=keys)
    from townlet_runtime.cli.world_options import WorldOptions
    from townlet_runtime.cli.worlds import Worlds, load

    named = WorldOptions(env=env)
    config = load(None, settings, named.overrides(), console).config
    with closing(Worlds.of(config, named).make(1)) as simulation:
        groups = simulation.specs
        if (group is None and len(groups) > 1) or (group is not None and group not in groups):
            raise ConfigError(f"expected one of {', '.join(groups)}, got {group}", file="--group")
        return SealSpec.of(groups[next(iter(groups)) if group is None else group])


def _pairs(given: Sequence[str] | None, label: str) -> dict[str, str]:
    from townlet_runtime.errors import ConfigError

    pairs = {}
    for text in given or ():
        name, separator, other = text.rpartition("=")
        if not (name and separator and other):
            raise ConfigError(f"expected NAME=NAME, got {text!r}", file=label)
        pairs[name] = other
    return pairs
