// Which part of a scene is seen, and where on the canvas. All lengths on the canvas are CSS pixels.

export interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}

const MARGIN = 12;
const CLOSEST = 40;

export class Camera {
  /** Canvas pixels of one unit of the scene. */
  scale = 1;
  private left = 0;
  private top = 0;
  private fitted = 1;
  private free = false;

  /** Show a scene of this size in this box. A view that somebody chose stays. */
  show(width: number, height: number, box: Box): void {
    this.fitted = Math.max(1e-6, Math.min((box.width - 2 * MARGIN) / width, (box.height - 2 * MARGIN) / height));
    if (this.free) return;
    this.scale = this.fitted;
    this.left = box.x + (box.width - width * this.scale) / 2;
    this.top = box.y + (box.height - height * this.scale) / 2;
  }

  fit(): void {
    this.free = false;
  }

  x(value: number): number {
    return this.left + value * this.scale;
  }

  y(value: number): number {
    return this.top + value * this.scale;
  }

  sceneX(pixel: number): number {
    return (pixel - this.left) / this.scale;
  }

  sceneY(pixel: number): number {
    return (pixel - this.top) / this.scale;
  }

  /** Look closer (above 1) or from further away; what is at the pixel stays there. */
  zoom(by: number, pixelX: number, pixelY: number): void {
    const [x, y] = [this.sceneX(pixelX), this.sceneY(pixelY)];
    this.scale = Math.min(CLOSEST * this.fitted, Math.max(this.fitted, this.scale * by));
    this.left = pixelX - x * this.scale;
    this.top = pixelY - y * this.scale;
    this.free = this.scale > this.fitted * 1.001;
  }

  move(pixelsX: number, pixelsY: number): void {
    if (!this.free) return;
    this.left += pixelsX;
    this.top += pixelsY;
  }

  /** Bring a place into the middle of the box if it is outside of it. */
  follow(x: number, y: number, box: Box): void {
    if (!this.free) return;
    const [px, py] = [this.x(x), this.y(y)];
    const inside = px > box.x + MARGIN && px < box.x + box.width - MARGIN && py > box.y + MARGIN && py < box.y + box.height - MARGIN;
    if (!inside) this.move(box.x + box.width / 2 - px, box.y + box.height / 2 - py);
  }
}
