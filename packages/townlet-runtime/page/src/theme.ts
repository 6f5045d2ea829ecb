// Colours, light and dark. style.css has them; a canvas asks for them here by name.

import { byId, set } from "./dom";

export type Look = "auto" | "light" | "dark";
const LOOKS: Look[] = ["auto", "light", "dark"];
const KEPT = "townlet.look";

export class Theme {
  private readonly found = new Map<string, string>();
  private readonly listeners: (() => void)[] = [];
  private readonly probe = document.createElement("span");

  constructor() {
    this.probe.hidden = true;
    document.body.append(this.probe);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.changed());
    const choice = byId("look", HTMLSelectElement);
    const kept = LOOKS.find((look) => look === localStorage.getItem(KEPT)) ?? "auto";
    choice.value = kept;
    this.use(kept);
    choice.addEventListener("change", () => this.use(LOOKS.find((look) => look === choice.value) ?? "auto"));
  }

  onChange(listener: () => void): void {
    this.listeners.push(listener);
  }

  /** A colour of the page: a name of style.css such as `ink` or `accent3`, or `#rrggbb` as it is. */
  colour(name: string): string {
    if (/^#[0-9a-f]{6}$/i.test(name)) return name;
    let colour = this.found.get(name);
    if (colour === undefined) {
      this.probe.style.color = "";
      if (/^[a-z0-9-]+$/.test(name)) this.probe.style.color = `var(--${name}, var(--accent1))`;
      colour = getComputedStyle(this.probe).color;
      this.found.set(name, colour);
    }
    return colour;
  }

  private use(look: Look): void {
    localStorage.setItem(KEPT, look);
    set(document.documentElement, "data-look", look);
    this.changed();
  }

  private changed(): void {
    this.found.clear();
    for (const listener of this.listeners) listener();
  }
}
