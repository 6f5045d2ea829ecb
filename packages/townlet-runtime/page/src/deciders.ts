// Who decided, in the order of the codes of a frame: each has a name, a colour and a shape of its own.

export type Pen = CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D;

export type Body = "disc" | "ring" | "diamond" | "star" | "crossed" | "dashed" | "dot" | "triangle";

export interface Decider {
  name: string;
  /** Of style.css. */
  colour: string;
  body: Body;
  meaning: string;
}

export const DECIDERS: readonly Decider[] = [
  { name: "script", colour: "by-script", body: "disc", meaning: "the scripted behavior decided" },
  { name: "fallback", colour: "by-fallback", body: "ring", meaning: "the script stood in for a slow mind" },
  { name: "learned", colour: "by-learned", body: "diamond", meaning: "the learned policy decided" },
  { name: "person", colour: "by-person", body: "star", meaning: "a person decided" },
  { name: "vetoed", colour: "by-vetoed", body: "crossed", meaning: "a guardrail replaced the choice" },
  { name: "committed", colour: "by-committed", body: "dashed", meaning: "an option chosen earlier goes on" },
  { name: "only action", colour: "by-only", body: "dot", meaning: "one action alone was legal" },
  { name: "mind", colour: "by-mind", body: "triangle", meaning: "a slow mind decided, in the place of the script" },
];

const UNKNOWN: Decider = { name: "unknown", colour: "muted", body: "ring", meaning: "not known" };

export function deciderOf(code: number): Decider {
  return DECIDERS[code] ?? UNKNOWN;
}

/** Draw the shape of a decider around (x, y). */
export function drawBody(
  on: Pen,
  body: Body,
  x: number,
  y: number,
  radius: number,
  colour: string,
  edge: string,
): void {
  const line = Math.max(1, radius / 4);
  on.save();
  on.lineJoin = "round";
  on.fillStyle = colour;
  on.beginPath();
  if (body === "disc") on.arc(x, y, radius, 0, 2 * Math.PI);
  else if (body === "dot") on.arc(x, y, radius * 0.5, 0, 2 * Math.PI);
  else if (body === "diamond") polygon(on, x, y, 4, radius * 1.2, radius * 1.2);
  else if (body === "triangle") polygon(on, x, y + radius * 0.2, 3, radius * 1.25, radius * 1.25);
  else if (body === "star") polygon(on, x, y, 10, radius * 1.35, radius * 0.62);
  else if (body === "crossed") on.rect(x - radius * 0.9, y - radius * 0.9, radius * 1.8, radius * 1.8);
  else on.arc(x, y, radius * 0.5, 0, 2 * Math.PI);
  on.closePath();
  if (body === "ring" || body === "dashed") {
    ring(on, x, y, radius, line, colour, edge, body === "dashed");
  } else {
    on.lineWidth = Math.max(1, radius / 5);
    on.strokeStyle = edge;
    on.stroke();
    on.fill();
    if (body === "dot") ring(on, x, y, radius, line, colour, edge, false);
    if (body === "crossed") cross(on, x, y, radius * 0.5, line, edge);
  }
  on.restore();
}

function polygon(on: Pen, x: number, y: number, corners: number, outer: number, inner: number): void {
  for (let corner = 0; corner < corners; corner++) {
    const reach = corner % 2 === 0 ? outer : inner;
    const angle = -Math.PI / 2 + (2 * Math.PI * corner) / corners;
    on.lineTo(x + reach * Math.cos(angle), y + reach * Math.sin(angle));
  }
}

function ring(
  on: Pen,
  x: number,
  y: number,
  radius: number,
  line: number,
  colour: string,
  edge: string,
  dashed: boolean,
): void {
  on.beginPath();
  on.arc(x, y, radius - line / 2, 0, 2 * Math.PI);
  if (!dashed) {
    on.lineWidth = line + Math.max(1, radius / 4);
    on.strokeStyle = edge;
    on.stroke();
  } else {
    on.save();
    on.fillStyle = edge;
    on.fill();
    on.fillStyle = colour;
    on.beginPath();
    on.arc(x, y, radius * 0.42, 0, 2 * Math.PI);
    on.fill();
    on.beginPath();
    on.arc(x, y, radius - line / 2, 0, 2 * Math.PI);
    on.restore();
    const dash = (2 * Math.PI * (radius - line / 2)) / 12;
    on.setLineDash([dash * 1.2, dash * 0.8]);
  }
  on.lineWidth = line;
  on.strokeStyle = colour;
  on.stroke();
}

function cross(on: Pen, x: number, y: number, reach: number, line: number, colour: string): void {
  on.beginPath();
  on.moveTo(x - reach, y - reach);
  on.lineTo(x + reach, y + reach);
  on.moveTo(x + reach, y - reach);
  on.lineTo(x - reach, y + reach);
  on.lineWidth = line;
  on.strokeStyle = colour;
  on.stroke();
}
