// One agent at one tick: what it sees, what each side proposes, who decided and why, and what came of it.

import type { Desk } from "../announce";
import { deciderOf, drawBody } from "../deciders";
import { Rows, byId, button, make, percent, round, say, set } from "../dom";
import { ActionPad } from "../hand/action_pad";
import type { Possession } from "../hand/possession";
import type { Model } from "../model";
import type { Theme } from "../theme";
import type { Agent } from "../wire/messages";
import { Bars } from "./bars";
import { StripView } from "./strip";

const FIRST = 10;
const LABELS = ["success", "failure", "discard"] as const;
const EVERY_MS = 90;

export class Inspector {
  readonly pad: ActionPad;
  private readonly strip: StripView;
  private readonly sees = new Bars("What it sees", true);
  private readonly proposals = new Bars("Probabilities of the policy");
  private readonly levels = new Bars("Levels");
  private readonly terms = new Bars("Reward by term", true);
  private readonly why: Rows<string>;
  private readonly arrays: Rows<string>;
  private readonly labels: HTMLButtonElement[];
  private all = false;
  /** The tick that is looked back at. */
  private back: number | null = null;
  private moment: Agent | null = null;
  private shownAt = 0;
  private later = 0;

  constructor(
    private readonly model: Model,
    private readonly theme: Theme,
    private readonly desk: Desk,
    private readonly possession: Possession,
  ) {
    this.pad = new ActionPad(possession);
    byId("pad-place", HTMLElement).append(this.pad.element);
    byId("sees", HTMLElement).append(this.sees.element);
    byId("proposals", HTMLElement).append(this.proposals.element);
    byId("levels", HTMLElement).append(this.levels.element);
    byId("terms", HTMLElement).append(this.terms.element);
    this.why = new Rows<string>(byId("why", HTMLElement), (line) => line, () => make("li"), say);
    this.arrays = new Rows<string>(byId("arrays", HTMLElement), (line) => line, () => make("li"), say);
    this.strip = new StripView(
      model,
      theme,
      (id) => desk.quietly("strip", { agent: id }),
      (tick) => void this.lookBack(tick),
    );
    this.labels = LABELS.map((value, index) =>
      button(value, () => void this.label(index), { class: "label", "aria-keyshortcuts": index + 1, "aria-pressed": "false" }),
    );
    const place = byId("labels", HTMLElement);
    this.labels.forEach((made, index) => {
      made.append(" ", make("kbd", { "aria-hidden": true }, `${index + 1}`));
      place.append(made);
    });
    place.append(button("none", () => void this.label(-1), { class: "label" }));
    byId("take", HTMLButtonElement).addEventListener("click", () => void possession.toggle());
    byId("to-now", HTMLButtonElement).addEventListener("click", () => this.strip.now());
    byId("previous", HTMLButtonElement).addEventListener("click", () => model.selectNext(-1));
    byId("next", HTMLButtonElement).addEventListener("click", () => model.selectNext(1));
    byId("all-seen", HTMLButtonElement).addEventListener("click", () => {
      this.all = !this.all;
      this.show();
    });
    const field = byId("agent-id", HTMLInputElement);
    field.addEventListener("change", () => this.find(field.value.trim()));
    field.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      this.find(field.value.trim());
      byId("panel-inspector", HTMLElement).focus();
    });
    model.on("selected", (id) => this.choose(id));
    model.on("hello", () => {
      if (model.selected !== null) void desk.quietly("inspect", { agent: model.selected });
    });
    model.on("agent", () => this.soon());
    model.on("frame", () => this.soon());
    model.on("roster", (roster) => {
      const known = byId("agent-ids", HTMLElement);
      known.replaceChildren(...roster.ids.slice(0, 2000).map((id) => make("option", { value: id })));
      this.soon();
    });
    theme.onChange(() => this.soon());
    this.show();
  }

  /** Say of the selected agent's episode, or of all where none is selected, how it went; -1 takes it back. */
  async label(index: number): Promise<void> {
    const value = LABELS[index] ?? "none";
    const who = this.model.selected;
    await this.desk.ask("label", { agent: who, value }, `${who ?? "All agents"}: this episode is labelled ${value}.`);
  }

  private find(id: string): void {
    if (id === "") this.model.select(null);
    else if (this.model.row(id) !== null) this.model.select(id);
    else this.desk.announcer.tell(`There is no agent ${id} here now.`);
  }

  private choose(id: string | null): void {
    this.back = null;
    this.moment = null;
    void this.desk.quietly("inspect", { agent: id });
    this.show();
  }

  private async lookBack(tick: number | null): Promise<void> {
    if (tick === this.back) return;
    this.back = tick;
    this.moment = null;
    this.soon();
    const id = this.model.selected;
    if (tick === null || id === null) return;
    const { moment } = await this.desk.ask("moment", { agent: id, tick });
    if (moment === null || moment.id !== this.model.selected || moment.tick !== this.back) return;
    this.moment = moment;
    this.soon();
  }

  /** Show it at most eleven times a second: nobody reads faster. */
  private soon(): void {
    if (this.later !== 0) return;
    const wait = Math.max(0, this.shownAt + EVERY_MS - performance.now());
    this.later = window.setTimeout(() => {
      this.later = 0;
      this.show();
    }, wait);
  }

  private show(): void {
    this.shownAt = performance.now();
    const id = this.model.selected;
    byId("no-agent", HTMLElement).hidden = id !== null;
    byId("one-agent", HTMLElement).hidden = id === null;
    const field = byId("agent-id", HTMLInputElement);
    if (document.activeElement !== field) field.value = id ?? "";
    if (id === null) return;
    this.showHands(id);
    const agent = this.back === null ? this.model.agent : this.moment;
    set(byId("one-agent", HTMLElement), "data-back", this.back !== null);
    byId("to-now", HTMLElement).hidden = this.back === null;
    if (agent === null || agent.id !== id) return;
    this.showDecision(agent);
    this.showSeen(agent);
    this.showProposals(agent);
    this.showLevels(id);
    const terms = Object.entries(agent.terms).map(([name, value]): [string, number] => [name, value ?? 0]);
    const largest = Math.max(1e-9, ...terms.map(([, value]) => Math.abs(value)));
    this.terms.update(
      terms.map(([name, value]) => ({ name, share: value / largest, words: round(value), colour: value < 0 ? "alert" : "good" })),
    );
    byId("terms-part", HTMLElement).hidden = terms.length === 0;
  }

  /** Of now alone: levels of earlier ticks are not kept. */
  private showLevels(id: string): void {
    const frame = this.model.current;
    const row = this.model.row(id);
    const names = frame === null || row === null || this.back !== null ? [] : (this.model.scene?.bars ?? []);
    const levels = names.map((name, bar) => {
      const value = (frame?.bars[(row ?? 0) * names.length + bar] ?? 0) / 255;
      return { name, share: value, words: percent(value), colour: value < 0.25 ? "alert" : "good" };
    });
    this.levels.update(levels);
    byId("levels-part", HTMLElement).hidden = levels.length === 0;
  }

  private showHands(id: string): void {
    const { model } = this;
    const row = model.row(id);
    const holder = row === null ? 0 : (model.current?.possessed[row] ?? 0);
    const can = model.hello?.can.possess === true;
    byId("hands", HTMLElement).hidden = !can;
    byId("labels-part", HTMLElement).hidden = model.hello?.can.label === false;
    const take = byId("take", HTMLButtonElement);
    say(byId("take-words", HTMLElement), holder === 1 ? "Release" : "Take over");
    set(take, "aria-pressed", holder === 1 ? "true" : "false");
    take.disabled = row === null || holder === 2;
    const lease = (model.agent?.id === id ? model.agent.lease_left : null) ?? this.possession.leaseLeft(id);
    const meter = byId("lease", HTMLElement);
    const words =
      row === null
        ? "This agent is not here now."
        : holder === 2
          ? "Another person has this agent."
          : holder === 1
            ? `Yours${lease === null ? "" : `, for ${lease} more ticks (renewed by itself)`}`
            : "";
    say(meter, words);
    const group = model.groupOf(id);
    if (group === null) return;
    this.pad.use(group);
    const agent = model.agent?.id === id ? model.agent : null;
    this.pad.update(agent?.legal ?? null, agent?.why_illegal ?? {}, row === null ? null : model.actionOf(row), holder === 1);
  }

  private showDecision(agent: Agent): void {
    const { explanation } = agent;
    const code = this.deciderCode(agent);
    const decider = deciderOf(code);
    const badge = byId("badge", HTMLCanvasElement);
    const on = badge.getContext("2d");
    if (on !== null) {
      on.clearRect(0, 0, badge.width, badge.height);
      drawBody(on, decider.body, 20, 20, 13, this.theme.colour(decider.colour), this.theme.colour("edge"));
    }
    const did = explanation?.decided.action ?? "";
    say(byId("decided-by", HTMLElement), decider.name);
    say(byId("decided-what", HTMLElement), did);
    say(byId("decided-when", HTMLElement), `tick ${agent.tick}`);
    const reward = agent.reward ?? explanation?.came.reward ?? null;
    say(byId("decided-reward", HTMLElement), reward === null ? "" : `reward ${round(reward)}`);
    this.why.update([...new Set(explanation?.decided.why ?? [])]);
    const label = explanation?.came.episode_label ?? null;
    this.labels.forEach((made, index) => set(made, "aria-pressed", LABELS[index] === label ? "true" : "false"));
  }

  private deciderCode(agent: Agent): number {
    const row = this.model.row(agent.id);
    const frame = this.model.current;
    if (row !== null && frame?.tick === agent.tick) return frame.decider[row] ?? -1;
    const { decided } = agent.explanation ?? {};
    if (decided === undefined) return -1;
    if (decided.veto_reason !== null) return 4;
    return { script: 0, policy: 2, possessor: 3, commitment: 5, only_action: 6 }[decided.by] ?? -1;
  }

  private showSeen(agent: Agent): void {
    const numbers = agent.explanation?.saw.numbers ?? [];
    const shown = this.all ? numbers : numbers.slice(0, FIRST);
    const largest = Math.max(1e-9, ...numbers.map((one) => Math.abs(one.value)));
    this.sees.update(
      shown.map((one) => {
        const away = one.deviations;
        const words = away === null ? round(one.value) : `${round(one.value)}  ${away > 0 ? "+" : ""}${away.toFixed(1)} σ`;
        return { name: one.name, share: away === null ? one.value / largest : away / 4, words };
      }),
    );
    const more = byId("all-seen", HTMLButtonElement);
    more.hidden = numbers.length <= FIRST;
    say(more, this.all ? "Show fewer" : `Show all ${numbers.length}`);
    this.arrays.update(
      (agent.explanation?.saw.arrays ?? []).map((one) => `${one.name}: ${one.shape.join(" × ")}, ${one.nonzero} not zero`),
    );
  }

  private showProposals(agent: Agent): void {
    const { explanation } = agent;
    const { expert_action: script = null, proposer = null, policy = null, value = null } = explanation?.proposed ?? {};
    const option = explanation?.option ?? null;
    const lines: string[] = [];
    if (script !== null) lines.push(`Script: ${script}${proposer === null || proposer === "script" ? "" : `, by ${proposer}`}`);
    if (option !== null) lines.push(`Held: ${option.action}, ${option.ticks_left} more ticks`);
    const vetoed = explanation?.decided.veto_reason ?? null;
    if (vetoed !== null) lines.push(`Vetoed: ${explanation?.decided.chosen_action ?? "the choice"}, ${vetoed}`);
    if (value !== null) lines.push(`The policy expects ${round(value)} from here`);
    if (lines.length === 0 && policy === null) lines.push("Nothing was proposed.");
    say(byId("proposed", HTMLElement), lines.join("\n"));
    this.proposals.update(
      (policy?.top_actions ?? []).map((one) => ({
        name: one.action,
        share: one.probability,
        words: `${script === one.action ? "◂ script  " : ""}${percent(one.probability)}`,
        colour: "by-learned",
      })),
    );
  }
}
