// A training run as it goes: its stage and the time left, evaluations and gates, and curves of its log.

import { byId, make, round, say, set } from "../dom";
import type { Model } from "../model";
import type { Theme } from "../theme";
import { Chart } from "../view/chart";
import type { Run } from "../wire/messages";

type Row = (number | null)[];
type Evaluation = Run["evaluations"][number];

/** What is shown at first, in this order, under words of its own; every other number can be chosen by its name. */
const TELLING: [string, string][] = [
  ["reward_mean", "Reward per agent and tick"],
  ["ratio", "Policy's share of the decisions"],
  ["batch_entropy_mean", "Entropy of the policy"],
  ["kl_divergence", "Change of the policy (KL divergence)"],
  ["loss_value", "Loss of the values"],
  ["explained_variance", "Variance that the values explain"],
];
const TITLES = new Map(TELLING);
const AT_ONCE = 8;
const RETURN = "mean return";
const STAGES: Record<string, string> = {
  clone: "The policy learns to do what the script does",
  warmup: "The values are learned; the policy stays as it is",
  anneal: "Script and policy decide together",
  ppo: "The policy decides alone",
  round: "The policy plays, and the script says what it would have done",
  judge: "The result is judged",
  ended: "The run has ended",
  failed: "A gate ended the run",
  stopped: "The run was stopped; it can be gone on with",
};

/** Seconds as `1 h 02 min`, `3 min` or `20 s`. */
function duration(seconds: number): string {
  const minutes = Math.round(seconds / 60);
  if (minutes >= 60) return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
  return seconds >= 90 ? `${minutes} min` : `${Math.round(seconds)} s`;
}

export class Training {
  private columns: string[] = [];
  private rows: Row[] = [];
  private readonly charts = new Map<string, Chart>();
  private readonly holder = byId("curves", HTMLElement);
  private readonly choice = byId("columns", HTMLElement);
  private readonly shown = new Set<string>();
  private readonly returns: Chart;
  /** Whether a person has chosen curves: then no other ones are added. */
  private chosen = false;

  constructor(
    model: Model,
    private readonly theme: Theme,
  ) {
    this.returns = new Chart(theme, { title: "Mean return of evaluations", unit: "the policy alone", across: "steps", kind: "lines" });
    byId("returns", HTMLElement).append(this.returns.element);
    model.on("run", (run) => this.take(run));
  }

  private take(run: Run): void {
    if (run.columns.join("\n") !== this.columns.join("\n")) this.begin(run.columns);
    this.rows.length = Math.min(this.rows.length, run.from ?? this.rows.length);
    this.rows.push(...run.rows);
    this.tell(run);
    this.gates(run.evaluations);
    this.show();
  }

  private tell(run: Run): void {
    const stage = byId("run-stage", HTMLElement);
    say(stage, run.stage === null ? "The run begins" : (STAGES[run.stage] ?? run.stage));
    set(stage, "data-stage", run.stage);
    const steps = this.columns[0] === "env_steps" ? this.rows.at(-1)?.[0] : undefined;
    const facts: [string, string | null][] = [
      ["Stage", run.stage],
      ["Share in training", run.ratio === null ? null : `${Math.round(100 * run.ratio)} %`],
      ["Updates", run.updates.toLocaleString("en")],
      ["Steps of the world", steps === undefined || steps === null ? null : steps.toLocaleString("en")],
      ["Time left", run.left_s === null ? null : duration(run.left_s)],
    ];
    const known = facts.filter((fact): fact is [string, string] => fact[1] !== null);
    byId("run-facts", HTMLElement).replaceChildren(
      ...known.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))),
    );
  }

  /** The log has got other columns: what is shown stays, as far as it is there. */
  private begin(columns: string[]): void {
    this.columns = columns;
    this.rows = [];
    const numbers = columns.slice(1);
    if (!this.chosen) {
      this.shown.clear();
      for (const [name] of TELLING)
        for (const column of numbers) if (base(column) === name && this.shown.size < AT_ONCE) this.shown.add(column);
    }
    this.choice.replaceChildren(
      ...[...numbers].sort().map((name) => {
        const box = make("input", { type: "checkbox" });
        box.checked = this.shown.has(name);
        box.addEventListener("change", () => {
          this.chosen = true;
          if (box.checked) this.shown.add(name);
          else this.shown.delete(name);
          this.show();
        });
        return make("label", {}, box, ` ${name}`);
      }),
    );
  }

  private show(): void {
    const across = this.columns[0] === "env_steps" ? "steps" : "update";
    byId("no-curves", HTMLElement).hidden = this.rows.length > 0;
    byId("choose", HTMLElement).hidden = this.rows.length === 0;
    for (const [name, chart] of this.charts) {
      if (this.shown.has(name)) continue;
      chart.element.remove();
      this.charts.delete(name);
    }
    if (this.rows.length === 0) return;
    const x = this.rows.map((row) => row[0] ?? 0);
    for (const name of this.shown) {
      const column = this.columns.indexOf(name);
      if (column < 1) continue;
      let chart = this.charts.get(name);
      if (chart === undefined) {
        const title = TITLES.get(base(name));
        const unit = title === undefined ? "" : name;
        chart = new Chart(this.theme, { title: title ?? name, unit, across, kind: "lines" });
        this.charts.set(name, chart);
        this.holder.append(chart.element);
      }
      chart.update(x, [{ name, colour: "accent2", values: this.rows.map((row) => row[column] ?? null) }]);
    }
  }

  private gates(evaluations: Evaluation[]): void {
    const returns = evaluations.filter((one) => one.name === RETURN);
    byId("returns", HTMLElement).hidden = returns.length === 0;
    this.returns.update(
      returns.map((one) => one.at),
      [{ name: RETURN, colour: "accent4", values: returns.map((one) => one.value) }],
    );
    byId("gates", HTMLElement).replaceChildren(...[...evaluations].reverse().map(row));
    byId("gates-part", HTMLElement).hidden = evaluations.length === 0;
    say(byId("gates-words", HTMLElement), "the newest first");
  }
}

/** The name of a column without the group of agents that it is of. */
function base(column: string): string {
  return column.replace(/ \(.*\)$/, "");
}

function row(one: Evaluation): HTMLElement {
  const isGate = one.value === null;
  const verdict = one.passed === null ? (isGate ? "? undecided" : "") : one.passed ? "✓ passed" : "✗ failed";
  const what = make("td", {}, one.name.replaceAll("_", " "));
  if (one.note !== null && one.note !== "") what.append(make("small", {}, one.note));
  const made = make(
    "tr",
    {},
    make("td", {}, one.at.toLocaleString("en")),
    what,
    make("td", {}, one.value === null ? "" : round(one.value)),
    make("td", {}, verdict),
  );
  if (one.passed !== null) made.dataset["passed"] = `${one.passed}`;
  return made;
}
