// Who is here, and which agents they have.

import { Rows, byId, button, make, say } from "../dom";
import type { Model } from "../model";
import type { State } from "../wire/messages";

type Person = State["people"][number];

export function peoplePanel(model: Model): void {
  const rows = new Rows<Person>(
    byId("people", HTMLElement),
    (person) => person.name,
    () => make("li", {}, make("b"), make("div", { class: "held" })),
    (element, person) => {
      const [name, held] = element.children;
      if (name === undefined || held === undefined) return;
      say(name, person.name === model.hello?.you ? `${person.name} (you)` : person.name);
      if (held.getAttribute("data-held") === person.agents.join(" ")) return;
      held.setAttribute("data-held", person.agents.join(" "));
      const chips = person.agents.map((id) => button(id, () => model.select(id), { class: "chip" }));
      held.replaceChildren(...(chips.length > 0 ? chips : ["watches"]));
    },
  );
  const recording = byId("recording", HTMLElement);
  model.on("state", (state) => {
    rows.update(state.people);
    const kept = state.recording;
    say(
      recording,
      kept === null
        ? "Nothing is recorded. Begin with --record DIR to keep this sitting."
        : `${kept.path}: ${kept.episodes} episodes, ${kept.demonstrated_steps} demonstrated steps.`,
    );
  });
}
