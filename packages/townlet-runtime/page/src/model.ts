// What the page knows: the newest of each message, and who is looked at. Parts of the page listen for what they show.

import type { Frame, Picture } from "./wire/frame";
import type { Agent, AgentOrGone, ChartPoints, Group, Hello, Roster, Run, Scene, State } from "./wire/messages";
import type { Link } from "./wire/connection";

interface Happenings {
  link: { link: Link; detail: string };
  hello: Hello;
  scene: Scene;
  roster: Roster;
  frame: Frame;
  picture: Picture;
  chart: ChartPoints;
  agent: AgentOrGone;
  state: State;
  run: Run;
  /** The selected agent, or null. */
  selected: string | null;
}

type Listener<K extends keyof Happenings> = (content: Happenings[K]) => void;

export class Model {
  hello: Hello | null = null;
  scene: Scene | null = null;
  roster: Roster | null = null;
  frame: Frame | null = null;
  state: State | null = null;
  agent: Agent | null = null;
  selected: string | null = null;
  private rows = new Map<string, number>();
  private readonly listeners = new Map<keyof Happenings, ((content: never) => void)[]>();

  on<K extends keyof Happenings>(what: K, listener: Listener<K>): void {
    const known = this.listeners.get(what) ?? [];
    known.push(listener);
    this.listeners.set(what, known);
  }

  tell<K extends keyof Happenings>(what: K, content: Happenings[K]): void {
    this.keep(what, content);
    for (const listener of this.listeners.get(what) ?? []) (listener as Listener<K>)(content);
  }

  private keep<K extends keyof Happenings>(what: K, content: Happenings[K]): void {
    const kept: Partial<Record<keyof Happenings, unknown>> = this as never;
    if (what in this && what !== "agent") kept[what] = content;
    if (what === "agent") this.agent = "gone" in (content as AgentOrGone) ? null : (content as Agent);
    if (what === "roster") this.rows = new Map(this.roster?.ids.map((id, row) => [id, row]));
    if (what === "selected") this.agent = null;
  }

  /** The newest frame if it has the agents of the newest roster. */
  get current(): Frame | null {
    return this.frame !== null && this.frame.roster === this.roster?.version ? this.frame : null;
  }

  row(id: string): number | null {
    return this.rows.get(id) ?? null;
  }

  groupOf(id: string): Group | null {
    const row = this.row(id);
    const group = row === null ? undefined : this.roster?.groups[row];
    return group === undefined ? null : (this.hello?.groups[group] ?? null);
  }

  /** The key of the action that an agent carried out last; empty where that is no single key. */
  actionOf(row: number): string {
    const group = this.hello?.groups[this.roster?.groups[row] ?? -1];
    const code = this.current?.action[row] ?? -1;
    return group?.actions[code] ?? "";
  }

  get mine(): string[] {
    const frame = this.current;
    if (frame === null || this.roster === null) return [];
    return this.roster.ids.filter((_, row) => frame.possessed[row] === 1);
  }

  select(id: string | null): void {
    if (id !== this.selected) this.tell("selected", id);
  }

  /** Select the agent that comes `by` places after the selected one. */
  selectNext(by: number): void {
    const ids = this.roster?.ids ?? [];
    if (ids.length === 0) return;
    const row = this.selected === null ? null : this.row(this.selected);
    const from = row ?? (by > 0 ? -1 : 0);
    this.select(ids[(from + by + ids.length) % ids.length] ?? null);
  }
}
