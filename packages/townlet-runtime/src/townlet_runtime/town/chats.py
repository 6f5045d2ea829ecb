"""Chats: who talks with whom, how it goes, what it is worth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from townlet_behavior.personality import CHAT_PREFERENCE
from townlet_behavior.social import chat_quality
from townlet_runtime.town.arrays import Bools, Floats, Ints
from townlet_runtime.town.company import Company, partners, rivals_here
from townlet_runtime.town.config import SocialConfig, TownConfig
from townlet_runtime.town.relations import CHAT_FAMILIARITY, CHAT_TRUST, DISAPPOINTMENT, Tie
from townlet_runtime.town.state import EVENTS, TownState

_SUCCESS, _FAILURE = EVENTS.index("chat_success_events"), EVENTS.index("chat_failure_events")
_QUALITY = EVENTS.index("chat_quality_sum")


@dataclass(frozen=True, kw_only=True, eq=False)
class Talks:
    """Attempts to chat in one tick; who turns to whom is settled before anybody walks."""

    speakers: Ints
    """[M] slots, ascending."""
    partners: Ints
    """[M] slots."""
    blocked: Bools
    """[M]; not carried out, because the partner is to be avoided."""


def begin_talks(state: TownState, company: Company, wanting: Ints, may_chat: Bools) -> Talks | None:
    """Find the partners of all agents that chat, or were kept from it; None where nobody does.

    Args:
        state: whose agents have not walked yet.
        company: of this state.
        wanting: [M] slots of the agents whose action is a chat.
        may_chat: [S].
    """
    if not (wanting.size or state.some_blocked):
        return None
    speaks = state.blocked.copy()
    speaks[wanting] = may_chat[wanting]
    speakers = speaks.nonzero()[0]
    if not speakers.size:
        return None
    return Talks(speakers=speakers, partners=partners(state, company, speakers), blocked=state.blocked[speakers])


def finish_talks(state: TownState, talks: Talks, worlds: Ints, config: TownConfig) -> Floats:
    """Carry out the chats after everybody has walked, and return what they earn, [S].

    A chat succeeds where the partner is still on the same cell and does not avoid the speaker. It is
    `townlet_behavior.social.chat_quality` good, and both come closer by that; a failed one costs the speaker trust.
    Either way it is a while until the speaker's next.
    """
    speakers, listeners = talks.speakers, talks.partners
    relations = state.relations
    count = len(speakers)
    both, opposite = np.concatenate((speakers, listeners)), np.concatenate((listeners, speakers))
    mutual = relations.towards(both, opposite)
    ties, back = mutual.part(slice(count)), mutual.part(slice(count, None))
    succeeds = state.cell[speakers] == state.cell[listeners]
    succeeds &= ~(talks.blocked | back.avoids)
    quality = _quality(state, speakers, ties, config) * succeeds
    np.add.at(state.events, (worlds[speakers], np.where(succeeds, _SUCCESS, _FAILURE)), 1.0)
    np.add.at(state.events[:, _QUALITY], worlds[speakers], quality)
    state.blocked[speakers] = False
    state.some_blocked = False
    state.chat_ready_at[speakers] = state.tick + config.social.chat_cooldown_ticks
    changed = np.concatenate((np.ones(count, dtype=np.bool_), succeeds)).nonzero()[0]
    trust = np.concatenate((np.where(succeeds, CHAT_TRUST * quality, DISAPPOINTMENT), CHAT_TRUST * quality))
    familiarity = CHAT_FAMILIARITY * np.concatenate((quality, quality))
    relations.befriend(both[changed], opposite[changed], trust[changed], familiarity[changed])
    earned = np.zeros(len(state.cell))
    stage = config.social.social_rewards
    if stage != "OFF":
        np.add.at(earned, speakers, quality * _worth(ties, config.social))
    if stage == "C3":
        np.add.at(earned, listeners, quality * _worth(back, config.social))
    return earned


def _quality(state: TownState, speakers: Ints, ties: Tie, config: TownConfig) -> Floats:
    if config.personality.profiles:
        preference = CHAT_PREFERENCE[state.profile[speakers]]
    else:
        preference = np.ones(len(speakers))
    return chat_quality(ties.trust, ties.familiarity, ties.rivalry, state.extroversion[speakers], preference)


def _worth(ties: Tie, config: SocialConfig) -> Floats:
    """Of a chat of quality 1 with somebody one has such ties to: max(0, base + c_trust trust + c_familiarity
    familiarity)."""
    worth = config.chat_base + config.coeff_trust * ties.trust + config.coeff_familiarity * ties.familiarity
    return np.maximum(worth, 0.0)


def partings(state: TownState, company: Company, *, worth: float) -> Floats:
    """[S]; `worth` for whoever shared a cell with somebody to avoid before the agents walked, has walked, and shares it
    no more; else 0."""
    avoiding, rival = state.relations.avoiding, state.relations.rival
    left = rivals_here(state, company)
    left[avoiding[state.cell[avoiding] == state.cell[rival]]] = False
    left &= state.cell != company.here
    earned = np.zeros(len(left))
    earned[left] = worth
    return earned
