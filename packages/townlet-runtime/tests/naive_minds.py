"""What agents keep in mind of each other, once more: dictionaries instead of edge tables."""

from __future__ import annotations

from townlet_runtime.town.config import RivalryConfig, SocialConfig


class NaiveMinds:
    """`close[a][b]` is [trust, familiarity] of a towards b; `rivals[a][b]` the rivalry as if it had never faded.

    A rivalry loses `decay_per_tick` every tick, so its value at tick t is max(kept - decay t, min_value).
    """

    def __init__(
        self, social: SocialConfig, rules: RivalryConfig, slots: list[int], avoid_from: dict[int, float]
    ) -> None:
        self.social, self.rules, self.avoid_from = social, rules, avoid_from
        self.close: dict[int, dict[int, list[float]]] = {slot: {} for slot in slots}
        self.rivals: dict[int, dict[int, float]] = {slot: {} for slot in slots}
        self.faded = 0.0

    def at(self, tick: int) -> None:
        self.faded = self.rules.decay_per_tick * tick

    def knows(self, a: int, b: int) -> bool:
        return b in self.close[a] or b in self.rivals[a]

    def tie(self, a: int, b: int) -> tuple[float, float]:
        trust, familiarity = self.close[a].get(b, (0.0, 0.0))
        return trust, familiarity

    def rivalry(self, a: int, b: int) -> float:
        return max(self.rivals[a][b] - self.faded, self.rules.min_value) if b in self.rivals[a] else 0.0

    def avoids(self, a: int, b: int) -> bool:
        if b not in self.rivals[a]:
            return False
        if self.avoid_from[a] <= self.rules.min_value > 0.0:
            return True
        return self.rivals[a][b] - self.avoid_from[a] >= self.faded

    def liking(self, a: int, b: int) -> float:
        trust, familiarity = self.tie(a, b)
        return trust + familiarity - self.rivalry(a, b) - (10.0 if self.avoids(a, b) else 0.0)

    def change(self, a: int, b: int, trust: float, familiarity: float, rivalry: float) -> None:
        before = self.tie(a, b)
        after = [min(max(before[0] + trust, -1.0), 1.0), min(max(before[1] + familiarity, 0.0), 1.0)]
        self.close[a][b] = after
        if rivalry > 0.0 or (rivalry < 0.0 and b in self.rivals[a]):
            value = max(self.rivalry(a, b) + rivalry, self.rules.min_value)
            self.rivals[a][b] = min(value, self.rules.max_value) + self.faded
        self.forget_the_least(a)

    def forget_the_least(self, a: int) -> None:
        close, rivals = self.close[a], self.rivals[a]
        for b in [b for b, tie in close.items() if tie == [0.0, 0.0]]:
            del close[b]
        if len(close) > self.social.max_edges:
            del close[min(close, key=lambda b: (abs(close[b][0]) + close[b][1], -b))]
        if len(rivals) > self.rules.max_edges:
            del rivals[min(rivals, key=lambda b: (rivals[b], -b))]

    def bond(self, pairs: list[tuple[int, int]], trust: float, familiarity: float, rivalry: float) -> None:
        for a, b in pairs:
            self.change(a, b, trust, familiarity, rivalry)
        for a, b in pairs:
            self.change(b, a, trust, familiarity, rivalry)

    def fade(self) -> None:
        """Trust and familiarity, every 50 ticks."""
        for close in self.close.values():
            for b, (trust, familiarity) in list(close.items()):
                close[b] = [trust * 0.9, familiarity * 0.9]
                if abs(close[b][0]) + close[b][1] < 0.001:
                    del close[b]

    def forget_faded_rivals(self) -> None:
        if self.rules.min_value >= self.rules.eviction_threshold:
            return
        for rivals in self.rivals.values():
            for b in [b for b, kept in rivals.items() if kept - self.rules.eviction_threshold < self.faded]:
                del rivals[b]
