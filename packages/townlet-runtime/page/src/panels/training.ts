// A training run as it goes: curves of its log, the gates, the stage and the time left.

import { byId, make, round, say } from "../dom";
import type { Model } from "../model";
import type { Theme } from "../theme";
import { Chart } from "../view/chart";
import type { Run } from "../wire/messages";

const TELLING = ["reward", "return", "score", "agreement", "loss", "entropy", "kl", "ratio"];
const AT_ONCE = 6;

export class Training {
  private columns: string[] = [];
  private rows: (number | null)[][] = [];
  private readonly charts = new Map<string, Chart>();
  private readonly holder = byId("curves", HTMLElement);
  private readonly choice = byId("columns", HTMLElement);
  private readonly shown = new Set<string>();

  constructor(
    model: Model,
    private readonly theme: Theme,
  ) {
    model.on("run", (run) => this.take(run));
  }

  private take(run: Run): void {
    if (run.columns.join("\n") !== this.columns.join("\n")) this.begin(run.columns);
    this.rows.length = Math.min(this.rows.length, run.from ?? this.rows.length);
    this.rows.push(...run.rows);
    const left = run.left_s === null ? null : run.left_s >= 90 ? `${Math.round(run.left_s / 60)} min` : `${Math.round(run.left_s)} s`;
    const facts: [string, string | null][] = [
      ["Stage", run.stage],
      ["Ratio", run.ratio === null ? null : run.ratio.toFixed(2)],
      ["Updates", `${this.rows.length}`],
      ["Left", left],
    ];
    const shown = facts.filter((fact): fact is [string, string] => fact[1] !== null);
    byId("run-facts", HTMLElement).replaceChildren(
      ...shown.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))),
    );
    this.gates(run);
    this.show();
  }

  private begin(columns: string[]): void {
    this.columns = columns;
    this.rows = [];
    this.shown.clear();
    const numbers = columns.slice(1);
    const telling = numbers.filter((name) => TELLING.some((word) => name.includes(word)));
    for (const name of [...telling, ...numbers].slice(0, AT_ONCE)) this.shown.add(name);
    this.choice.replaceChildren(
      ...numbers.map((name) => {
        const box = make("input", { type: "checkbox", checked: this.shown.has(name) });
        box.addEventListener("change", () => {
          if (box.checked) this.shown.add(name);
          else this.shown.delete(name);
          this.show();
        });
        return make("label", {}, box, ` ${name}`);
      }),
    );
  }

  private show(): void {
    const x = this.rows.map((row) => row[0] ?? 0);
    this.columns.forEach((name, column) => {
      if (column === 0) return;
      if (!this.shown.has(name)) {
        this.charts.get(name)?.element.remove();
        this.charts.delete(name);
        return;
      }
      let chart = this.charts.get(name);
      if (chart === undefined) {
        chart = new Chart(this.theme, { title: name, unit: "", across: this.columns[0] ?? "update", kind: "lines" });
        this.charts.set(name, chart);
        this.holder.append(chart.element);
      }
      chart.update(x, [{ name, colour: "accent2", values: this.rows.map((row) => row[column] ?? null) }]);
    });
  }

  private gates(run: Run): void {
    const body = byId("gates", HTMLElement);
    body.replaceChildren(
      ...run.evaluations.map((one) => {
        const verdict = one.passed === null ? "–" : one.passed ? "✓ passed" : "✗ failed";
        const cells = [round(one.at, 7), one.name, one.value === null ? "–" : round(one.value), one.note ?? verdict];
        const row = make("tr", {}, ...cells.map((words) => make("td", {}, words)));
        if (one.passed !== null) row.dataset["passed"] = `${one.passed}`;
        return row;
      }),
    );
    byId("gates-part", HTMLElement).hidden = run.evaluations.length === 0;
    say(byId("gates-words", HTMLElement), `${run.evaluations.length} evaluations`);
  }
}
