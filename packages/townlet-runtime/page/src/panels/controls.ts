// Time and share: play, pause, step, speed, ratio, reset, going back, and the place in a record.

import type { Desk } from "../announce";
import { byId, percent, round, say, set } from "../dom";
import type { Possession } from "../hand/possession";
import type { Model } from "../model";

const [SLOWEST, FASTEST] = [0.1, 1000];
const SETTLE_MS = 1200;

/** Places 0 to 100 of the speed slider are 0.1 to 1000 ticks a second, equal factors apart. */
export function speedAt(place: number): number {
  const speed = SLOWEST * (FASTEST / SLOWEST) ** (place / 100);
  return Number(speed.toPrecision(2));
}

export function placeOf(speed: number): number {
  return (100 * Math.log(speed / SLOWEST)) / Math.log(FASTEST / SLOWEST);
}

/** A slider that sends what a person chooses, and shows what the server says when nobody has moved it lately. */
class Dial {
  private movedAt = -Infinity;
  private timer = 0;

  constructor(
    readonly slider: HTMLInputElement,
    private readonly output: HTMLElement,
    private readonly words: (place: number) => string,
    send: (place: number) => void,
  ) {
    slider.addEventListener("input", () => {
      this.movedAt = performance.now();
      this.tell();
      clearTimeout(this.timer);
      this.timer = window.setTimeout(() => send(Number(slider.value)), 80);
    });
    // After the pointer the arrow keys are the agent's again; who came with the keyboard stays.
    slider.addEventListener("pointerup", () => slider.blur());
  }

  show(place: number): void {
    if (performance.now() - this.movedAt < SETTLE_MS) return;
    const before = this.slider.value;
    this.slider.value = `${place}`;
    if (before !== this.slider.value || this.output.textContent === "") this.tell();
  }

  /** Show what the server says at once. */
  forget(): void {
    this.movedAt = -Infinity;
  }

  private tell(): void {
    const words = this.words(Number(this.slider.value));
    say(this.output, words);
    set(this.slider, "aria-valuetext", words);
  }
}

export class Controls {
  private readonly play = byId("play", HTMLButtonElement);

  constructor(
    private readonly model: Model,
    private readonly desk: Desk,
    possession: Possession,
  ) {
    this.play.addEventListener("click", () => this.togglePlay());
    byId("step", HTMLButtonElement).addEventListener("click", () => this.step());
    byId("reset", HTMLButtonElement).addEventListener("click", () => void this.reset());
    byId("mark", HTMLButtonElement).addEventListener("click", () => void desk.ask("mark", {}, "This moment is kept."));
    byId("again", HTMLButtonElement).addEventListener("click", () => void desk.ask("again", {}, "Back at the kept moment."));
    const turns = byId("turns", HTMLInputElement);
    turns.addEventListener("change", () => (possession.turns = turns.checked));

    const full = byId("full-speed", HTMLInputElement);
    const speed = new Dial(
      byId("speed", HTMLInputElement),
      byId("speed-words", HTMLElement),
      (place) => (full.checked ? "no limit" : `${speedAt(place)} ticks/s`),
      (place) => {
        full.checked = false;
        void pace(speedAt(place));
      },
    );
    const showSpeed = (): void => {
      const wanted = model.state?.speed;
      if (wanted === undefined) return;
      full.checked = wanted === null;
      if (wanted !== null) speed.show(placeOf(wanted));
      else say(byId("speed-words", HTMLElement), "no limit");
    };
    const pace = async (ticksPerS: number | null): Promise<void> => {
      const reply = await desk.ask("speed", { ticks_per_s: ticksPerS });
      if (reply.ok) return;
      speed.forget();
      showSpeed();
    };
    full.addEventListener("change", () => {
      say(byId("speed-words", HTMLElement), full.checked ? "no limit" : `${speedAt(Number(speed.slider.value))} ticks/s`);
      void pace(full.checked ? null : speedAt(Number(speed.slider.value)));
    });
    const ratio = new Dial(
      byId("ratio", HTMLInputElement),
      byId("ratio-words", HTMLElement),
      (place) => percent(place / 100),
      (place) => void desk.ask("ratio", { value: place / 100 }),
    );
    const place = new Dial(
      byId("seek", HTMLInputElement),
      byId("seek-words", HTMLElement),
      (tick) => `tick ${tick} of ${model.state?.replay?.last ?? "…"}`,
      (tick) => void desk.ask("seek", { tick }),
    );
    model.on("frame", (frame) => {
      this.showPlay(frame.paused);
      if (model.hello?.mode === "replay") place.show(frame.tick);
    });
    model.on("state", (state) => {
      this.showPlay(state.paused);
      ratio.show(Math.round(100 * state.ratio));
      showSpeed();
      this.showKept(state.kept);
      // A policy that was learned here may have come since.
      byId("ratio-part", HTMLElement).hidden = !(model.hello?.can.ratio === true || (state.policy !== null && model.hello?.script === true));
      if (state.replay !== null) {
        set(place.slider, "min", state.replay.first);
        set(place.slider, "max", state.replay.last);
        place.show(model.frame?.tick ?? state.replay.first);
        say(byId("replay-note", HTMLElement), state.replay.note === "" ? "" : `In a plain grid: ${state.replay.note}.`);
      }
    });
    model.on("hello", (hello) => {
      byId("step", HTMLElement).hidden = !hello.can.step;
      byId("reset-part", HTMLElement).hidden = !hello.can.reset;
      byId("going-back", HTMLElement).hidden = !hello.can.again;
      byId("ratio-part", HTMLElement).hidden = !hello.can.ratio;
      byId("turns-part", HTMLElement).hidden = !(hello.can.possess && hello.can.step);
      byId("seek-part", HTMLElement).hidden = !(hello.mode === "replay" && hello.can.seek !== false);
    });
  }

  togglePlay(): void {
    const paused = this.model.frame?.paused ?? this.model.state?.paused ?? false;
    void this.desk.ask(paused ? "play" : "pause");
  }

  step(): void {
    void this.desk.ask("step", { ticks: 1 });
  }

  private async reset(): Promise<void> {
    const field = byId("seed", HTMLInputElement);
    const seed = field.value === "" ? null : Number(field.value);
    if (seed !== null && !Number.isInteger(seed)) {
      this.desk.announcer.tell("A seed is a whole number.");
      return;
    }
    await this.desk.ask("reset", { seed }, seed === null ? "The world began anew." : `The world began anew from seed ${round(seed, 9)}.`);
  }

  private showKept(tick: number | null): void {
    byId("again", HTMLButtonElement).disabled = tick === null;
    say(byId("kept", HTMLElement), tick === null ? "" : `kept: tick ${tick}`);
  }

  private showPlay(paused: boolean): void {
    say(byId("play-words", HTMLElement), paused ? "Play" : "Pause");
    set(this.play, "data-paused", paused);
  }
}
