// Rows of a name, a bar and a number.

import { Rows, make, say, set } from "../dom";

export interface Bar {
  name: string;
  /** Length, 0 to 1; below 0: to the left of the middle. */
  share: number;
  words: string;
  colour?: string;
}

export class Bars {
  readonly element: HTMLElement;
  private readonly rows: Rows<Bar>;

  /** `signed`: zero is in the middle. */
  constructor(label: string, signed = false) {
    this.element = make("ul", { class: signed ? "bars signed" : "bars", "aria-label": label });
    this.rows = new Rows<Bar>(
      this.element,
      (bar) => bar.name,
      () =>
        make(
          "li",
          {},
          make("span", { class: "name" }),
          make("span", { class: "track", "aria-hidden": true }, make("span", { class: "fill" })),
          make("span", { class: "value" }),
        ),
      (element, bar) => {
        const [name, track, value] = element.children;
        const fill = track?.firstElementChild;
        if (name === undefined || value === undefined || !(fill instanceof HTMLElement)) return;
        say(name, bar.name);
        set(name, "title", bar.name);
        say(value, bar.words);
        const share = Math.max(-1, Math.min(1, bar.share));
        fill.style.width = `${(signed ? 50 : 100) * Math.abs(share)}%`;
        fill.style.marginLeft = signed ? `${share < 0 ? 50 + 50 * share : 50}%` : "0";
        fill.style.backgroundColor = bar.colour === undefined ? "" : `var(--${bar.colour})`;
      },
    );
  }

  update(bars: Bar[]): void {
    this.rows.update(bars);
  }
}
