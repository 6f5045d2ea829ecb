// The actions of an agent as buttons, by part where it has parts, and as sliders where it acts by numbers.

import { Rows, button, make, round, say, set } from "../dom";
import type { Group } from "../wire/messages";
import { SIGNS } from "./keymap";
import type { Possession } from "./possession";
import { choicesOf } from "./possession";

interface Choice {
  index: number;
  /** Full name, as in a mask. */
  name: string;
  /** What its button says, behind the name of its row. */
  label: string;
  part: string | null;
  key: string | null;
}

/** Buttons behind one name: a part, or the common beginning of some keys. */
interface Family {
  name: string;
  choices: Choice[];
}

interface Standing {
  legal: boolean;
  reason: string;
  held: boolean;
  now: boolean;
}

export class ActionPad {
  readonly element = make("div", { class: "pad" });
  private group: Group | null = null;
  private choices: Choice[] = [];
  private rows: { choices: Choice[]; rows: Rows<Choice> }[] = [];
  private standing: Standing[] = [];
  /** Of each part, the value chosen last. */
  private readonly parts = new Map<string, string>();
  private sliders: HTMLInputElement[] = [];

  constructor(private readonly possession: Possession) {}

  use(group: Group): void {
    if (group === this.group) return;
    this.group = group;
    this.parts.clear();
    this.element.replaceChildren();
    this.sliders = [];
    this.rows = [];
    if (group.box !== null) {
      this.makeSliders(group.box);
      return;
    }
    const keys = this.possession.keysOf(group);
    this.choices = choicesOf(group).map((name, index) => {
      const at = group.parts === null ? -1 : name.indexOf("=");
      const part = at < 0 ? null : name.slice(0, at);
      return { index, name, part, label: name, key: keys[index] ?? null };
    });
    for (const [part, values] of Object.entries(group.parts ?? {})) this.parts.set(part, values[0] ?? "");
    for (const family of familiesOf(this.choices)) {
      const holder = make("div", { class: "actions", role: "group", "aria-label": family.name === "" ? "Actions" : family.name });
      if (family.name !== "") holder.append(make("span", { class: "family", "aria-hidden": true }, family.name));
      const buttons = make("div", { class: "buttons" });
      holder.append(buttons);
      this.element.append(holder);
      const rows = new Rows<Choice>(
        buttons,
        (choice) => choice.name,
        (choice) => this.makeButton(choice),
        (element, choice) => this.showButton(element, choice),
      );
      this.rows.push({ choices: family.choices, rows });
    }
  }

  /** Show what is legal, and for whom. */
  update(legal: boolean[] | null, reasons: Record<string, string>, chosen: string | null, held: boolean): void {
    this.standing = this.choices.map((choice) => ({
      legal: legal?.[choice.index] ?? true,
      reason: reasons[choice.name] ?? "not legal now",
      held,
      now: choice.part === null ? choice.name === chosen : this.parts.get(choice.part) === valueOf(choice),
    }));
    for (const { choices, rows } of this.rows) rows.update(choices);
    for (const slider of this.sliders) slider.disabled = !held;
  }

  /** Do what a key stands for; false: it stands for nothing here. It is repeated until the key is up. */
  press(key: string): boolean {
    const choice = this.choices.find((one) => one.key === key);
    if (choice === undefined || this.group?.box !== null) return false;
    this.choose(choice, true);
    return true;
  }

  private choose(choice: Choice, held: boolean): void {
    const standing = this.standing[choice.index];
    if (standing?.held === true && !standing.legal) {
      this.possession.refuse(`${choice.name}: ${standing.reason}`);
      return;
    }
    let fed: string | string[] = choice.name;
    if (choice.part !== null) {
      this.parts.set(choice.part, valueOf(choice));
      fed = [...this.parts.values()];
    }
    if (held) this.possession.hold(fed);
    else void this.possession.feed(fed);
  }

  private makeButton(choice: Choice): HTMLElement {
    const made = button("", () => this.choose(choice, false), { class: "action" });
    // What the row says already is there for screen readers alone.
    const before = choice.name.slice(0, choice.name.length - choice.label.length);
    if (before !== "") made.append(make("span", { class: "unseen" }, before));
    made.append(make("span", {}, choice.label));
    if (choice.key !== null) made.append(make("kbd", { "aria-hidden": true }, SIGNS[choice.key] ?? choice.key.toUpperCase()));
    if (choice.key !== null) set(made, "aria-keyshortcuts", choice.key);
    return made;
  }

  private showButton(element: HTMLElement, choice: Choice): void {
    const standing = this.standing[choice.index];
    if (standing === undefined) return;
    const able = standing.legal && standing.held;
    set(element, "aria-disabled", able ? null : "true");
    set(element, "data-illegal", !standing.legal);
    set(element, "data-now", standing.now);
    const reason = !standing.legal ? standing.reason : standing.held ? "" : "take the agent over to choose";
    set(element, "title", reason === "" ? null : reason);
    set(element, "aria-description", reason === "" ? null : reason);
  }

  private makeSliders(box: NonNullable<Group["box"]>): void {
    const tell = (): void => this.possession.holdNumbers(this.sliders.map((one) => Number(one.value)));
    box.low.forEach((low, index) => {
      const high = box.high[index] ?? low;
      const name = box.names[index] ?? `number ${index}`;
      const middle = (low + high) / 2;
      const slider = make("input", { type: "range", min: low, max: high, step: (high - low) / 200, value: middle });
      const shown = make("output", {}, round(middle));
      slider.addEventListener("input", () => {
        say(shown, round(Number(slider.value)));
        tell();
      });
      this.sliders.push(slider);
      this.element.append(make("label", { class: "number" }, make("span", {}, name), slider, shown));
    });
  }
}

function valueOf(choice: Choice): string {
  return choice.part === null ? choice.name : choice.name.slice(choice.part.length + 1);
}

/** Put those that begin alike, up to the last colon, behind that beginning; parts behind their names; the rest into one row. */
function familiesOf(choices: Choice[]): Family[] {
  const stem = (choice: Choice): string => choice.part ?? choice.name.slice(0, Math.max(0, choice.name.lastIndexOf(":")));
  const counts = new Map<string, number>();
  for (const choice of choices) counts.set(stem(choice), (counts.get(stem(choice)) ?? 0) + 1);
  const families = new Map<string, Family>();
  for (const choice of choices) {
    const shared = choice.part !== null || (counts.get(stem(choice)) ?? 0) > 1;
    const name = shared ? stem(choice) : "";
    if (name !== "") choice.label = choice.name.slice(name.length + 1);
    const family = families.get(name) ?? { name, choices: [] };
    family.choices.push(choice);
    families.set(name, family);
  }
  return [...families.values()];
}
