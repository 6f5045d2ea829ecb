// Short words to everybody: a line that screen readers read, and a banner for what needs a person.

import { byId, say } from "./dom";
import type { Connection } from "./wire/connection";
import type { Reply } from "./wire/messages";

const SHOWN_MS = 6000;

export class Announcer {
  private readonly line = byId("said", HTMLElement);
  private readonly banner = byId("banner", HTMLElement);
  private readonly words = byId("banner-words", HTMLElement);
  private readonly action = byId("banner-action", HTMLButtonElement);
  private onAction: () => void = () => undefined;
  private fade = 0;

  constructor() {
    this.action.addEventListener("click", () => this.onAction());
  }

  tell(words: string): void {
    // The same words twice are read twice only if the line was empty in between.
    if (this.line.textContent === words) this.line.textContent = "";
    say(this.line, words);
    clearTimeout(this.fade);
    this.fade = window.setTimeout(() => (this.line.textContent = ""), SHOWN_MS);
  }

  warn(words: string, action = "", onAction: () => void = () => undefined): void {
    say(this.words, words);
    say(this.action, action);
    this.action.hidden = action === "";
    this.onAction = onAction;
    this.banner.hidden = false;
  }

  allClear(): void {
    this.banner.hidden = true;
  }
}

/** Sends what a person asks for, and tells of what was not done. */
export class Desk {
  constructor(
    private readonly connection: Connection,
    readonly announcer: Announcer,
  ) {}

  async ask(type: string, fields: Record<string, unknown> = {}, done = ""): Promise<Reply> {
    const reply = await this.connection.send(type, fields);
    if (!reply.ok) this.announcer.tell(reply.error ?? `${type} was not done.`);
    else if (done !== "") this.announcer.tell(done);
    return reply;
  }

  /** Ask for something where a refusal is no news, such as one more renewal. */
  quietly(type: string, fields: Record<string, unknown>): Promise<Reply> {
    return this.connection.send(type, fields);
  }
}
