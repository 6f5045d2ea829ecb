"""Formulas of chats: the partner that a speaker prefers, and the quality of a chat.

Trust, familiarity and rivalry are the speaker's towards the partner; their growth and avoidance are the world's.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def chat_score(
    trust: NDArray[np.float64],
    familiarity: NDArray[np.float64],
    rivalry: NDArray[np.float64],
    extroversion: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Score how much an agent wants to chat with a partner; the best of several is chosen if its score is above 0.

        score = trust + familiarity - rivalry + 0.1 extroversion

    Args:
        trust: of the speaker in the partner; of any shape, the others too.
        familiarity: of the speaker with the partner.
        rivalry: of the speaker towards the partner.
        extroversion: of the speaker.
    """
    score: NDArray[np.float64] = trust + familiarity - rivalry + 0.1 * extroversion
    return score


def chat_quality(
    trust: NDArray[np.float64],
    familiarity: NDArray[np.float64],
    rivalry: NDArray[np.float64],
    extroversion: NDArray[np.float64],
    preference: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Compute the quality of a chat.

        mood    = 0.5 + 0.3 extroversion + 0.2 trust + 0.1 familiarity - 0.2 rivalry
        quality = clip(mood · clip(preference, 0.5, 1.5), 0.1, 1)

    Args:
        trust: of the speaker in the partner; of any shape, the others too.
        familiarity: of the speaker with the partner.
        rivalry: of the speaker towards the partner.
        extroversion: of the speaker.
        preference: of the speaker for chats: `CHAT_PREFERENCE` of its profile, or 1.

    Returns:
        0.1 to 1.
    """
    mood = 0.5 + 0.3 * extroversion + 0.2 * trust + 0.1 * familiarity - 0.2 * rivalry
    quality: NDArray[np.float64] = (mood * preference.clip(0.5, 1.5)).clip(0.1, 1.0)
    return quality
