// Where agents are drawn: beside one another where they share a place, and between two frames on a straight line.

import type { Frame } from "../wire/frame";

const LONGEST_MS = 250;
const GOLDEN_ANGLE = Math.PI * (3 - Math.sqrt(5));

export class Motion {
  x = new Float32Array();
  y = new Float32Array();
  /** 1 where an agent shares its place with others. */
  crowded = new Uint8Array();
  private fromX = new Float32Array();
  private fromY = new Float32Array();
  private toX = new Float32Array();
  private toY = new Float32Array();
  private target: Frame | null = null;
  private since = 0;
  private lasts = 0;

  /**
   * Take a new frame. `cell` is the room that agents in one place have together; who comes from further away than one
   * and a half of it jumps, and all do where not `smooth`.
   */
  take(frame: Frame, now: number, cell: number, smooth: boolean): void {
    const before = this.target;
    const same = before !== null && before.roster === frame.roster && before.agents === frame.agents;
    const again = same && before.tick === frame.tick;
    if (again && !moved(before, frame)) {
      this.target = frame;
      return;
    }
    this.place(now);
    [this.toX, this.toY, this.crowded] = spread(frame, cell);
    const [startX, startY] = [Float32Array.from(this.toX), Float32Array.from(this.toY)];
    if (same && smooth) {
      const far = 1.5 * cell;
      for (let row = 0; row < frame.agents; row++) {
        const [oldX, oldY] = [this.x[row]!, this.y[row]!];
        if (Math.abs(oldX - startX[row]!) <= far && Math.abs(oldY - startY[row]!) <= far) {
          startX[row] = oldX;
          startY[row] = oldY;
        }
      }
    }
    this.fromX = startX;
    this.fromY = startY;
    this.lasts = same && smooth ? Math.min(LONGEST_MS, now - this.since) : 0;
    this.since = now;
    this.target = frame;
    this.x = new Float32Array(frame.agents);
    this.y = new Float32Array(frame.agents);
    this.place(now);
  }

  /** Put all agents where they are now; true while any is still on its way. */
  place(now: number): boolean {
    if (this.target === null) return false;
    const done = this.lasts > 0 ? Math.min(1, (now - this.since) / this.lasts) : 1;
    for (let row = 0; row < this.x.length; row++) {
      this.x[row] = this.fromX[row]! + done * (this.toX[row]! - this.fromX[row]!);
      this.y[row] = this.fromY[row]! + done * (this.toY[row]! - this.fromY[row]!);
    }
    return done < 1;
  }
}

function moved(before: Frame, frame: Frame): boolean {
  return frame.x.some((value, row) => value !== before.x[row]) || frame.y.some((value, row) => value !== before.y[row]);
}

/** Places of agents, those in one place in a spiral around it; and which those are. */
function spread(frame: Frame, cell: number): [Float32Array<ArrayBuffer>, Float32Array<ArrayBuffer>, Uint8Array<ArrayBuffer>] {
  const crowded = new Uint8Array(frame.agents);
  const [x, y] = [Float32Array.from(frame.x), Float32Array.from(frame.y)];
  const crowds = new Map<string, number[]>();
  for (let row = 0; row < frame.agents; row++) {
    const place = `${x[row]} ${y[row]}`;
    const crowd = crowds.get(place);
    if (crowd === undefined) crowds.set(place, [row]);
    else crowd.push(row);
  }
  for (const crowd of crowds.values()) {
    if (crowd.length === 1) continue;
    crowd.forEach((row, index) => {
      crowded[row] = 1;
      const reach = 0.46 * cell * Math.sqrt((index + 0.5) / crowd.length);
      x[row]! += reach * Math.cos(index * GOLDEN_ANGLE);
      y[row]! += reach * Math.sin(index * GOLDEN_ANGLE);
    });
  }
  return [x, y, crowded];
}
