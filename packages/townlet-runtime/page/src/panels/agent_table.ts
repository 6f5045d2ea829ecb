// The canvas in words: a table of the agents, made when somebody asks for it.

import { deciderOf } from "../deciders";
import { button, byId, make, round, say } from "../dom";
import type { Model } from "../model";

const MOST = 200;
const HOLDERS = ["", "you", "another person"];

export class AgentTable {
  private readonly dialog = byId("agents", HTMLDialogElement);
  private readonly filter = byId("agents-filter", HTMLInputElement);

  constructor(private readonly model: Model) {
    byId("agents-open", HTMLButtonElement).addEventListener("click", () => this.open());
    byId("agents-close", HTMLButtonElement).addEventListener("click", () => this.dialog.close());
    byId("agents-again", HTMLButtonElement).addEventListener("click", () => this.fill());
    this.filter.addEventListener("input", () => this.fill());
  }

  private open(): void {
    this.fill();
    this.dialog.showModal();
  }

  private fill(): void {
    const { model } = this;
    const frame = model.current;
    const ids = model.roster?.ids ?? [];
    const wanted = this.filter.value.toLowerCase();
    const found: HTMLElement[] = [];
    let fitting = 0;
    ids.forEach((id, row) => {
      if (frame === null) return;
      const decider = deciderOf(frame.decider[row] ?? -1).name;
      const holder = HOLDERS[frame.possessed[row] ?? 0] ?? "";
      const group = model.groupOf(id)?.name ?? "";
      const cells = [group, decider, model.actionOf(row), round(frame.reward[row] ?? 0), this.levels(row), holder];
      if (!`${id} ${cells.join(" ")}`.toLowerCase().includes(wanted)) return;
      fitting += 1;
      if (fitting > MOST) return;
      const choose = button(id, () => {
        model.select(id);
        this.dialog.close();
      });
      found.push(make("tr", {}, make("th", { scope: "row" }, choose), ...cells.map((cell) => make("td", {}, cell))));
    });
    byId("agents-body", HTMLElement).replaceChildren(...found);
    const cut = fitting > MOST ? `, the first ${MOST} shown` : "";
    say(byId("agents-words", HTMLElement), `${fitting} of ${ids.length} agents at tick ${frame?.tick ?? 0}${cut}`);
  }

  private levels(row: number): string {
    const frame = this.model.current;
    const names = this.model.scene?.bars ?? [];
    if (frame === null) return "";
    return names.map((name, bar) => `${name} ${Math.round(((frame.bars[row * frame.barsEach + bar] ?? 0) / 255) * 100)} %`).join(", ");
  }
}
