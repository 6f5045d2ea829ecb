"""The errors of this package, all below `BehaviorError`."""

from __future__ import annotations


class BehaviorError(Exception):
    """Base of every error that townlet-behavior raises on purpose.

    Arrays know agents by their slot. A caller that knows ids gives them with `name_agent`, and raises the error again.

    Attributes:
        tick: the world's tick; None where it does not matter.
        slot: of the first agent concerned; None where the error is about no agent.
    """

    def __init__(self, problem: str, *, tick: int | None = None, slot: int | None = None) -> None:
        super().__init__(problem)
        self.tick = tick
        self.slot = slot
        self._agent: str | None = None

    def name_agent(self, agent_id: str, *, world: int) -> None:
        """Name the agent in `slot` by its id and the index of its world."""
        self._agent = f"world {world}, agent {agent_id!r}"

    def __str__(self) -> str:
        slot = None if self.slot is None else f"slot {self.slot}"
        tick = None if self.tick is None else f"tick {self.tick}"
        where = ", ".join(part for part in (tick, self._agent or slot) if part is not None)
        return f"{where}: {super().__str__()}" if where else super().__str__()


class VocabularyError(BehaviorError):
    """An action vocabulary contradicts itself."""


class UnknownActionError(BehaviorError):
    """An action, key or intent that is not in the vocabulary."""


class PossessionError(BehaviorError):
    """An agent is not possessed, or not by this owner, or its slot does not exist."""


class PolicyError(BehaviorError):
    """The learned side proposed something that cannot be used."""


class ControllerError(BehaviorError):
    """A per-agent controller raised, or gave no answer.

    Attributes:
        agent_id: the agent that it was asked about.
        tick: of the world; None where the world has none.
    """

    def __init__(self, problem: str, *, agent_id: str, tick: int | None) -> None:
        super().__init__(problem, tick=tick)
        self.agent_id = agent_id
        self._agent = f"agent {agent_id!r}"

    @classmethod
    def by(cls, code: str, error: Exception, *, agent_id: str, tick: int | None) -> ControllerError:
        """Return the error of a user's own code that raised.

        Args:
            code: its name in the message.
            error: that it raised.
            agent_id: that it was asked about.
            tick: of the world; None where the world has none.
        """
        return cls(f"{code} raised {type(error).__name__}: {error}", agent_id=agent_id, tick=tick)


class GuardrailError(BehaviorError):
    """A guardrail's verdict cannot be carried out, or no action is left."""


class ConfigError(BehaviorError):
    """A setting out of its range."""


class StateError(BehaviorError):
    """A saved state that is not of this thing, or contradicts itself."""


class ShapeError(BehaviorError):
    """An array of the wrong shape or dtype, or slots that are not strictly ascending."""


class AnswerLogError(BehaviorError):
    """A log of answers that cannot be read or written, or is not of this run.

    Attributes:
        path: of the log.
        line: counted from 1; None where it is about no line.
    """

    def __init__(self, path: str, problem: str, *, line: int | None = None, tick: int | None = None) -> None:
        where = path if line is None else f"{path}:{line}"
        super().__init__(f"{where}: {problem}", tick=tick)
        self.path = path
        self.line = line
