// The last ticks of one agent: a lane for each who decided, rewards below, and a slider to go back.

import { DECIDERS, deciderOf } from "../deciders";
import { byId, round, say, set } from "../dom";
import type { Model } from "../model";
import type { Theme } from "../theme";
import type { Reply } from "../wire/messages";

interface Strip {
  id: string;
  ticks: number[];
  decider: number[];
  action: unknown[];
  reward: (number | null)[];
}

const LANE = 9;
const REWARD = 30;
const LEFT = 74;
const AGAIN_MS = 500;

export class StripView {
  private readonly canvas = byId("strip", HTMLCanvasElement);
  private readonly slider = byId("strip-slider", HTMLInputElement);
  private readonly words = byId("strip-words", HTMLElement);
  private strip: Strip | null = null;
  /** Tick that is looked back at; null: now. */
  private back: number | null = null;
  private asked = 0;

  /**
   * Args: `ask` fetches the strip of the selected agent; `look` shows a tick of it, null: now.
   */
  constructor(
    private readonly model: Model,
    private readonly theme: Theme,
    private readonly ask: (id: string) => Promise<Reply>,
    private readonly look: (tick: number | null) => void,
  ) {
    model.on("selected", (id) => {
      this.strip = null;
      this.back = null;
      this.draw();
      if (id !== null) void this.refresh(true);
    });
    model.on("frame", () => void this.refresh(false));
    this.slider.addEventListener("input", () => this.go(Number(this.slider.value)));
    const point = (event: PointerEvent): void => {
      if (event.buttons === 0 && event.type !== "pointerdown") return;
      const count = this.strip?.ticks.length ?? 0;
      const width = this.canvas.clientWidth - LEFT;
      this.go(Math.floor(((event.offsetX - LEFT) / width) * count));
    };
    this.canvas.addEventListener("pointerdown", (event) => {
      this.canvas.setPointerCapture(event.pointerId);
      point(event);
    });
    this.canvas.addEventListener("pointermove", point);
    theme.onChange(() => this.draw());
    new ResizeObserver(() => this.draw()).observe(this.canvas);
  }

  now(): void {
    this.back = null;
    this.look(null);
    this.draw();
  }

  private async refresh(first: boolean): Promise<void> {
    const id = this.model.selected;
    const now = performance.now();
    const known = this.strip?.ticks.at(-1) ?? -1;
    if (id === null || (!first && (this.canvas.clientWidth === 0 || now - this.asked < AGAIN_MS || known === (this.model.frame?.tick ?? 0)))) return;
    this.asked = now;
    const { ticks, decider, action, reward } = await this.ask(id);
    if (id !== this.model.selected || ticks === null || decider === null || action === null || reward === null) return;
    this.strip = { id, ticks, decider, action, reward };
    if (this.back !== null && (this.back < (ticks[0] ?? 0) || this.back > (ticks.at(-1) ?? 0))) this.now();
    else this.draw();
  }

  private go(index: number): void {
    const ticks = this.strip?.ticks ?? [];
    const last = ticks.length - 1;
    if (last < 0) return;
    const at = Math.max(0, Math.min(last, index));
    this.back = at === last ? null : (ticks[at] ?? null);
    this.look(this.back);
    this.draw();
  }

  private get index(): number {
    const ticks = this.strip?.ticks ?? [];
    const found = this.back === null ? -1 : ticks.indexOf(this.back);
    return found < 0 ? ticks.length - 1 : found;
  }

  private actionAt(index: number): string {
    const action = this.strip?.action[index];
    if (typeof action !== "number") return Array.isArray(action) ? action.join(", ") : typeof action === "string" ? action : "";
    const group = this.strip === null ? null : this.model.groupOf(this.strip.id);
    return group?.actions[action] ?? "";
  }

  private draw(): void {
    const { canvas, strip } = this;
    const used = [...new Set(strip?.decider ?? [])].sort((one, other) => one - other);
    canvas.style.height = `${Math.max(1, used.length) * LANE + REWARD + 8}px`;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (width === 0) return;
    const pixels = window.devicePixelRatio || 1;
    canvas.width = Math.round(width * pixels);
    canvas.height = Math.round(height * pixels);
    const on = canvas.getContext("2d");
    if (on === null) return;
    on.scale(pixels, pixels);
    const count = strip?.ticks.length ?? 0;
    set(this.slider, "max", Math.max(0, count - 1));
    this.slider.disabled = count === 0;
    this.slider.value = `${this.index}`;
    if (strip === null || count === 0) {
      say(this.words, "No tick yet.");
      return;
    }
    const each = (width - LEFT) / count;
    on.font = "10px system-ui, sans-serif";
    on.textBaseline = "middle";
    used.forEach((code, lane) => {
      const y = 2 + lane * LANE;
      on.fillStyle = this.theme.colour("panel");
      on.fillRect(LEFT, y, width - LEFT, LANE - 2);
      on.fillStyle = this.theme.colour("muted");
      on.fillText(DECIDERS[code]?.name ?? "unknown", 0, y + LANE / 2 - 1);
      on.fillStyle = this.theme.colour(deciderOf(code).colour);
      strip.decider.forEach((one, index) => {
        if (one === code) on.fillRect(LEFT + index * each, y, Math.max(1, each + 0.3), LANE - 2);
      });
    });
    this.drawRewards(on, strip, each, used.length * LANE + 6, width);
    const x = LEFT + (this.index + 0.5) * each;
    on.fillStyle = this.theme.colour("ink");
    on.fillRect(Math.min(width - 2, x - 1), 0, 2, height);
    this.sayMoment(strip);
  }

  private drawRewards(on: CanvasRenderingContext2D, strip: Strip, each: number, top: number, width: number): void {
    const largest = Math.max(1e-9, ...strip.reward.map((one) => Math.abs(one ?? 0)));
    const middle = top + REWARD / 2;
    on.fillStyle = this.theme.colour("muted");
    on.fillText(`reward ±${round(largest, 2)}`, 0, middle);
    on.fillRect(LEFT, Math.round(middle), width - LEFT, 1);
    strip.reward.forEach((reward, index) => {
      const tall = ((reward ?? 0) / largest) * (REWARD / 2);
      on.fillStyle = this.theme.colour(tall < 0 ? "alert" : "good");
      on.fillRect(LEFT + index * each, Math.min(middle, middle - tall), Math.max(1, each - 0.3), Math.abs(tall));
    });
  }

  private sayMoment(strip: Strip): void {
    const index = this.index;
    if (this.back === null) {
      say(this.words, `now, after ${strip.ticks.length} ticks`);
      set(this.slider, "aria-valuetext", "now");
      return;
    }
    const did = this.actionAt(index);
    const reward = strip.reward[index];
    const parts = [
      `tick ${strip.ticks[index]}`,
      deciderOf(strip.decider[index] ?? -1).name,
      ...(did === "" ? [] : [did]),
      ...(reward === null || reward === undefined ? [] : [`reward ${round(reward)}`]),
    ];
    const words = parts.join(" · ");
    say(this.words, words);
    set(this.slider, "aria-valuetext", words);
  }
}
