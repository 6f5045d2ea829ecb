// One connection that comes back by itself. The token and the owner's secret stay in this tab.

import { WireError } from "./decode";
import type { Frame, Picture } from "./frame";
import { decodeBinary } from "./frame";
import type { Message, Reply } from "./messages";
import { decodeMessage } from "./messages";

export type Link = "connecting" | "open" | "waiting" | "refused" | "broken";

export interface Receiver {
  message(message: Message): void;
  binary(content: Frame | Picture): void;
  link(link: Link, detail: string): void;
}

const PROTOCOL = "townlet.live.v1";
const TOKEN = "townlet.token";
const OWNER = "townlet.owner";
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 10_000;
const ANSWER_MS = 15_000;
const TOO_MANY_OR_FORBIDDEN = 1008;

/** Take the token out of the address, so that nobody reads it there, and keep it in this tab. */
export function keepToken(): string | null {
  const address = new URL(location.href);
  const given = address.searchParams.get("token");
  if (given !== null) {
    sessionStorage.setItem(TOKEN, given);
    address.searchParams.delete("token");
    history.replaceState(null, "", address);
  }
  return sessionStorage.getItem(TOKEN);
}

function refusal(to: number, error: string): Reply {
  return { to, ok: false, error, moment: null, ticks: null, decider: null, action: null, reward: null };
}

interface Waiting {
  done(reply: Reply): void;
  timer: number;
}

export class Connection {
  private socket: WebSocket | null = null;
  private tries = 0;
  private retry = 0;
  private nextId = 1;
  private readonly waiting = new Map<number, Waiting>();

  constructor(
    private readonly token: string,
    private readonly receiver: Receiver,
  ) {
    window.addEventListener("online", () => this.comeBack());
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible") this.comeBack();
    });
  }

  open(): void {
    clearTimeout(this.retry);
    this.retry = 0;
    this.socket?.close();
    this.receiver.link("connecting", "");
    const address = new URL("ws", location.href);
    address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    address.search = "";
    address.searchParams.set("token", this.token);
    const owner = sessionStorage.getItem(OWNER);
    if (owner !== null) address.searchParams.set("owner", owner);
    const socket = new WebSocket(address, PROTOCOL);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    socket.addEventListener("open", () => this.receiver.link("open", ""));
    socket.addEventListener("message", (event: MessageEvent<string | ArrayBuffer>) => this.receive(socket, event.data));
    socket.addEventListener("close", (event) => this.closed(socket, event));
  }

  /** Ask for something; the answer says whether it was done. Without a connection, or after 15 seconds, it was not. */
  send(type: string, fields: Record<string, unknown> = {}): Promise<Reply> {
    const id = this.nextId++;
    if (this.socket?.readyState !== WebSocket.OPEN) {
      return Promise.resolve(refusal(id, "There is no connection."));
    }
    this.socket.send(JSON.stringify({ type, id, ...fields }));
    return new Promise((done) => {
      const timer = window.setTimeout(() => this.answer(refusal(id, "No answer came.")), ANSWER_MS);
      this.waiting.set(id, { done, timer });
    });
  }

  private comeBack(): void {
    if (this.retry !== 0) this.open();
  }

  private receive(socket: WebSocket, data: string | ArrayBuffer): void {
    if (socket !== this.socket) return;
    try {
      if (typeof data !== "string") {
        this.receiver.binary(decodeBinary(data));
        return;
      }
      const message = decodeMessage(data);
      if (message === null) return;
      if (message.type === "hello") {
        this.tries = 0;
        sessionStorage.setItem(OWNER, message.body.owner);
      }
      if (message.type === "reply") this.answer(message.body);
      this.receiver.message(message);
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.socket = null;
      socket.close(4000, "malformed message");
      this.forgetWaiting();
      this.receiver.link("broken", error.message);
    }
  }

  private answer(reply: Reply): void {
    if (reply.to === null) return;
    const waiting = this.waiting.get(reply.to);
    if (waiting === undefined) return;
    clearTimeout(waiting.timer);
    this.waiting.delete(reply.to);
    waiting.done(reply);
  }

  private forgetWaiting(): void {
    for (const to of [...this.waiting.keys()]) this.answer(refusal(to, "The connection was lost."));
  }

  private closed(socket: WebSocket, event: CloseEvent): void {
    if (socket !== this.socket) return;
    this.socket = null;
    this.forgetWaiting();
    if (event.code === TOO_MANY_OR_FORBIDDEN) {
      this.receiver.link("refused", event.reason);
      return;
    }
    const wait = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** this.tries) * (0.75 + Math.random() / 2);
    this.tries += 1;
    this.retry = window.setTimeout(() => this.comeBack(), wait);
    this.receiver.link("waiting", `${Math.max(1, Math.round(wait / 1000))}`);
  }
}
