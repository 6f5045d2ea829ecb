"""Company on a cell: partners of chats, their quality, and the rewards of company."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from townlet_behavior.personality import CHAT_PREFERENCE
from townlet_behavior.social import chat_quality
from townlet_runtime.town.arrays import Bools, Floats, Ints
from townlet_runtime.town.config import SocialConfig, TownConfig
from townlet_runtime.town.place import Place
from townlet_runtime.town.relations import CHAT_FAMILIARITY, CHAT_TRUST, DISAPPOINTMENT, SHUNNED, Relations, Tie
from townlet_runtime.town.state import EVENTS, Company, TownState

_ONE = np.array(1)
_PER_EXTROVERSION = np.array(0.1)
_NOBODY = np.array(-100.0)
"""Below every score."""


def gather(state: TownState, place: Place) -> Company:
    """Count the agents on every cell."""
    here = state.cell
    crowd = np.bincount(here, minlength=place.grid.num_cells)
    return Company(here=here, crowd=crowd, num_others=crowd.take(here) - _ONE)


def chat_scores(state: TownState, company: Company, may_chat: Bools) -> Floats:
    """Score the partner that each agent's chat would be with, by `townlet_behavior.chat_score`.

    The partner is the best other on the same cell, by score, among those that are not to be avoided; only where there
    is no such, among the others, and then the score is lower by 10. A stranger's score is 0.1 extroversion.

    Args:
        state: of all worlds.
        company: of this state.
        may_chat: [S].

    Returns:
        [S]; 0 for agents that may not chat.
    """
    relations, here = state.relations, company.here
    scores: Floats = state.extroversion * _PER_EXTROVERSION
    if relations.holder.size:
        met = here.take(relations.holder) == here.take(relations.target)
        edges = met.nonzero()[0]
        if edges.size:
            agents = relations.holder[edges]
            # Strangers are liked by 0; where there is none, nothing is worse than the worst of those who are known.
            best = (np.bincount(agents, minlength=len(here)) >= company.num_others) * _NOBODY
            np.maximum.at(best, agents, _liking(relations, edges))
            scores += best
    scores *= may_chat
    return scores


def _liking(relations: Relations, edges: Ints) -> Floats:
    """Return trust + familiarity - rivalry of `edges` [M], lower where the other is to be avoided."""
    liking: Floats = relations.warmth[edges] - relations.faded(relations.rivalry_of[edges], relations.faded_by)
    if relations.avoiding.size:
        liking += SHUNNED * relations.avoided[edges]
    return liking


def partners(state: TownState, company: Company, speakers: Ints) -> Ints:
    """Find the partners of chats; of equals the lowest slot.

    Args:
        state: of all worlds.
        company: of this state.
        speakers: [M] slots, ascending; none is alone on its cell.

    Returns:
        [M] slots.
    """
    relations, here = state.relations, company.here
    speaks = np.zeros(len(here), dtype=np.bool_)
    speaks[speakers] = True
    met = (here.take(relations.holder) == here.take(relations.target)) & speaks.take(relations.holder)
    edges = met.nonzero()[0]
    chosen, liked = np.full(len(speakers), -1), np.zeros(len(speakers), dtype=np.bool_)
    if edges.size:
        holders, targets, liking = relations.holder[edges], relations.target[edges], _liking(relations, edges)
        order = np.lexsort((targets, -liking, holders))
        holders = holders[order]
        first = np.minimum(np.searchsorted(holders, speakers), len(holders) - 1)
        knows = holders[first] == speakers
        best = order[first]
        chosen = np.where(knows, targets[best], -1)
        liked = knows & (liking[best] > 0.0)
    open_to_all = (~liked).nonzero()[0]
    if open_to_all.size:
        strangers = _first_strangers(relations, here, speakers[open_to_all])
        chosen[open_to_all] = np.where(strangers >= 0, strangers, chosen[open_to_all])
    return chosen


def _first_strangers(relations: Relations, here: Ints, speakers: Ints) -> Ints:
    """[M]; the lowest slot on each speaker's cell that it does not know, -1 for none.

    A speaker knows at most as many as it has edges, so looking at two more than that is enough.
    """
    order = np.argsort(here, kind="stable")
    ordered = here[order]
    known = relations.other[speakers]
    at = np.searchsorted(ordered, here[speakers])[:, None] + np.arange(known.shape[1] + 2)
    inside = at < len(order)
    at = np.minimum(at, len(order) - 1)
    candidates = order[at]
    stranger = inside & (ordered[at] == here[speakers][:, None]) & (candidates != speakers[:, None])
    stranger &= ~(candidates[:, :, None] == known[:, None, :]).any(axis=2)
    first = candidates[np.arange(len(speakers)), stranger.argmax(axis=1)]
    return np.where(stranger.any(axis=1), first, -1)


_SUCCESS, _FAILURE = EVENTS.index("chat_success_events"), EVENTS.index("chat_failure_events")
_QUALITY = EVENTS.index("chat_quality_sum")


@dataclass(frozen=True, kw_only=True, eq=False)
class Talks:
    """Attempts to chat in one tick; partners are settled before agents walk."""

    speakers: Ints
    """[M] slots, ascending."""
    partners: Ints
    """[M] slots."""
    blocked: Bools
    """[M]; not carried out, because the partner is to be avoided."""


def begin_talks(state: TownState, company: Company, wanting: Ints, may_chat: Bools) -> Talks | None:
    """Find the partners of all agents that chat, or were kept from it; None where there are none.

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
    """Carry out the chats after all agents have walked.

    A chat succeeds where the partner is still on the same cell and does not avoid the speaker. It is
    `townlet_behavior.social.chat_quality` good, and both come closer by that; a failed one costs the speaker trust.
    Either way it is a while until the speaker's next.

    Args:
        state: is changed.
        talks: of the same tick.
        worlds: [S]; of the slots.
        config: of the town.

    Returns:
        [S]; rewards of the chats.
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
    """Reward agents that have walked away from a cell that they shared with an agent to avoid.

    Args:
        state: after the walk.
        company: before it.
        worth: of such a step.

    Returns:
        [S]; `worth` or 0.
    """
    avoiding, rival = state.relations.avoiding, state.relations.rival
    left = state.relations.meets(company.here)
    left[avoiding[state.cell[avoiding] == state.cell[rival]]] = False
    left &= state.cell != company.here
    earned = np.zeros(len(left))
    earned[left] = worth
    return earned
