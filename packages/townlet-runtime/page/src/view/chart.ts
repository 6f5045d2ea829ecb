// A small chart: lines, or areas that add up. With the pointer or the arrow keys it says the values at a place.

import { Rows, make, round, say, set } from "../dom";
import type { Theme } from "../theme";

export interface Series {
  name: string;
  colour: string;
  dash?: number[];
  values: (number | null)[];
}

export interface ChartOptions {
  title: string;
  unit: string;
  /** What is counted from left to right. */
  across: string;
  kind: "lines" | "areas";
  /** Lowest and highest value shown at least. */
  least?: number;
  most?: number;
}

const PAD = { left: 46, right: 8, top: 6, bottom: 20 };

export class Chart {
  readonly element: HTMLElement;
  private readonly canvas = make("canvas", { tabindex: 0, role: "slider", class: "plot" });
  private readonly readout = make("span", { class: "at" });
  private readonly legend = make("ul", { class: "legend" });
  private readonly entries: Rows<Series>;
  private x: number[] = [];
  private series: Series[] = [];
  /** Index of the point under the pointer or the keyboard. */
  private cursor: number | null = null;
  private due = false;

  constructor(
    private readonly theme: Theme,
    private readonly options: ChartOptions,
  ) {
    const heading = make("h2", {}, options.title, " ", make("small", {}, options.unit));
    this.element = make("figure", { class: "chart" }, make("figcaption", {}, heading, this.readout), this.canvas, this.legend);
    this.entries = new Rows<Series>(
      this.legend,
      (one) => one.name,
      (one) => make("li", {}, make("span", { class: "swatch" }), `${one.name} `, make("b")),
      (element, one) => this.showEntry(element, one),
    );
    set(this.canvas, "aria-label", `${options.title}, ${options.unit}`);
    set(this.canvas, "aria-valuemin", 0);
    new ResizeObserver(() => this.later()).observe(this.canvas);
    theme.onChange(() => this.later());
    this.listen();
    this.later();
  }

  update(x: number[], series: Series[]): void {
    this.x = x;
    this.series = series;
    if (this.cursor !== null) this.cursor = Math.min(this.cursor, x.length - 1);
    this.later();
  }

  private later(): void {
    if (this.due) return;
    this.due = true;
    requestAnimationFrame(() => {
      this.due = false;
      this.draw();
    });
  }

  private showEntry(element: HTMLElement, one: Series): void {
    const [swatch, value] = [element.querySelector("span"), element.querySelector("b")];
    if (swatch === null || value === null) return;
    swatch.style.borderTopColor = this.theme.colour(one.colour);
    swatch.style.borderTopStyle = one.dash === undefined || one.dash.length === 0 ? "solid" : one.dash.length > 2 ? "double" : "dashed";
    const found = one.values[this.cursor ?? one.values.length - 1];
    say(value, found === null || found === undefined ? "–" : this.words(found));
  }

  private words(value: number): string {
    return this.options.unit === "%" ? `${round(100 * value)} %` : round(value);
  }

  private listen(): void {
    const { canvas } = this;
    canvas.addEventListener("pointermove", (event) => this.point(this.indexAt(event.offsetX)));
    canvas.addEventListener("pointerleave", () => this.point(null));
    canvas.addEventListener("blur", () => this.point(null));
    canvas.addEventListener("focus", () => this.point(this.x.length - 1));
    canvas.addEventListener("keydown", (event) => {
      const last = this.x.length - 1;
      const at = this.cursor ?? last;
      const page = Math.max(1, Math.round(last / 10));
      const goals: Record<string, number> = {
        ArrowLeft: at - 1,
        ArrowRight: at + 1,
        PageDown: at - page,
        PageUp: at + page,
        Home: 0,
        End: last,
      };
      const goal = goals[event.key];
      if (goal === undefined) return;
      event.preventDefault();
      this.point(Math.max(0, Math.min(last, goal)));
    });
  }

  private point(index: number | null): void {
    this.cursor = index === null || index < 0 ? null : index;
    this.later();
  }

  private indexAt(pixel: number): number {
    const width = this.canvas.clientWidth - PAD.left - PAD.right;
    const [first, last] = [this.x[0] ?? 0, this.x.at(-1) ?? 0];
    const wanted = first + ((pixel - PAD.left) / width) * (last - first);
    let best = 0;
    this.x.forEach((value, index) => {
      if (Math.abs(value - wanted) < Math.abs(this.x[best]! - wanted)) best = index;
    });
    return best;
  }

  private draw(): void {
    const { canvas } = this;
    const pixels = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (width === 0 || height === 0) return;
    canvas.width = Math.round(width * pixels);
    canvas.height = Math.round(height * pixels);
    const on = canvas.getContext("2d");
    if (on === null) return;
    on.scale(pixels, pixels);
    this.entries.update(this.series);
    const [low, high] = this.range();
    const [inner, tall] = [width - PAD.left - PAD.right, height - PAD.top - PAD.bottom];
    const [first, last] = [this.x[0] ?? 0, this.x.at(-1) ?? 1];
    // A single point is in the middle, where all of it can be seen.
    const atX = (value: number): number => PAD.left + (last > first ? (value - first) / (last - first) : 0.5) * inner;
    const atY = (value: number): number => PAD.top + tall - ((value - low) / Math.max(1e-12, high - low)) * tall;
    this.axes(on, low, high, first, last, atY, width, height);
    on.save();
    on.beginPath();
    on.rect(PAD.left, PAD.top, inner, tall);
    on.clip();
    if (this.options.kind === "areas") this.areas(on, atX, atY);
    else this.lines(on, atX, atY);
    on.restore();
    this.markCursor(on, atX, tall);
  }

  private range(): [number, number] {
    if (this.options.kind === "areas") return [0, 1];
    let [low, high] = [this.options.least ?? Infinity, this.options.most ?? -Infinity];
    for (const one of this.series) {
      for (const value of one.values) {
        if (value === null) continue;
        low = Math.min(low, value);
        high = Math.max(high, value);
      }
    }
    if (!(low <= high)) return [0, 1];
    if (low === high) return [low - Math.max(0.5, Math.abs(low) / 10), high + Math.max(0.5, Math.abs(high) / 10)];
    const room = (high - low) / 20;
    return [this.options.least === low ? low : low - room, high + room];
  }

  private axes(
    on: CanvasRenderingContext2D,
    low: number,
    high: number,
    first: number,
    last: number,
    atY: (value: number) => number,
    width: number,
    height: number,
  ): void {
    on.font = "11px system-ui, sans-serif";
    on.lineWidth = 1;
    on.textBaseline = "middle";
    on.textAlign = "right";
    for (const value of steps(low, high)) {
      const y = Math.round(atY(value)) + 0.5;
      on.strokeStyle = this.theme.colour("rule");
      on.beginPath();
      on.moveTo(PAD.left, y);
      on.lineTo(width - PAD.right, y);
      on.stroke();
      on.fillStyle = this.theme.colour("muted");
      on.fillText(this.words(value), PAD.left - 5, y);
    }
    on.textBaseline = "bottom";
    on.textAlign = "left";
    on.fillText(`${this.options.across} ${round(first, 7)}`, PAD.left, height - 2);
    on.textAlign = "right";
    if (last > first) on.fillText(round(last, 7), width - PAD.right, height - 2);
  }

  private lines(on: CanvasRenderingContext2D, atX: (value: number) => number, atY: (value: number) => number): void {
    on.lineJoin = "round";
    on.lineWidth = 1.8;
    for (const one of this.series) {
      on.beginPath();
      let pen = false;
      let alone = 0;
      one.values.forEach((value, index) => {
        const x = this.x[index];
        if (value === null || x === undefined) {
          pen = false;
          return;
        }
        if (pen) on.lineTo(atX(x), atY(value));
        else on.moveTo(atX(x), atY(value));
        pen = true;
        alone += 1;
      });
      on.setLineDash(one.dash ?? []);
      on.strokeStyle = this.theme.colour(one.colour);
      on.stroke();
      const only = one.values.findIndex((value) => value !== null);
      if (alone === 1 && this.x[only] !== undefined) {
        on.beginPath();
        on.arc(atX(this.x[only]!), atY(one.values[only]!), 2.5, 0, 2 * Math.PI);
        on.fillStyle = this.theme.colour(one.colour);
        on.fill();
      }
    }
    on.setLineDash([]);
  }

  private areas(on: CanvasRenderingContext2D, atX: (value: number) => number, atY: (value: number) => number): void {
    const below = this.x.map(() => 0);
    for (const one of this.series) {
      const above = below.map((value, index) => value + (one.values[index] ?? 0));
      on.beginPath();
      this.x.forEach((x, index) => on.lineTo(atX(x), atY(above[index]!)));
      for (let index = this.x.length - 1; index >= 0; index--) on.lineTo(atX(this.x[index]!), atY(below[index]!));
      on.closePath();
      on.fillStyle = this.theme.colour(one.colour);
      on.fill();
      on.lineWidth = 0.5;
      on.strokeStyle = this.theme.colour("edge");
      on.stroke();
      above.forEach((value, index) => (below[index] = value));
    }
  }

  private markCursor(on: CanvasRenderingContext2D, atX: (value: number) => number, tall: number): void {
    const index = this.cursor ?? this.x.length - 1;
    const x = this.x[index];
    say(this.readout, x === undefined ? "" : `${this.options.across} ${round(x, 9)}`);
    set(this.canvas, "aria-valuemax", Math.max(0, this.x.length - 1));
    set(this.canvas, "aria-valuenow", Math.max(0, index));
    const said = this.series.map((one) => `${one.name} ${this.words(one.values[index] ?? 0)}`);
    const words = x === undefined ? "nothing yet" : `${this.options.across} ${round(x, 9)}: ${said.join(", ")}`;
    if (document.activeElement === this.canvas || !this.canvas.hasAttribute("aria-valuetext")) set(this.canvas, "aria-valuetext", words);
    if (this.cursor === null || x === undefined) return;
    on.beginPath();
    on.moveTo(Math.round(atX(x)) + 0.5, PAD.top);
    on.lineTo(Math.round(atX(x)) + 0.5, PAD.top + tall);
    on.lineWidth = 1;
    on.strokeStyle = this.theme.colour("ink");
    on.stroke();
  }
}

/** At most five round numbers in [low, high]. */
export function steps(low: number, high: number): number[] {
  const rough = (high - low) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const size = [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= rough) ?? rough;
  const found: number[] = [];
  for (let index = Math.ceil(low / size); index * size <= high + size * 1e-9; index++) found.push(index * size);
  return found;
}
