// Agents in the hands of this person: taking over, giving back, leases, and what they are told to do.

import type { Desk } from "../announce";
import type { Model } from "../model";
import type { Group } from "../wire/messages";
import { assignKeys } from "./keymap";

export type Fed = string | string[] | number[];

/** A lease is renewed when this share of it has passed. */
const RENEW_AT = 1 / 3;
/** A key that is down for less is one action; for longer, it is repeated at every tick. */
const HELD_MS = 220;
/** Lowest time between two messages that repeat a held key, so that the server's bound is never reached. */
const REPEAT_MS = 30;

export class Possession {
  /** Numbers that an agent of numbers is told at every tick. */
  private numbers: number[] | null = null;
  private held: Fed | null = null;
  private heldTick = -1;
  private heldAt = 0;
  private heldSince = 0;
  private readonly renewed = new Map<string, number>();
  private readonly mine = new Set<string>();
  /** One tick for each action while the world is paused. */
  turns = false;
  /** Names of the actions' keys, by group. */
  private readonly keys = new Map<Group, (string | null)[]>();

  constructor(
    private readonly model: Model,
    private readonly desk: Desk,
  ) {
    model.on("frame", () => this.everyFrame());
    model.on("selected", () => this.rest());
    window.addEventListener("blur", () => (this.held = null));
  }

  keysOf(group: Group): (string | null)[] {
    let found = this.keys.get(group);
    if (found === undefined) {
      found = assignKeys(choicesOf(group));
      this.keys.set(group, found);
    }
    return found;
  }

  holds(id: string | null): boolean {
    const row = id === null ? null : this.model.row(id);
    return row !== null && this.model.current?.possessed[row] === 1;
  }

  /** Ticks that are left of this person's lease of an agent; null: it is not in these hands. */
  leaseLeft(id: string): number | null {
    const [since, frame, hello] = [this.renewed.get(id), this.model.frame, this.model.hello];
    if (since === undefined || frame === null || hello === null) return null;
    return Math.max(0, hello.lease_ticks - (frame.tick - since));
  }

  async toggle(): Promise<void> {
    const id = this.model.selected;
    if (id === null) {
      this.desk.announcer.tell("Choose an agent first: click one, or press ] for the next.");
      return;
    }
    if (this.holds(id)) await this.desk.ask("release", { agent: id });
    else await this.desk.ask("acquire", { agent: id });
  }

  /** Tell the selected agent what to do, once. */
  async feed(action: Fed): Promise<void> {
    const id = this.model.selected;
    if (id === null || !this.holds(id)) {
      this.desk.announcer.tell("Take the agent over first: press T.");
      return;
    }
    const reply = await this.desk.ask("feed", { agent: id, action });
    if (reply.ok && this.turns && this.model.frame?.paused === true) await this.desk.ask("step", { ticks: 1 });
  }

  /** Go on with an action at every tick until `rest`: a key is held. */
  hold(action: Fed): void {
    this.held = action;
    this.heldTick = this.model.frame?.tick ?? -1;
    this.heldSince = this.heldAt = performance.now();
    void this.feed(action);
  }

  refuse(why: string): void {
    this.desk.announcer.tell(why);
  }

  /** Stop repeating: the key is up. */
  rest(): void {
    this.held = null;
    this.numbers = null;
  }

  holdNumbers(numbers: number[]): void {
    this.numbers = numbers;
    void this.feed(numbers);
  }

  private everyFrame(): void {
    const frame = this.model.current;
    if (frame === null) return;
    this.tellChanges();
    const lease = this.model.hello?.lease_ticks ?? 150;
    for (const id of this.mine) {
      const since = frame.tick - (this.renewed.get(id) ?? -Infinity);
      if (since >= 0 && since < lease * RENEW_AT) continue;
      this.renewed.set(id, frame.tick);
      void this.desk.quietly("renew", { agent: id });
    }
    const now = performance.now();
    const again = this.held !== null && now - this.heldSince > HELD_MS ? this.held : this.numbers;
    if (again === null || frame.paused || frame.tick === this.heldTick || now - this.heldAt < REPEAT_MS) return;
    if (this.model.selected === null || !this.holds(this.model.selected)) return;
    this.heldTick = frame.tick;
    this.heldAt = now;
    void this.desk.quietly("feed", { agent: this.model.selected, action: again });
  }

  private tellChanges(): void {
    const now = new Set(this.model.mine);
    for (const id of now) {
      if (this.mine.has(id)) continue;
      this.mine.add(id);
      this.renewed.set(id, this.model.frame?.tick ?? 0);
      this.desk.announcer.tell(`You have ${id}.`);
    }
    for (const id of [...this.mine]) {
      if (now.has(id)) continue;
      this.mine.delete(id);
      this.renewed.delete(id);
      if (id === this.model.selected) this.rest();
      this.desk.announcer.tell(`You no longer have ${id}.`);
    }
  }
}

/** The columns of a mask: keys of actions, or `PART=KEY` of each value of each part. */
export function choicesOf(group: Group): string[] {
  if (group.parts === null) return group.actions;
  return Object.entries(group.parts).flatMap(([part, keys]) => keys.map((key) => `${part}=${key}`));
}
