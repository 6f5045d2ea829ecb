// Single keys, for those who want them. A held action key is repeated until it is up.

import { byId, usesKey } from "./dom";

const KEPT = "townlet.shortcuts";

export interface Keys {
  /** What a key does; false: nothing. The keys of actions come first. */
  act(key: string): boolean;
  rest(): void;
  commands: Record<string, () => void>;
}

export function listenToKeys(keys: Keys): void {
  const wanted = byId("single-keys", HTMLInputElement);
  wanted.checked = localStorage.getItem(KEPT) !== "off";
  wanted.addEventListener("change", () => localStorage.setItem(KEPT, wanted.checked ? "on" : "off"));
  // What was clicked lets go of the keys, or Space would press it again; what was reached with the keyboard keeps them.
  document.addEventListener("click", (event) => {
    const target = event.target instanceof Element ? event.target.closest("button, input[type=checkbox]") : null;
    if (event.detail > 0 && target instanceof HTMLElement && target.closest("dialog") === null) target.blur();
  });
  let down: string | null = null;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || !wanted.checked) return;
    if (event.repeat || usesKey(event.target, event.key)) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (keys.act(key)) {
      down = key;
      event.preventDefault();
      return;
    }
    const command = Object.hasOwn(keys.commands, key) ? keys.commands[key] : undefined;
    if (command === undefined) return;
    event.preventDefault();
    command();
  });
  document.addEventListener("keyup", (event) => {
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (key !== down) return;
    down = null;
    keys.rest();
  });
}
