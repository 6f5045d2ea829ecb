// A gamepad, where the browser has one: the cross or the left stick for the ways, the four buttons for the next actions.

import type { Model } from "../model";
import type { Group } from "../wire/messages";
import type { Possession } from "./possession";

const DEAD = 0.5;
const CROSS: [number, string][] = [
  [12, "ArrowUp"],
  [13, "ArrowDown"],
  [14, "ArrowLeft"],
  [15, "ArrowRight"],
];
const START = 9;

export class Pad {
  private pressed: string | null = null;
  private start = false;
  private polling = false;

  constructor(
    private readonly model: Model,
    private readonly possession: Possession,
    private readonly act: (key: string) => boolean,
  ) {
    window.addEventListener("gamepadconnected", () => this.begin());
  }

  private begin(): void {
    if (this.polling) return;
    this.polling = true;
    const look = (): void => {
      const pad = navigator.getGamepads().find((one) => one !== null);
      if (pad === undefined || pad === null) {
        this.polling = false;
        this.possession.rest();
        return;
      }
      this.read(pad);
      requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
  }

  private read(pad: Gamepad): void {
    const start = pad.buttons[START]?.pressed === true;
    if (start && !this.start) void this.possession.toggle();
    this.start = start;
    const id = this.model.selected;
    const group = id === null ? null : this.model.groupOf(id);
    if (id === null || group === null || !this.possession.holds(id)) return;
    if (group.box !== null) this.sticks(pad, group.box);
    else this.buttons(pad, group);
  }

  private sticks(pad: Gamepad, box: NonNullable<Group["box"]>): void {
    const numbers = box.low.map((low, index) => {
      const tilt = pad.axes[index] ?? 0;
      const high = box.high[index] ?? low;
      return low + ((Math.abs(tilt) < 0.08 ? 0 : tilt) + 1) * 0.5 * (high - low);
    });
    const words = numbers.map((value) => value.toFixed(2)).join(" ");
    // A stick that nobody has moved yet says nothing.
    const same = words === this.pressed || this.pressed === null;
    this.pressed = words;
    if (same) return;
    this.possession.holdNumbers(numbers);
  }

  private buttons(pad: Gamepad, group: Group): void {
    const [x, y] = [pad.axes[0] ?? 0, pad.axes[1] ?? 0];
    const tilted = Math.abs(x) > Math.abs(y) ? (x > 0 ? "ArrowRight" : "ArrowLeft") : y > 0 ? "ArrowDown" : "ArrowUp";
    const way = CROSS.find(([button]) => pad.buttons[button]?.pressed === true)?.[1];
    const others = this.possession.keysOf(group).filter((key) => key !== null && !key.startsWith("Arrow"));
    const face = [0, 1, 2, 3].find((button) => pad.buttons[button]?.pressed === true);
    const key = way ?? (Math.max(Math.abs(x), Math.abs(y)) > DEAD ? tilted : null) ?? (face === undefined ? null : (others[face] ?? null));
    if (key === this.pressed) return;
    this.pressed = key;
    if (key === null) this.possession.rest();
    else this.act(key);
  }
}
