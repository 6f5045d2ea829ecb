// Between two frames an agent moves on in a straight line, where it did not jump.

import type { Frame } from "../wire/frame";

const LONGEST_MS = 250;

export class Motion {
  x = new Float32Array();
  y = new Float32Array();
  private fromX = new Float32Array();
  private fromY = new Float32Array();
  private target: Frame | null = null;
  private since = 0;
  private lasts = 0;

  /** Take a new frame. `far` is how far an agent goes at most without a jump; 0: all agents jump. */
  take(frame: Frame, now: number, far: number): void {
    const before = this.target;
    const same = far > 0 && before !== null && before.roster === frame.roster && before.agents === frame.agents;
    if (before !== null && before.tick === frame.tick && same) {
      this.target = frame;
      return;
    }
    this.place(now);
    const [startX, startY] = [Float32Array.from(frame.x), Float32Array.from(frame.y)];
    if (same) {
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
    this.lasts = same ? Math.min(LONGEST_MS, now - this.since) : 0;
    this.since = now;
    this.target = frame;
    this.x = new Float32Array(frame.agents);
    this.y = new Float32Array(frame.agents);
    this.place(now);
  }

  /** Put all agents where they are now; true while any is still on its way. */
  place(now: number): boolean {
    const target = this.target;
    if (target === null) return false;
    const done = this.lasts > 0 ? Math.min(1, (now - this.since) / this.lasts) : 1;
    for (let row = 0; row < target.agents; row++) {
      this.x[row] = this.fromX[row]! + done * (target.x[row]! - this.fromX[row]!);
      this.y[row] = this.fromY[row]! + done * (target.y[row]! - this.fromY[row]!);
    }
    return done < 1;
  }
}
