// The agents' looks, drawn once for a size and a theme, and copied for each agent.

import { DECIDERS, drawBody } from "../deciders";
import type { Theme } from "../theme";

export class Sprites {
  /** Of one sprite, in device pixels. */
  side = 0;
  private atlas: ImageBitmap | null = null;
  private made = "";

  constructor(private readonly theme: Theme) {
    theme.onChange(() => (this.made = ""));
  }

  /** The sprites of bodies with this radius, in a row in the order of the deciders. */
  of(radius: number, pixels: number): ImageBitmap {
    const wanted = `${radius} ${pixels}`;
    if (wanted === this.made && this.atlas !== null) return this.atlas;
    this.made = wanted;
    this.side = Math.ceil((2 * radius * 1.4 + 4) * pixels);
    const canvas = new OffscreenCanvas(this.side * DECIDERS.length, this.side);
    const on = canvas.getContext("2d");
    if (on === null) throw new Error("this browser draws no canvas");
    on.scale(pixels, pixels);
    const edge = this.theme.colour("edge");
    const middle = this.side / pixels / 2;
    DECIDERS.forEach((decider, code) => {
      const x = (code * this.side) / pixels + middle;
      drawBody(on, decider.body, x, middle, radius, this.theme.colour(decider.colour), edge);
    });
    this.atlas?.close();
    // An image that never changes is copied several times faster than a canvas.
    this.atlas = canvas.transferToImageBitmap();
    return this.atlas;
  }
}
