// The binary messages: `TLF1`, what changes with every tick; `TLP1`, a picture.

import { WireError } from "./decode";

export interface Frame {
  tick: number;
  scene: number;
  roster: number;
  agents: number;
  marks: number;
  barsEach: number;
  paused: boolean;
  ticksPerS: number;
  ratio: number;
  x: Float32Array;
  y: Float32Array;
  decider: Uint8Array;
  /** -1: none yet, or one of several parts or numbers. */
  action: Int16Array;
  reward: Float32Array;
  /** `barsEach` of each agent, 0 to 255. */
  bars: Uint8Array;
  /** `UNSAID` where nothing is said. */
  markCount: Uint16Array;
  /** 0 nobody, 1 you, 2 another person. */
  possessed: Uint8Array;
}

export interface Picture {
  tick: number;
  png: Blob;
}

export const UNSAID = 65535;
const HEADER = 40;

export function decodeBinary(buffer: ArrayBuffer): Frame | Picture {
  if (buffer.byteLength < 8) throw new WireError("a binary message is too short");
  const magic = String.fromCharCode(...new Uint8Array(buffer, 0, 4));
  if (magic === "TLP1") {
    return { tick: new DataView(buffer).getUint32(4, true), png: new Blob([new Uint8Array(buffer, 8)], { type: "image/png" }) };
  }
  if (magic !== "TLF1") throw new WireError(`a binary message begins with ${JSON.stringify(magic)}`);
  return decodeFrame(buffer);
}

function decodeFrame(buffer: ArrayBuffer): Frame {
  if (buffer.byteLength < HEADER) throw new WireError("a frame is shorter than its header");
  const view = new DataView(buffer);
  const header = (index: number): number => view.getUint32(4 + 4 * index, true);
  const [agents, marks, barsEach] = [header(3), header(4), header(5)];
  let offset = HEADER;
  // Arrays begin at multiples of 4 bytes.
  const take = (bytes: number): number => {
    const start = offset;
    offset += (bytes + 3) & ~3;
    if (offset > buffer.byteLength) throw new WireError(`a frame of ${agents} agents ends too early`);
    return start;
  };
  return {
    tick: header(0),
    scene: header(1),
    roster: header(2),
    agents,
    marks,
    barsEach,
    paused: (header(6) & 1) === 1,
    ticksPerS: view.getFloat32(32, true),
    ratio: view.getFloat32(36, true),
    x: new Float32Array(buffer, take(4 * agents), agents),
    y: new Float32Array(buffer, take(4 * agents), agents),
    decider: new Uint8Array(buffer, take(agents), agents),
    action: new Int16Array(buffer, take(2 * agents), agents),
    reward: new Float32Array(buffer, take(4 * agents), agents),
    bars: new Uint8Array(buffer, take(agents * barsEach), agents * barsEach),
    markCount: new Uint16Array(buffer, take(2 * marks), marks),
    possessed: new Uint8Array(buffer, take(agents), agents),
  };
}
