// The column of panels: tabs that the arrow keys go through.

import { set } from "../dom";

export class Tabs {
  private readonly tabs: HTMLButtonElement[];

  constructor(list: HTMLElement) {
    this.tabs = [...list.querySelectorAll<HTMLButtonElement>("[role=tab]")];
    for (const tab of this.tabs) {
      tab.addEventListener("click", (event) => {
        this.show(tab.id);
        // After a click the arrow keys are for the agent; after a key they are for the tabs.
        if (event.detail > 0) this.focusPanel(tab.id);
      });
    }
    list.addEventListener("keydown", (event) => {
      const open = this.tabs.filter((tab) => !tab.hidden);
      const at = open.findIndex((tab) => tab === document.activeElement);
      const goals: Record<string, number> = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: open.length - 1 };
      const goal = goals[event.key];
      if (at < 0 || goal === undefined) return;
      event.preventDefault();
      const tab = open[(goal + open.length) % open.length];
      if (tab === undefined) return;
      this.show(tab.id);
      tab.focus();
    });
  }

  show(id: string): void {
    for (const tab of this.tabs) {
      const chosen = tab.id === id;
      set(tab, "aria-selected", chosen ? "true" : "false");
      tab.tabIndex = chosen ? 0 : -1;
      const panel = document.getElementById(tab.getAttribute("aria-controls") ?? "");
      if (panel !== null) panel.hidden = !chosen;
    }
  }

  focusPanel(id: string): void {
    const tab = this.tabs.find((one) => one.id === id);
    document.getElementById(tab?.getAttribute("aria-controls") ?? "")?.focus({ preventScroll: true });
  }

  /** Offer a tab or not; the first one that is offered is shown where the shown one is taken away. */
  offer(id: string, offered: boolean): void {
    const tab = this.tabs.find((one) => one.id === id);
    if (tab === undefined) return;
    tab.hidden = !offered;
    const first = this.tabs.find((one) => !one.hidden);
    if (!offered && tab.getAttribute("aria-selected") === "true" && first !== undefined) this.show(first.id);
  }
}
