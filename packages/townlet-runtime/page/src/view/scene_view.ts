// The canvas of the world: one pass over all agents for each picture, no element for any of them.

import { byId, say, set } from "../dom";
import { DECIDERS } from "../deciders";
import type { Model } from "../model";
import type { Theme } from "../theme";
import type { Frame, Picture } from "../wire/frame";
import { UNSAID } from "../wire/frame";
import type { Box } from "./camera";
import { Camera } from "./camera";
import { Ground, cellOf, markReach, sizeOf } from "./ground";
import { Motion } from "./motion";
import { Sprites } from "./sprites";

const RADIUS = { least: 3, most: 16, ofCell: 0.32 };
const ROOM_FOR_BARS = 7;
const LOW = 0.25;
const PICK = 14;
const MOST_NAMES = 300;
/** Size of those that share a place with others. */
const CROWDED = 0.75;

export class SceneView {
  private readonly canvas = byId("scene", HTMLCanvasElement);
  private readonly on: CanvasRenderingContext2D;
  private readonly camera = new Camera();
  private readonly sprites: Sprites;
  private readonly ground: Ground;
  private readonly motion = new Motion();
  private readonly still = matchMedia("(prefers-reduced-motion: reduce)");
  private picture: ImageBitmap | null = null;
  private pictureTick = -1;
  private stale = true;
  private names = false;
  private readonly drawnAt: number[] = [];
  private drawMs = 0;

  constructor(
    private readonly model: Model,
    private readonly theme: Theme,
  ) {
    const on = this.canvas.getContext("2d", { alpha: false });
    if (on === null) throw new Error("this browser draws no canvas");
    this.on = on;
    this.sprites = new Sprites(theme);
    this.ground = new Ground(theme);
    theme.onChange(() => (this.stale = true));
    new ResizeObserver(() => (this.stale = true)).observe(this.canvas);
    model.on("scene", (scene) => {
      this.ground.use(scene);
      this.stale = true;
    });
    model.on("frame", (frame) => this.take(frame));
    model.on("picture", (picture) => void this.takePicture(picture));
    model.on("selected", () => {
      this.stale = true;
      this.follow();
    });
    this.listen();
    const draw = (now: number): void => {
      requestAnimationFrame(draw);
      const moving = this.motion.place(now);
      if (this.stale || moving) this.draw();
    };
    requestAnimationFrame(draw);
  }

  /** Show the names of all agents, or hide them; returns whether they are shown. */
  toggleNames(): boolean {
    this.names = !this.names;
    this.stale = true;
    return this.names;
  }

  fit(): void {
    this.camera.fit();
    this.stale = true;
  }

  zoom(by: number): void {
    this.camera.zoom(by, this.canvas.clientWidth / 2, this.canvas.clientHeight / 2);
    this.stale = true;
  }

  /** Pictures drawn in the last second, and the time that one takes. */
  get pace(): { perSecond: number; drawMs: number } {
    const now = performance.now();
    while (this.drawnAt.length > 0 && now - this.drawnAt[0]! > 1000) this.drawnAt.shift();
    return { perSecond: this.drawnAt.length, drawMs: this.drawMs };
  }

  private take(frame: Frame): void {
    const { scene } = this.model;
    this.motion.take(frame, performance.now(), scene === null ? 1 : cellOf(scene), !this.still.matches);
    this.stale = true;
    this.follow();
  }

  private async takePicture(picture: Picture): Promise<void> {
    const bitmap = await createImageBitmap(picture.png);
    if (picture.tick < this.pictureTick && this.pictureTick - picture.tick < 1000) return;
    this.picture?.close();
    this.picture = bitmap;
    this.pictureTick = picture.tick;
    this.stale = true;
  }

  private follow(): void {
    const row = this.model.selected === null ? null : this.model.row(this.model.selected);
    if (row !== null && row < this.motion.x.length) this.camera.follow(this.motion.x[row]!, this.motion.y[row]!, this.place());
  }

  /** Where the agents are drawn: below a picture of the world, where there is one. */
  private place(): Box {
    const [width, height] = [this.canvas.clientWidth, this.canvas.clientHeight];
    const above = this.picture === null ? 0 : Math.round(height * 0.8);
    return { x: 0, y: above, width, height: height - above };
  }

  private draw(): void {
    const began = performance.now();
    this.stale = false;
    const pixels = window.devicePixelRatio || 1;
    const whole: Box = { x: 0, y: 0, width: this.canvas.clientWidth, height: this.canvas.clientHeight };
    const [wide, high] = [Math.round(whole.width * pixels), Math.round(whole.height * pixels)];
    if (this.canvas.width !== wide || this.canvas.height !== high) {
      this.canvas.width = wide;
      this.canvas.height = high;
    }
    const { on } = this;
    on.setTransform(1, 0, 0, 1, 0, 0);
    on.fillStyle = this.theme.colour("panel");
    on.fillRect(0, 0, wide, high);
    const scene = this.model.scene;
    const box = this.place();
    if (scene !== null && box.width > 0 && box.height > 0) {
      this.camera.show(...sizeOf(scene), box);
      on.drawImage(this.ground.of(this.camera, whole, box, pixels), 0, 0);
      on.setTransform(pixels, 0, 0, pixels, 0, 0);
      this.drawPicture(whole, box);
      const frame = this.model.current;
      if (frame !== null && frame.agents === this.motion.x.length) this.drawAgents(frame, pixels);
    }
    const took = performance.now() - began;
    this.drawMs += (took - this.drawMs) / 10;
    this.drawnAt.push(began);
  }

  private drawPicture(whole: Box, box: Box): void {
    if (this.picture === null) return;
    const { width, height } = this.picture;
    const scale = Math.min(whole.width / width, box.y / height);
    this.on.imageSmoothingEnabled = scale < 1;
    this.on.drawImage(this.picture, (whole.width - width * scale) / 2, (box.y - height * scale) / 2, width * scale, height * scale);
  }

  private radius(): number {
    const scene = this.model.scene;
    const size = scene === null ? 0 : this.camera.scale * cellOf(scene) * RADIUS.ofCell;
    return Math.round(2 * Math.min(RADIUS.most, Math.max(RADIUS.least, size))) / 2;
  }

  private drawAgents(frame: Frame, pixels: number): void {
    const { on, camera, motion } = this;
    const radius = this.radius();
    const atlas = this.sprites.of(radius, pixels);
    const side = this.sprites.side;
    const [wide, high] = [this.canvas.width, this.canvas.height];
    const put = (row: number): void => {
      const size = motion.crowded[row] === 1 ? Math.round(side * CROWDED) : side;
      const x = Math.round(camera.x(motion.x[row]!) * pixels - size / 2);
      const y = Math.round(camera.y(motion.y[row]!) * pixels - size / 2);
      if (x < -side || y < -side || x > wide || y > high) return;
      const code = Math.min(frame.decider[row]!, DECIDERS.length - 1);
      on.drawImage(atlas, code * side, 0, side, side, x, y, size, size);
    };
    if (radius >= ROOM_FOR_BARS && frame.barsEach > 0) this.drawBars(frame, radius);
    on.setTransform(1, 0, 0, 1, 0, 0);
    for (let row = 0; row < frame.agents; row++) put(row);
    // Those that somebody has in mind are above all others.
    for (let row = 0; row < frame.agents; row++) if (frame.possessed[row] !== 0) put(row);
    const chosen = this.model.selected === null ? null : this.model.row(this.model.selected);
    if (chosen !== null && chosen < frame.agents) put(chosen);
    on.setTransform(pixels, 0, 0, pixels, 0, 0);
    this.drawHolders(frame, radius);
    this.drawCounts(frame);
    this.drawNames(frame, radius);
  }

  /** Levels below each agent: one path for all plates, one for each level, one for all low ones. */
  private drawBars(frame: Frame, radius: number): void {
    const { on, camera, motion } = this;
    const { barsEach } = frame;
    const height = Math.max(2, Math.min(3, radius / 4));
    const plate = new Path2D();
    const low = new Path2D();
    const levels = Array.from({ length: barsEach }, () => new Path2D());
    for (let row = 0; row < frame.agents; row++) {
      const reach = motion.crowded[row] === 1 ? Math.round(radius * CROWDED) : radius;
      const width = 2 * reach;
      const x = Math.round(camera.x(motion.x[row]!) - reach);
      const top = Math.round(camera.y(motion.y[row]!) + reach + 2);
      plate.rect(x - 1, top - 1, width + 2, barsEach * (height + 1) + 1);
      levels.forEach((path, bar) => {
        const level = frame.bars[row * barsEach + bar]! / 255;
        (level < LOW ? low : path).rect(x, top + bar * (height + 1), Math.max(1, width * level), height);
      });
    }
    on.fillStyle = this.theme.colour("plate");
    on.fill(plate);
    levels.forEach((path, bar) => {
      on.fillStyle = this.theme.colour(`bar${(bar % 4) + 1}`);
      on.fill(path);
    });
    on.fillStyle = this.theme.colour("alert");
    on.fill(low);
  }

  /** Rings around who is held by a person, and around who is selected. */
  private drawHolders(frame: Frame, radius: number): void {
    const { on, camera, motion, model } = this;
    const chosen = model.selected === null ? null : model.row(model.selected);
    for (let row = 0; row < frame.agents; row++) {
      const holder = frame.possessed[row]!;
      if (holder === 0 && row !== chosen) continue;
      const [x, y] = [camera.x(motion.x[row]!), camera.y(motion.y[row]!)];
      if (holder > 0) {
        on.beginPath();
        on.arc(x, y, radius + 4, 0, 2 * Math.PI);
        on.setLineDash(holder === 1 ? [] : [4, 3]);
        on.lineWidth = 2.5;
        on.strokeStyle = this.theme.colour("by-person");
        on.stroke();
        on.setLineDash([]);
      }
      if (row === chosen) this.drawCorners(x, y, radius + (holder > 0 ? 9 : 6));
    }
  }

  private drawCorners(x: number, y: number, reach: number): void {
    const { on } = this;
    const arm = Math.max(4, reach / 2);
    on.beginPath();
    for (const [sideX, sideY] of [[-1, -1], [1, -1], [1, 1], [-1, 1]] as const) {
      on.moveTo(x + sideX * reach, y + sideY * (reach - arm));
      on.lineTo(x + sideX * reach, y + sideY * reach);
      on.lineTo(x + sideX * (reach - arm), y + sideY * reach);
    }
    on.lineWidth = 4;
    on.strokeStyle = this.theme.colour("edge");
    on.stroke();
    on.lineWidth = 2;
    on.strokeStyle = this.theme.colour("ink");
    on.stroke();
  }

  /** Names of marks, and how many wait there. */
  private drawCounts(frame: Frame): void {
    const { on, camera, model } = this;
    const scene = model.scene;
    if (scene === null || scene.version !== frame.scene) return;
    const reach = markReach(camera, scene);
    const named = reach >= 13;
    on.textAlign = "center";
    on.textBaseline = "middle";
    on.font = "11px system-ui, sans-serif";
    scene.marks.forEach((mark, index) => {
      const [x, y] = [camera.x(mark.x), camera.y(mark.y)];
      if (named) this.label(mark.label, x, y - reach - 7);
      const count = frame.markCount[index] ?? UNSAID;
      if (count === UNSAID || count === 0 || reach < 6) return;
      const [badgeX, badgeY] = [x + reach, y - reach + 1];
      on.beginPath();
      on.arc(badgeX, badgeY, 8, 0, 2 * Math.PI);
      on.fillStyle = this.theme.colour("ink");
      on.fill();
      on.fillStyle = this.theme.colour("paper");
      on.fillText(count > 99 ? "99" : `${count}`, badgeX, badgeY + 0.5);
    });
  }

  private drawNames(frame: Frame, radius: number): void {
    const { model, on } = this;
    on.font = "600 12px system-ui, sans-serif";
    on.textAlign = "center";
    on.textBaseline = "middle";
    const chosen = model.selected === null ? null : model.row(model.selected);
    let said = 0;
    for (let row = 0; row < frame.agents && said < MOST_NAMES; row++) {
      if (row === chosen || !(this.names || frame.possessed[row] === 1)) continue;
      if (this.nameAgent(row, radius, "")) said += 1;
    }
    if (chosen !== null && chosen < frame.agents) this.nameAgent(chosen, radius, model.actionOf(chosen));
  }

  /** False: it is outside of the canvas. */
  private nameAgent(row: number, radius: number, did: string): boolean {
    const [width, height] = [this.canvas.clientWidth, this.canvas.clientHeight];
    const [x, y] = [this.camera.x(this.motion.x[row]!), this.camera.y(this.motion.y[row]!)];
    if (x < 0 || y < 0 || x > width || y > height) return false;
    const id = this.model.roster?.ids[row] ?? "";
    const words = did === "" ? id : `${id}: ${did}`;
    const half = this.on.measureText(words).width / 2 + 4;
    this.label(words, Math.max(half, Math.min(width - half, x)), Math.max(10, y - radius - 14));
    return true;
  }

  private label(words: string, x: number, y: number): void {
    const { on } = this;
    on.lineWidth = 3;
    on.lineJoin = "round";
    on.strokeStyle = this.theme.colour("edge");
    on.strokeText(words, x, y);
    on.fillStyle = this.theme.colour("ink");
    on.fillText(words, x, y);
  }

  private listen(): void {
    const { canvas } = this;
    let from: { x: number; y: number; moved: boolean } | null = null;
    canvas.addEventListener("pointerdown", (event) => {
      from = { x: event.offsetX, y: event.offsetY, moved: false };
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (from === null) {
        set(canvas, "data-over", this.nearest(event.offsetX, event.offsetY) !== null);
        return;
      }
      const [byX, byY] = [event.offsetX - from.x, event.offsetY - from.y];
      if (!from.moved && Math.hypot(byX, byY) < 5) return;
      from = { x: event.offsetX, y: event.offsetY, moved: true };
      this.camera.move(byX, byY);
      this.stale = true;
    });
    canvas.addEventListener("pointerup", (event) => {
      if (from !== null && !from.moved) {
        const id = this.nearest(event.offsetX, event.offsetY);
        if (id !== null) this.model.select(id);
      }
      from = null;
    });
    canvas.addEventListener("pointercancel", () => (from = null));
    canvas.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        this.camera.zoom(Math.exp(-event.deltaY / 400), event.offsetX, event.offsetY);
        this.stale = true;
      },
      { passive: false },
    );
  }

  private nearest(x: number, y: number): string | null {
    let best: number | null = null;
    let least = Math.max(PICK, this.radius() + 4) ** 2;
    for (let row = 0; row < this.motion.x.length; row++) {
      const away = (this.camera.x(this.motion.x[row]!) - x) ** 2 + (this.camera.y(this.motion.y[row]!) - y) ** 2;
      if (away < least) [best, least] = [row, away];
    }
    return best === null ? null : (this.model.roster?.ids[best] ?? null);
  }

  /** Say in words what the canvas shows. */
  describe(into: HTMLElement): void {
    const frame = this.model.current;
    if (frame === null) return;
    const counts = DECIDERS.map((decider, code) => ({ name: decider.name, count: frame.decider.filter((one) => one === code).length }));
    const parts = counts.filter((one) => one.count > 0).map((one) => `${one.count} ${one.name}`);
    say(into, `${frame.agents} agents at tick ${frame.tick}: ${parts.join(", ")}.`);
  }
}
