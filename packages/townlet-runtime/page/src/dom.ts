// Small means to build and change elements. Text is always text: nothing here reads markup.

export type Child = Node | string;

export interface Attributes {
  [name: string]: string | number | boolean | null;
}

/** Make an element: `make("button", { type: "button", class: "wide" }, "Play")`. False and null leave an attribute out. */
export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) set(element, name, value);
  element.append(...children);
  return element;
}

export function set(element: Element, name: string, value: string | number | boolean | null): void {
  if (value === false || value === null) {
    if (element.hasAttribute(name)) element.removeAttribute(name);
    return;
  }
  const wanted = value === true ? "" : String(value);
  if (element.getAttribute(name) !== wanted) element.setAttribute(name, wanted);
}

/** Set the text of an element if it is another, so that screen readers and selections are left in peace. */
export function say(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

export function button(label: string, onClick: () => void, attributes: Attributes = {}): HTMLButtonElement {
  const made = make("button", { type: "button", ...attributes }, label);
  made.addEventListener("click", onClick);
  return made;
}

/** The element with an id of index.html. */
export function byId<T extends HTMLElement>(id: string, kind: { new (): T }): T {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`index.html: no ${kind.name} #${id}`);
  return found;
}

/** Keep one element for each key, in the order of `items`: elements that stay keep their focus. */
export class Rows<T> {
  private readonly made = new Map<string, HTMLElement>();

  constructor(
    private readonly parent: HTMLElement,
    private readonly key: (item: T) => string,
    private readonly build: (item: T) => HTMLElement,
    private readonly change: (element: HTMLElement, item: T) => void,
  ) {}

  update(items: readonly T[]): void {
    const left = new Set(this.made.keys());
    let place: ChildNode | null = this.parent.firstChild;
    for (const item of items) {
      const key = this.key(item);
      left.delete(key);
      let element = this.made.get(key);
      if (element === undefined) {
        element = this.build(item);
        this.made.set(key, element);
      }
      this.change(element, item);
      if (element === place) place = place.nextSibling;
      else this.parent.insertBefore(element, place);
    }
    for (const key of left) {
      this.made.get(key)?.remove();
      this.made.delete(key);
    }
  }
}

const MOVES = new Set(["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End", "PageUp", "PageDown"]);

/** Whether what has the focus uses a key itself, so that it is no shortcut: text, lists, sliders, tabs, buttons, dialogs. */
export function usesKey(target: EventTarget | null, key: string): boolean {
  if (!(target instanceof HTMLElement)) return false;
  if (target.closest("dialog") !== null || target instanceof HTMLSelectElement) return true;
  if (target instanceof HTMLInputElement) {
    if (target.type === "range") return MOVES.has(key);
    if (target.type !== "checkbox") return true;
  }
  if (MOVES.has(key)) return ["slider", "tab"].includes(target.getAttribute("role") ?? "");
  const pressed = key === " " || key === "Enter";
  return pressed && (target instanceof HTMLButtonElement || target instanceof HTMLInputElement || target.matches("summary"));
}

export function round(value: number, digits = 3): string {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e5 || size < 1e-3) return value.toExponential(1);
  return Number(value.toPrecision(digits)).toString();
}

export function percent(value: number): string {
  const share = 100 * value;
  return share > 0 && share < 1 ? "<1 %" : `${Math.round(share)} %`;
}
