// What stays: cells and marks. It is drawn anew only when the scene, the view or the theme changes.

import type { Theme } from "../theme";
import { WireError } from "../wire/decode";
import type { Mark, Scene } from "../wire/messages";
import type { Box, Camera } from "./camera";

export class Ground {
  private readonly layer = document.createElement("canvas");
  private readonly cells = document.createElement("canvas");
  private scene: Scene | null = null;
  private drawn = "";

  constructor(private readonly theme: Theme) {
    theme.onChange(() => this.paintCells());
  }

  use(scene: Scene): void {
    this.scene = scene;
    this.paintCells();
  }

  /** The layer for a canvas of this size, in device pixels. */
  of(camera: Camera, canvas: Box, box: Box, pixels: number): HTMLCanvasElement {
    const wanted = [canvas.width, canvas.height, pixels, camera.scale, camera.x(0), camera.y(0)].join(" ");
    if (wanted === this.drawn) return this.layer;
    this.drawn = wanted;
    this.layer.width = Math.max(1, Math.round(canvas.width * pixels));
    this.layer.height = Math.max(1, Math.round(canvas.height * pixels));
    const on = this.layer.getContext("2d");
    if (on === null || this.scene === null) return this.layer;
    on.scale(pixels, pixels);
    on.beginPath();
    on.rect(box.x, box.y, box.width, box.height);
    on.clip();
    const [width, height] = sizeOf(this.scene);
    on.imageSmoothingEnabled = false;
    const [left, top] = [camera.x(0), camera.y(0)];
    on.drawImage(this.cells, left, top, width * camera.scale, height * camera.scale);
    const cell = cellOf(this.scene);
    if (this.scene.cells !== null && camera.scale * cell >= 10) this.lines(on, camera, width, height, cell);
    on.strokeStyle = this.theme.colour("rule");
    on.lineWidth = 1;
    on.strokeRect(left - 0.5, top - 0.5, width * camera.scale + 1, height * camera.scale + 1);
    for (const mark of this.scene.marks) this.mark(on, mark, camera);
    return this.layer;
  }

  private paintCells(): void {
    this.drawn = "";
    const grid = this.scene?.cells ?? null;
    this.cells.width = grid?.columns ?? 1;
    this.cells.height = grid?.rows ?? 1;
    const on = this.cells.getContext("2d");
    if (on === null) return;
    on.fillStyle = this.theme.colour("ground");
    on.fillRect(0, 0, this.cells.width, this.cells.height);
    if (grid === null) return;
    const codes = atob(grid.codes);
    if (codes.length !== grid.rows * grid.columns) throw new WireError("scene: the cells are too few or too many");
    const colours = grid.palette.map((entry) => this.theme.colour(entry.colour));
    for (let cell = 0; cell < codes.length; cell++) {
      on.fillStyle = colours[codes.charCodeAt(cell)] ?? this.theme.colour("ground");
      on.fillRect(cell % grid.columns, Math.floor(cell / grid.columns), 1, 1);
    }
  }

  private lines(on: CanvasRenderingContext2D, camera: Camera, width: number, height: number, cell: number): void {
    on.beginPath();
    for (let x = cell; x < width; x += cell) {
      on.moveTo(camera.x(x), camera.y(0));
      on.lineTo(camera.x(x), camera.y(height));
    }
    for (let y = cell; y < height; y += cell) {
      on.moveTo(camera.x(0), camera.y(y));
      on.lineTo(camera.x(width), camera.y(y));
    }
    on.strokeStyle = this.theme.colour("gridline");
    on.lineWidth = 1;
    on.stroke();
  }

  private mark(on: CanvasRenderingContext2D, mark: Mark, camera: Camera): void {
    const reach = this.scene === null ? 0 : markReach(camera, this.scene);
    const [x, y] = [camera.x(mark.x), camera.y(mark.y)];
    on.beginPath();
    if (mark.shape === "circle") on.arc(x, y, reach, 0, 2 * Math.PI);
    else if (mark.shape === "square") on.roundRect(x - reach, y - reach, 2 * reach, 2 * reach, reach / 4);
    else if (mark.shape === "cross") crossPath(on, x, y, reach);
    else {
      const corners = mark.shape === "triangle" ? 3 : 4;
      for (let corner = 0; corner < corners; corner++) {
        const angle = -Math.PI / 2 + (2 * Math.PI * corner) / corners;
        on.lineTo(x + reach * 1.15 * Math.cos(angle), y + reach * 1.15 * Math.sin(angle));
      }
      on.closePath();
    }
    on.globalAlpha = 0.55;
    on.fillStyle = this.theme.colour(mark.colour);
    on.fill();
    on.globalAlpha = 1;
    on.lineWidth = 1.5;
    on.strokeStyle = this.theme.colour(mark.colour);
    on.stroke();
  }
}

export function sizeOf(scene: Scene): [number, number] {
  return [Math.max(1e-6, scene.size[0] ?? 1), Math.max(1e-6, scene.size[1] ?? 1)];
}

/** How long a step of an agent is thought to be: a cell; without cells a unit, if there are neither few nor very many. */
export function cellOf(scene: Scene): number {
  const [width, height] = sizeOf(scene);
  if (scene.cells !== null) return width / Math.max(1, scene.cells.columns);
  const longer = Math.max(width, height);
  return longer < 8 ? longer / 12 : longer > 200 ? longer / 40 : 1;
}

export function markReach(camera: Camera, scene: Scene): number {
  return Math.max(3, camera.scale * cellOf(scene) * 0.42);
}

function crossPath(on: CanvasRenderingContext2D, x: number, y: number, reach: number): void {
  const thin = reach / 3;
  on.rect(x - thin, y - reach, 2 * thin, 2 * reach);
  on.rect(x - reach, y - thin, 2 * reach, 2 * thin);
}
