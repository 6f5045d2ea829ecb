"""Who shares a cell with whom, who may chat, and with whom it would be."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from townlet_runtime.town.arrays import Bools, Floats, Ints
from townlet_runtime.town.place import Place
from townlet_runtime.town.relations import Relations
from townlet_runtime.town.state import TownState

SHUNNED = np.array(-10.0)
"""Added to the score of a partner that is to be avoided: below all others."""
_ONE = np.array(1)
_PER_EXTROVERSION = np.array(0.1)
_NOBODY = np.array(-100.0)
"""Below every score."""


class Company(NamedTuple):
    """Of one state, on the cells of `Place.grid`."""

    here: Ints
    """[S]; cell of each agent."""
    crowd: Ints
    """[cells]; agents on each cell."""
    num_others: Ints
    """[S]; other agents on each agent's cell."""


def gather(state: TownState, place: Place) -> Company:
    """See who is where."""
    here = state.cell
    crowd = np.bincount(here, minlength=place.grid.num_cells)
    return Company(here=here, crowd=crowd, num_others=crowd.take(here) - _ONE)


def rivals_here(state: TownState, company: Company) -> Bools:
    """[S]; somebody to avoid is on the same cell."""
    relations, here = state.relations, company.here
    meets = np.zeros(len(here), dtype=np.bool_)
    if len(relations.avoiding):
        meets[relations.avoiding[here[relations.avoiding] == here[relations.rival]]] = True
    return meets


def chat_scores(state: TownState, company: Company, may_chat: Bools) -> Floats:
    """[S]; the score of the partner that a chat would be with, by `townlet_behavior.social.chat_score`; 0 for agents
    that may not chat.

    The partner is the best other on the same cell, by score, among those that are not to be avoided; only where there
    is no such, among the others, and then the score is lower by 10. A stranger's score is 0.1 extroversion.
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
    """[M]; trust + familiarity - rivalry of some edges, lower where the other is to be avoided."""
    liking: Floats = relations.warmth[edges] - relations.faded(relations.rivalry_of[edges], relations.faded_by)
    if relations.avoiding.size:
        liking += SHUNNED * relations.avoided[edges]
    return liking


def partners(state: TownState, company: Company, speakers: Ints) -> Ints:
    """[M]; whom each of `speakers` [M], ascending and none of them alone on its cell, would chat with. Of equals the
    lowest slot."""
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
