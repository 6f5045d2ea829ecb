// Asks a policy that `townlet serve` serves. Needs nothing but a WebSocket: that of a browser, of Node 22 or newer, or of
// Node 20 with `--experimental-websocket`. `townlet serve --schema` describes the messages.

const VERSION = 1;

/** A question that the server refuses; `kind` says why, e.g. "shape". */
export class RefusedError extends Error {
  constructor(kind, text) {
    super(text);
    this.name = "RefusedError";
    this.kind = kind;
  }
}

/** One connection. Questions may be asked before earlier ones are answered: the server answers them in order. */
export class PolicyClient {
  #socket;
  #waiting = new Map();
  #number = 0;
  #timeout;

  /** Connects to the address that the server printed; `timeout` is that of every answer, in milliseconds. */
  static async connect(address, { timeout = 10_000 } = {}) {
    if (globalThis.WebSocket === undefined) throw new Error("no WebSocket here: Node 22, or --experimental-websocket");
    const client = new PolicyClient();
    client.#timeout = timeout;
    client.#socket = new WebSocket(address, "townlet.serve.v1");
    client.#socket.binaryType = "arraybuffer";
    client.#socket.addEventListener("message", ({ data }) => client.#settle(data));
    client.#socket.addEventListener("close", ({ code, reason }) => client.#end(`connection closed: ${code} ${reason}`));
    await new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`no connection in ${timeout} ms`)), timeout);
      client.#socket.addEventListener("open", () => (clearTimeout(late), resolve()));
      client.#socket.addEventListener("error", () => (clearTimeout(late), reject(new Error("nobody serves there"))));
    });
    const hello = await client.#ask((id) => JSON.stringify({ type: "hello", id, townlet: VERSION }));
    /** What is served: `groups` with vocabularies and shapes, `limits`, `seed`, `greedy`. */
    client.hello = hello;
    return client;
  }

  /**
   * Asks for the actions of all agents of a tick. `observations` has by name either nested arrays of numbers, answered by
   * keys of actions; or for all names a Float32Array of all rows, answered by an Int32Array (or Float32Array) of indices.
   */
  act({ group = "agents", tick, agents, observations, mask, begin = [], end = [], logProbs = false }) {
    const names = Object.keys(observations);
    const binary = names.length > 0 && names.every((name) => observations[name] instanceof Float32Array);
    const common = { group, tick, agents, begin, end, log_probs: logProbs };
    if (!binary) {
      const masked = mask === undefined ? {} : { action_mask: mask };
      return this.#ask((id) => JSON.stringify({ type: "act", id, ...common, observations, ...masked }));
    }
    const arrays = names.map((name) => observations[name]);
    if (mask !== undefined) arrays.push(Uint8Array.from(mask));
    const header = { ...common, observations: names, action_mask: mask !== undefined };
    return this.#ask((id) => pack({ type: "act", id, ...header }, arrays));
  }

  /** Ends the connection; the server forgets its agents. */
  close() {
    this.#socket.close();
  }

  #ask(write) {
    const id = this.#number++;
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => {
        this.#waiting.delete(id);
        reject(new Error(`no answer in ${this.#timeout} ms`));
      }, this.#timeout);
      this.#waiting.set(id, { resolve, reject, late });
      if (this.#socket.readyState === 1) this.#socket.send(write(id));
      else this.#end("the connection is closed");
    });
  }

  #settle(data) {
    const answer = typeof data === "string" ? JSON.parse(data) : unpack(data, this.hello.groups);
    // A refusal without an id is of the oldest question: they are answered in order.
    const id = answer.id ?? this.#waiting.keys().next().value;
    const asked = this.#waiting.get(id);
    if (asked === undefined) return; // given up
    this.#waiting.delete(id);
    clearTimeout(asked.late);
    if (answer.type === "error") asked.reject(new RefusedError(answer.kind, answer.error));
    else asked.resolve(answer);
  }

  #end(why) {
    for (const { reject, late } of this.#waiting.values()) {
      clearTimeout(late);
      reject(new Error(why));
    }
    this.#waiting.clear();
  }
}

/** The binary form: a uint32 (little endian), so many bytes of JSON, arrays. Every machine with a browser is little endian. */
function pack(header, arrays) {
  let text = new TextEncoder().encode(JSON.stringify(header));
  const length = Math.ceil(text.length / 4) * 4;
  const bytes = new Uint8Array(4 + length + arrays.reduce((sum, array) => sum + array.byteLength, 0)).fill(32);
  new DataView(bytes.buffer).setUint32(0, length, true);
  bytes.set(text, 4);
  let begin = 4 + length;
  for (const array of arrays) {
    bytes.set(new Uint8Array(array.buffer, array.byteOffset, array.byteLength), begin);
    begin += array.byteLength;
  }
  return bytes;
}

/** The fields of an answer, with its arrays in the places of their names. */
function unpack(buffer, groups) {
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const size = header.shape.reduce((product, one) => product * one, 1);
  const numbers = groups[header.group].actions?.low !== undefined;
  let begin = 4 + length;
  const take = (Kind, count) => new Kind(buffer, (begin += 4 * count) - 4 * count, count);
  const answer = { ...header, actions: take(numbers ? Float32Array : Int32Array, size) };
  if (header.log_probs) answer.log_probs = take(Float32Array, header.shape[0]);
  if (header.drawn) answer.drawn = take(Float32Array, size);
  return answer;
}
