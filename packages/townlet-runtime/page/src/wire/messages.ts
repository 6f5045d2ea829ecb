// What the server says, as typed records. Unknown types of messages are ignored; unknown fields, too.

import type { Decoded, Decoder } from "./decode";
import { WireError, anything, flag, list, nullable, number, oneOf, optional, record, table, text } from "./decode";

const group = record({
  name: text,
  actions: list(text),
  kinds: list(text),
  parts: nullable(table(list(text))),
  box: nullable(record({ names: list(text), low: list(number), high: list(number) })),
  features: list(text),
  reward_terms: list(text),
  veto_reasons: list(text),
  proposers: list(text),
});

const hello = record({
  you: text,
  owner: text,
  world: text,
  groups: list(group),
  lease_ticks: number,
  mode: oneOf("live", "replay", "training"),
  can: record({
    ratio: flag,
    possess: flag,
    step: flag,
    reset: flag,
    again: flag,
    teach: flag,
    swap: flag,
    seek: optional(flag),
    label: optional(flag),
  }),
  policy: nullable(text),
  script: flag,
  tick: number,
});

export const SHAPES = ["circle", "square", "diamond", "triangle", "cross"] as const;

const scene = record({
  version: number,
  size: list(number),
  cells: nullable(
    record({ rows: number, columns: number, codes: text, palette: list(record({ name: text, colour: text })) }),
  ),
  marks: list(
    record({
      x: number,
      y: number,
      shape: oneOf(...SHAPES),
      colour: text,
      label: text,
      count: optional(number),
    }),
  ),
  bars: optional(list(text)),
});

const roster = record({ version: number, ids: list(text), groups: list(number) });

const chart = record({
  ticks: list(number),
  shares: table(list(number)),
  mean_reward: list(nullable(number)),
  vetoes: table(list(number)),
  ticks_per_s: number,
});

const explanation = record({
  saw: record({
    numbers: list(
      record({ name: text, value: number, mean: optional(number), deviations: optional(number) }),
    ),
    arrays: list(record({ name: text, shape: list(number), nonzero: number })),
  }),
  option: nullable(record({ action: text, ticks_left: number, since: nullable(number), proposer: nullable(text) })),
  proposed: record({
    expert_action: nullable(text),
    proposer: nullable(text),
    drawn_action: nullable(text),
    policy_probability: nullable(number),
    behavior_probability: nullable(number),
    value: nullable(number),
    policy: nullable(record({ top_actions: list(record({ action: text, probability: number })) })),
  }),
  decided: record({
    by: text,
    chosen_action: nullable(text),
    action: text,
    source: nullable(text),
    possessed: flag,
    veto_reason: nullable(text),
    why: list(text),
  }),
  came: record({
    reward: nullable(number),
    reward_terms: table(number),
    end: nullable(text),
    episode_label: nullable(text),
  }),
});

const seen = record({
  id: text,
  tick: number,
  explanation: nullable(explanation),
  legal: nullable(list(flag)),
  why_illegal: optional(table(text)),
  possessed_by: nullable(oneOf("you", "another")),
  lease_left: optional(number),
  reward: nullable(number),
  terms: table(nullable(number)),
});

/** Of an agent that has left, or has decided nothing yet, there is nothing to see. */
const gone = record({ id: text, gone: oneOf(true) });

type Seen = Decoded<typeof seen>;
type Gone = Decoded<typeof gone>;

const agent: Decoder<Seen | Gone> = (value, where) =>
  typeof value === "object" && value !== null && "gone" in value ? gone(value, where) : seen(value, where);

const teach = record({
  phase: oneOf("idle", "training", "judging", "ready", "failed"),
  method: optional(oneOf("bc", "dagger")),
  progress: optional(number),
  line: optional(text),
  steps: optional(number),
  episodes: optional(number),
  agreement: optional(record({ before: optional(number), after: number, held_out_steps: number })),
  comparison: optional(
    record({ before: number, after: number, difference: number, low: number, high: number, episodes: number }),
  ),
  verdict: optional(text),
  digest: optional(text),
  /** Whether the registry lets it act. */
  allowed: optional(flag),
});

const state = record({
  paused: flag,
  speed: nullable(number),
  ratio: number,
  policy: nullable(text),
  recording: nullable(record({ path: text, episodes: number, demonstrated_steps: number })),
  people: list(record({ name: text, agents: list(text) })),
  teach: nullable(teach),
  kept: optional(number),
  replay: optional(record({ first: number, last: number, note: text })),
});

const reply = record({
  to: nullable(number),
  ok: flag,
  error: optional(text),
  /** Of `moment`. */
  moment: optional(seen),
  /** Of `strip`: one entry for each tick. */
  ticks: optional(list(number)),
  decider: optional(list(number)),
  action: optional(list(anything)),
  reward: optional(list(nullable(number))),
});

const run = record({
  from: optional(number),
  columns: list(text),
  rows: list(list(nullable(number))),
  updates: number,
  evaluations: list(
    record({ at: number, name: text, value: nullable(number), passed: nullable(flag), note: optional(text) }),
  ),
  stage: nullable(text),
  ratio: nullable(number),
  left_s: nullable(number),
});

const DECODERS = { hello, scene, roster, chart, agent, state, reply, run };

type Decoders = typeof DECODERS;
export type MessageType = keyof Decoders;
export type Payload<K extends MessageType> = Decoded<Decoders[K]>;
export type Message = { [K in MessageType]: { type: K; body: Payload<K> } }[MessageType];

export type Group = Decoded<typeof group>;
export type Hello = Payload<"hello">;
export type Scene = Payload<"scene">;
export type Mark = Scene["marks"][number];
export type Roster = Payload<"roster">;
export type ChartPoints = Payload<"chart">;
export type Agent = Seen;
export type AgentOrGone = Payload<"agent">;
export type State = Payload<"state">;
export type Teach = Decoded<typeof teach>;
export type Reply = Payload<"reply">;
export type Run = Payload<"run">;

/** The message of a text frame; null: of a type that this page does not know. */
export function decodeMessage(data: string): Message | null {
  let value: unknown;
  try {
    value = JSON.parse(data);
  } catch {
    throw new WireError("a message is no JSON");
  }
  const { type } = record({ type: text })(value, "message");
  if (!Object.hasOwn(DECODERS, type)) return null;
  const decoder: Decoder<unknown> = DECODERS[type as MessageType];
  return { type, body: decoder(value, type) } as Message;
}
