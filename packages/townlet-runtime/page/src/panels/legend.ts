// What the shapes of the agents mean, with how many of each there are.

import { DECIDERS, drawBody } from "../deciders";
import { byId, make, say } from "../dom";
import type { Model } from "../model";
import type { Theme } from "../theme";

const SIDE = 20;

export function legend(model: Model, theme: Theme): () => void {
  const counts = DECIDERS.map(() => make("b"));
  const badges = DECIDERS.map(() => make("canvas", { width: 2 * SIDE, height: 2 * SIDE, "aria-hidden": true }));
  byId("legend", HTMLElement).append(
    ...DECIDERS.map((decider, code) => make("li", { title: decider.meaning }, badges[code]!, `${decider.name} `, counts[code]!)),
  );
  const paint = (): void =>
    badges.forEach((badge, code) => {
      const on = badge.getContext("2d");
      const decider = DECIDERS[code];
      if (on === null || decider === undefined) return;
      on.clearRect(0, 0, badge.width, badge.height);
      drawBody(on, decider.body, SIDE, SIDE, 12, theme.colour(decider.colour), theme.colour("edge"));
    });
  theme.onChange(paint);
  paint();
  return () => {
    const frame = model.current;
    if (frame === null) return;
    const found = DECIDERS.map(() => 0);
    for (const code of frame.decider) if (code < found.length) found[code]! += 1;
    counts.forEach((count, code) => say(count, `${found[code]}`));
  };
}
