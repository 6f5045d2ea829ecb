// The charts of a sitting: shares by source, mean reward, vetoes by reason, ticks a second.

import { DECIDERS } from "../deciders";
import { byId } from "../dom";
import type { Model } from "../model";
import type { Theme } from "../theme";
import { Chart } from "../view/chart";
import type { ChartPoints } from "../wire/messages";

const POINTS = 600;
export const DASHES: number[][] = [[], [6, 3], [2, 2], [8, 3, 2, 3], [4, 2], [1, 3]];
const COLOURS = new Map(DECIDERS.map((decider) => [decider.name, decider.colour]));

export class Charts {
  private x: number[] = [];
  private readonly columns = new Map<string, (number | null)[]>();
  private readonly shares: Chart;
  private readonly reward: Chart;
  private readonly vetoes: Chart;
  private readonly speed: Chart;

  constructor(model: Model, theme: Theme) {
    const across = "tick";
    this.shares = new Chart(theme, { title: "Who decides", unit: "%", across, kind: "areas" });
    this.reward = new Chart(theme, { title: "Mean reward", unit: "per agent and tick", across, kind: "lines" });
    this.vetoes = new Chart(theme, { title: "Vetoes", unit: "per tick", across, kind: "lines", least: 0, most: 1 });
    this.speed = new Chart(theme, { title: "Speed", unit: "ticks/s", across, kind: "lines", least: 0 });
    byId("charts", HTMLElement).append(this.shares.element, this.reward.element, this.vetoes.element, this.speed.element);
    model.on("chart", (points) => this.take(points));
    model.on("hello", () => this.forget());
  }

  private forget(): void {
    this.x = [];
    this.columns.clear();
    this.show();
  }

  /** Points that do not come after the last one replace it and all after it: the world went back. */
  private take(points: ChartPoints): void {
    let keep = this.x.length;
    const first = points.ticks[0] ?? Infinity;
    while (keep > 0 && this.x[keep - 1]! >= first) keep -= 1;
    this.x.length = keep;
    for (const column of this.columns.values()) column.length = keep;
    this.x.push(...points.ticks);
    this.add("reward", points.mean_reward, keep);
    this.add("speed", points.ticks.map(() => points.ticks_per_s), keep);
    for (const [source, values] of Object.entries(points.shares)) this.add(`share ${source.replaceAll("_", " ")}`, values, keep);
    for (const [reason, values] of Object.entries(points.vetoes)) this.add(`veto ${reason}`, values, keep);
    for (const column of this.columns.values()) while (column.length < this.x.length) column.push(null);
    const over = this.x.length - POINTS;
    if (over > 0) {
      this.x.splice(0, over);
      for (const column of this.columns.values()) column.splice(0, over);
    }
    this.show();
  }

  private add(name: string, values: (number | null)[], before: number): void {
    const column = this.columns.get(name) ?? new Array<null>(before).fill(null);
    column.push(...values);
    this.columns.set(name, column);
  }

  private named(prefix: string): [string, (number | null)[]][] {
    const found = [...this.columns].filter(([name]) => name.startsWith(prefix));
    return found.map(([name, values]) => [name.slice(prefix.length), values]);
  }

  private show(): void {
    const shares = this.named("share ");
    this.shares.update(
      this.x,
      shares.map(([name, values], index) => ({ name, values, colour: COLOURS.get(name) ?? `accent${(index % 8) + 1}` })),
    );
    this.vetoes.update(
      this.x,
      this.named("veto ").map(([name, values], index) => ({
        name,
        values,
        colour: `accent${(index % 8) + 1}`,
        dash: DASHES[index % DASHES.length] ?? [],
      })),
    );
    this.reward.update(this.x, [{ name: "mean reward", colour: "accent2", values: this.columns.get("reward") ?? [] }]);
    this.speed.update(this.x, [{ name: "ticks/s", colour: "accent1", values: this.columns.get("speed") ?? [] }]);
  }
}
