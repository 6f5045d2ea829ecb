"use strict";
(() => {
  // src/dom.ts
  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) set(element, name, value);
    element.append(...children);
    return element;
  }
  function set(element, name, value) {
    if (value === false || value === null) {
      if (element.hasAttribute(name)) element.removeAttribute(name);
      return;
    }
    const wanted = value === true ? "" : String(value);
    if (element.getAttribute(name) !== wanted) element.setAttribute(name, wanted);
  }
  function say(element, text2) {
    if (element.textContent !== text2) element.textContent = text2;
  }
  function button(label, onClick, attributes = {}) {
    const made = make("button", { type: "button", ...attributes }, label);
    made.addEventListener("click", onClick);
    return made;
  }
  function byId(id, kind) {
    const found = document.getElementById(id);
    if (!(found instanceof kind)) throw new Error(`index.html: no ${kind.name} #${id}`);
    return found;
  }
  var Rows = class {
    constructor(parent, key, build, change) {
      this.parent = parent;
      this.key = key;
      this.build = build;
      this.change = change;
    }
    parent;
    key;
    build;
    change;
    made = /* @__PURE__ */ new Map();
    update(items) {
      const left = new Set(this.made.keys());
      let place = this.parent.firstChild;
      for (const item of items) {
        const key = this.key(item);
        left.delete(key);
        let element = this.made.get(key);
        if (element === void 0) {
          element = this.build(item);
          this.made.set(key, element);
        }
        this.change(element, item);
        if (element === place) place = place.nextSibling;
        else this.parent.insertBefore(element, place);
      }
      for (const key of left) {
        this.made.get(key)?.remove();
        this.made.delete(key);
      }
    }
  };
  var MOVES = /* @__PURE__ */ new Set(["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End", "PageUp", "PageDown"]);
  function usesKey(target, key) {
    if (!(target instanceof HTMLElement)) return false;
    if (target.closest("dialog") !== null || target instanceof HTMLSelectElement) return true;
    if (target instanceof HTMLInputElement) {
      if (target.type === "range") return MOVES.has(key);
      if (target.type !== "checkbox") return true;
    }
    if (MOVES.has(key)) return ["slider", "tab"].includes(target.getAttribute("role") ?? "");
    const pressed = key === " " || key === "Enter";
    return pressed && (target instanceof HTMLButtonElement || target instanceof HTMLInputElement || target.matches("summary"));
  }
  function round(value, digits = 3) {
    if (value === 0) return "0";
    const size = Math.abs(value);
    if (size >= 1e5 || size < 1e-3) return value.toExponential(1);
    return Number(value.toPrecision(digits)).toString();
  }
  function percent(value) {
    const share = 100 * value;
    return share > 0 && share < 1 ? "<1 %" : `${Math.round(share)} %`;
  }

  // src/announce.ts
  var SHOWN_MS = 6e3;
  var Announcer = class {
    line = byId("said", HTMLElement);
    banner = byId("banner", HTMLElement);
    words = byId("banner-words", HTMLElement);
    action = byId("banner-action", HTMLButtonElement);
    onAction = () => void 0;
    fade = 0;
    constructor() {
      this.action.addEventListener("click", () => this.onAction());
    }
    tell(words) {
      if (this.line.textContent === words) this.line.textContent = "";
      say(this.line, words);
      clearTimeout(this.fade);
      this.fade = window.setTimeout(() => this.line.textContent = "", SHOWN_MS);
    }
    warn(words, action = "", onAction = () => void 0) {
      say(this.words, words);
      say(this.action, action);
      this.action.hidden = action === "";
      this.onAction = onAction;
      this.banner.hidden = false;
    }
    allClear() {
      this.banner.hidden = true;
    }
  };
  var Desk = class {
    constructor(connection, announcer) {
      this.connection = connection;
      this.announcer = announcer;
    }
    connection;
    announcer;
    async ask(type, fields2 = {}, done = "") {
      const reply2 = await this.connection.send(type, fields2);
      if (!reply2.ok) this.announcer.tell(reply2.error ?? `${type} was not done.`);
      else if (done !== "") this.announcer.tell(done);
      return reply2;
    }
    /** Ask for something where a refusal is no news, such as one more renewal. */
    quietly(type, fields2) {
      return this.connection.send(type, fields2);
    }
  };

  // src/hand/gamepad.ts
  var DEAD = 0.5;
  var CROSS = [
    [12, "ArrowUp"],
    [13, "ArrowDown"],
    [14, "ArrowLeft"],
    [15, "ArrowRight"]
  ];
  var START = 9;
  var Pad = class {
    constructor(model, possession, act) {
      this.model = model;
      this.possession = possession;
      this.act = act;
      window.addEventListener("gamepadconnected", () => this.begin());
    }
    model;
    possession;
    act;
    pressed = null;
    start = false;
    polling = false;
    begin() {
      if (this.polling) return;
      this.polling = true;
      const look = () => {
        const pad = navigator.getGamepads().find((one) => one !== null);
        if (pad === void 0 || pad === null) {
          this.polling = false;
          this.possession.rest();
          return;
        }
        this.read(pad);
        requestAnimationFrame(look);
      };
      requestAnimationFrame(look);
    }
    read(pad) {
      const start2 = pad.buttons[START]?.pressed === true;
      if (start2 && !this.start) void this.possession.toggle();
      this.start = start2;
      const id = this.model.selected;
      const group2 = id === null ? null : this.model.groupOf(id);
      if (id === null || group2 === null || !this.possession.holds(id)) return;
      if (group2.box !== null) this.sticks(pad, group2.box);
      else this.buttons(pad, group2);
    }
    sticks(pad, box) {
      const numbers = box.low.map((low, index) => {
        const tilt = pad.axes[index] ?? 0;
        const high = box.high[index] ?? low;
        return low + ((Math.abs(tilt) < 0.08 ? 0 : tilt) + 1) * 0.5 * (high - low);
      });
      const words = numbers.map((value) => value.toFixed(2)).join(" ");
      const same = words === this.pressed || this.pressed === null;
      this.pressed = words;
      if (same) return;
      this.possession.holdNumbers(numbers);
    }
    buttons(pad, group2) {
      const [x, y] = [pad.axes[0] ?? 0, pad.axes[1] ?? 0];
      const tilted = Math.abs(x) > Math.abs(y) ? x > 0 ? "ArrowRight" : "ArrowLeft" : y > 0 ? "ArrowDown" : "ArrowUp";
      const way = CROSS.find(([button2]) => pad.buttons[button2]?.pressed === true)?.[1];
      const others = this.possession.keysOf(group2).filter((key2) => key2 !== null && !key2.startsWith("Arrow"));
      const face = [0, 1, 2, 3].find((button2) => pad.buttons[button2]?.pressed === true);
      const key = way ?? (Math.max(Math.abs(x), Math.abs(y)) > DEAD ? tilted : null) ?? (face === void 0 ? null : others[face] ?? null);
      if (key === this.pressed) return;
      this.pressed = key;
      if (key === null) this.possession.rest();
      else this.act(key);
    }
  };

  // src/hand/keymap.ts
  var RESERVED = /* @__PURE__ */ new Set(["n", "t", "i", "f", "l"]);
  var WAYS = [
    ["ArrowUp", /(^|[^a-z])(up|north|forwards?|ahead)([^a-z]|$)/],
    ["ArrowDown", /(^|[^a-z])(down|south|backwards?|back)([^a-z]|$)/],
    ["ArrowLeft", /(^|[^a-z])(left|west)([^a-z]|$)/],
    ["ArrowRight", /(^|[^a-z])(right|east)([^a-z]|$)/]
  ];
  var SPARE = "asdqwezxcvrgbhjkmopuy456789";
  var SIGNS = { ArrowUp: "↑", ArrowDown: "↓", ArrowLeft: "←", ArrowRight: "→", Enter: "⏎" };
  function assignKeys(actions) {
    const taken = /* @__PURE__ */ new Set();
    const keys = actions.map((action) => {
      const way = WAYS.find(([key, pattern]) => !taken.has(key) && pattern.test(action.toLowerCase()));
      if (way !== void 0) taken.add(way[0]);
      return way?.[0] ?? null;
    });
    const letters = (action) => {
      const words = action.toLowerCase().split(/[^a-z]+/).filter((word) => word !== "");
      const heads = words.map((word) => word[0] ?? "");
      return [...heads.slice(-1), ...heads, ...words.join("")];
    };
    actions.forEach((action, index) => {
      if (keys[index] !== null) return;
      const free = [...letters(action), ...SPARE].find((key) => !taken.has(key) && !RESERVED.has(key));
      if (free === void 0) return;
      taken.add(free);
      keys[index] = free;
    });
    return keys;
  }

  // src/hand/possession.ts
  var RENEW_AT = 1 / 3;
  var HELD_MS = 220;
  var REPEAT_MS = 30;
  var Possession = class {
    constructor(model, desk) {
      this.model = model;
      this.desk = desk;
      model.on("frame", () => this.everyFrame());
      model.on("selected", () => this.rest());
      window.addEventListener("blur", () => this.held = null);
    }
    model;
    desk;
    /** Numbers that an agent of numbers is told at every tick. */
    numbers = null;
    held = null;
    heldTick = -1;
    heldAt = 0;
    heldSince = 0;
    renewed = /* @__PURE__ */ new Map();
    mine = /* @__PURE__ */ new Set();
    /** One tick for each action while the world is paused. */
    turns = false;
    /** Names of the actions' keys, by group. */
    keys = /* @__PURE__ */ new Map();
    keysOf(group2) {
      let found = this.keys.get(group2);
      if (found === void 0) {
        found = assignKeys(choicesOf(group2));
        this.keys.set(group2, found);
      }
      return found;
    }
    holds(id) {
      const row2 = id === null ? null : this.model.row(id);
      return row2 !== null && this.model.current?.possessed[row2] === 1;
    }
    /** Ticks that are left of this person's lease of an agent; null: it is not in these hands. */
    leaseLeft(id) {
      const [since, frame, hello2] = [this.renewed.get(id), this.model.frame, this.model.hello];
      if (since === void 0 || frame === null || hello2 === null) return null;
      return Math.max(0, hello2.lease_ticks - (frame.tick - since));
    }
    async toggle() {
      const id = this.model.selected;
      if (id === null) {
        this.desk.announcer.tell("Choose an agent first: click one, or press ] for the next.");
        return;
      }
      if (this.holds(id)) await this.desk.ask("release", { agent: id });
      else await this.desk.ask("acquire", { agent: id });
    }
    /** Tell the selected agent what to do, once. */
    async feed(action) {
      const id = this.model.selected;
      if (id === null || !this.holds(id)) {
        this.desk.announcer.tell("Take the agent over first: press T.");
        return;
      }
      const reply2 = await this.desk.ask("feed", { agent: id, action });
      if (reply2.ok && this.turns && this.model.frame?.paused === true) await this.desk.ask("step", { ticks: 1 });
    }
    /** Go on with an action at every tick until `rest`: a key is held. */
    hold(action) {
      this.held = action;
      this.heldTick = this.model.frame?.tick ?? -1;
      this.heldSince = this.heldAt = performance.now();
      void this.feed(action);
    }
    refuse(why) {
      this.desk.announcer.tell(why);
    }
    /** Stop repeating: the key is up. */
    rest() {
      this.held = null;
      this.numbers = null;
    }
    holdNumbers(numbers) {
      this.numbers = numbers;
      void this.feed(numbers);
    }
    everyFrame() {
      const frame = this.model.current;
      if (frame === null) return;
      this.tellChanges();
      const lease = this.model.hello?.lease_ticks ?? 150;
      for (const id of this.mine) {
        const since = frame.tick - (this.renewed.get(id) ?? -Infinity);
        if (since >= 0 && since < lease * RENEW_AT) continue;
        this.renewed.set(id, frame.tick);
        void this.desk.quietly("renew", { agent: id });
      }
      const now = performance.now();
      const again = this.held !== null && now - this.heldSince > HELD_MS ? this.held : this.numbers;
      if (again === null || frame.paused || frame.tick === this.heldTick || now - this.heldAt < REPEAT_MS) return;
      if (this.model.selected === null || !this.holds(this.model.selected)) return;
      this.heldTick = frame.tick;
      this.heldAt = now;
      void this.desk.quietly("feed", { agent: this.model.selected, action: again });
    }
    tellChanges() {
      const now = new Set(this.model.mine);
      for (const id of now) {
        if (this.mine.has(id)) continue;
        this.mine.add(id);
        this.renewed.set(id, this.model.frame?.tick ?? 0);
        this.desk.announcer.tell(`You have ${id}.`);
      }
      for (const id of [...this.mine]) {
        if (now.has(id)) continue;
        this.mine.delete(id);
        this.renewed.delete(id);
        if (id === this.model.selected) this.rest();
        this.desk.announcer.tell(`You no longer have ${id}.`);
      }
    }
  };
  function choicesOf(group2) {
    if (group2.parts === null) return group2.actions;
    return Object.entries(group2.parts).flatMap(([part, keys]) => keys.map((key) => `${part}=${key}`));
  }

  // src/model.ts
  var Model = class {
    hello = null;
    scene = null;
    roster = null;
    frame = null;
    state = null;
    agent = null;
    selected = null;
    rows = /* @__PURE__ */ new Map();
    listeners = /* @__PURE__ */ new Map();
    on(what, listener) {
      const known = this.listeners.get(what) ?? [];
      known.push(listener);
      this.listeners.set(what, known);
    }
    tell(what, content) {
      this.keep(what, content);
      for (const listener of this.listeners.get(what) ?? []) listener(content);
    }
    keep(what, content) {
      const kept = this;
      if (what in this && what !== "agent") kept[what] = content;
      if (what === "agent") this.agent = "gone" in content ? null : content;
      if (what === "roster") this.rows = new Map(this.roster?.ids.map((id, row2) => [id, row2]));
      if (what === "selected") this.agent = null;
    }
    /** The newest frame if it has the agents of the newest roster. */
    get current() {
      return this.frame !== null && this.frame.roster === this.roster?.version ? this.frame : null;
    }
    row(id) {
      return this.rows.get(id) ?? null;
    }
    groupOf(id) {
      const row2 = this.row(id);
      const group2 = row2 === null ? void 0 : this.roster?.groups[row2];
      return group2 === void 0 ? null : this.hello?.groups[group2] ?? null;
    }
    /** The key of the action that an agent carried out last; empty where that is no single key. */
    actionOf(row2) {
      const group2 = this.hello?.groups[this.roster?.groups[row2] ?? -1];
      const code = this.current?.action[row2] ?? -1;
      return group2?.actions[code] ?? "";
    }
    get mine() {
      const frame = this.current;
      if (frame === null || this.roster === null) return [];
      return this.roster.ids.filter((_, row2) => frame.possessed[row2] === 1);
    }
    select(id) {
      if (id !== this.selected) this.tell("selected", id);
    }
    /** Select the agent that comes `by` places after the selected one. */
    selectNext(by) {
      const ids = this.roster?.ids ?? [];
      if (ids.length === 0) return;
      const row2 = this.selected === null ? null : this.row(this.selected);
      const from = row2 ?? (by > 0 ? -1 : 0);
      this.select(ids[(from + by + ids.length) % ids.length] ?? null);
    }
  };

  // src/deciders.ts
  var DECIDERS = [
    { name: "script", colour: "by-script", body: "disc", meaning: "the scripted behavior decided" },
    { name: "fallback", colour: "by-fallback", body: "ring", meaning: "the script stood in for a slow mind" },
    { name: "learned", colour: "by-learned", body: "diamond", meaning: "the learned policy decided" },
    { name: "person", colour: "by-person", body: "star", meaning: "a person decided" },
    { name: "vetoed", colour: "by-vetoed", body: "crossed", meaning: "a guardrail replaced the choice" },
    { name: "committed", colour: "by-committed", body: "dashed", meaning: "an option chosen earlier goes on" },
    { name: "only action", colour: "by-only", body: "dot", meaning: "one action alone was legal" },
    { name: "mind", colour: "by-mind", body: "triangle", meaning: "a slow mind decided, in the place of the script" }
  ];
  var UNKNOWN = { name: "unknown", colour: "muted", body: "ring", meaning: "not known" };
  function deciderOf(code) {
    return DECIDERS[code] ?? UNKNOWN;
  }
  function drawBody(on, body, x, y, radius, colour, edge) {
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
  function polygon(on, x, y, corners, outer, inner) {
    for (let corner = 0; corner < corners; corner++) {
      const reach = corner % 2 === 0 ? outer : inner;
      const angle = -Math.PI / 2 + 2 * Math.PI * corner / corners;
      on.lineTo(x + reach * Math.cos(angle), y + reach * Math.sin(angle));
    }
  }
  function ring(on, x, y, radius, line, colour, edge, dashed) {
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
      const dash = 2 * Math.PI * (radius - line / 2) / 12;
      on.setLineDash([dash * 1.2, dash * 0.8]);
    }
    on.lineWidth = line;
    on.strokeStyle = colour;
    on.stroke();
  }
  function cross(on, x, y, reach, line, colour) {
    on.beginPath();
    on.moveTo(x - reach, y - reach);
    on.lineTo(x + reach, y + reach);
    on.moveTo(x + reach, y - reach);
    on.lineTo(x - reach, y + reach);
    on.lineWidth = line;
    on.strokeStyle = colour;
    on.stroke();
  }

  // src/panels/agent_table.ts
  var MOST = 200;
  var HOLDERS = ["", "you", "another person"];
  var AgentTable = class {
    constructor(model) {
      this.model = model;
      byId("agents-open", HTMLButtonElement).addEventListener("click", () => this.open());
      byId("agents-close", HTMLButtonElement).addEventListener("click", () => this.dialog.close());
      byId("agents-again", HTMLButtonElement).addEventListener("click", () => this.fill());
      this.filter.addEventListener("input", () => this.fill());
    }
    model;
    dialog = byId("agents", HTMLDialogElement);
    filter = byId("agents-filter", HTMLInputElement);
    open() {
      this.fill();
      this.dialog.showModal();
    }
    fill() {
      const { model } = this;
      const frame = model.current;
      const ids = model.roster?.ids ?? [];
      const wanted = this.filter.value.toLowerCase();
      const found = [];
      let fitting = 0;
      ids.forEach((id, row2) => {
        if (frame === null) return;
        const decider = deciderOf(frame.decider[row2] ?? -1).name;
        const holder = HOLDERS[frame.possessed[row2] ?? 0] ?? "";
        const group2 = model.groupOf(id)?.name ?? "";
        const cells = [group2, decider, model.actionOf(row2), round(frame.reward[row2] ?? 0), this.levels(row2), holder];
        if (!`${id} ${cells.join(" ")}`.toLowerCase().includes(wanted)) return;
        fitting += 1;
        if (fitting > MOST) return;
        const choose = button(id, () => {
          model.select(id);
          this.dialog.close();
        });
        found.push(make("tr", {}, make("th", { scope: "row" }, choose), ...cells.map((cell) => make("td", {}, cell))));
      });
      byId("agents-body", HTMLElement).replaceChildren(...found);
      const cut = fitting > MOST ? `, the first ${MOST} shown` : "";
      say(byId("agents-words", HTMLElement), `${fitting} of ${ids.length} agents at tick ${frame?.tick ?? 0}${cut}`);
    }
    levels(row2) {
      const frame = this.model.current;
      const names = this.model.scene?.bars ?? [];
      if (frame === null) return "";
      return names.map((name, bar) => `${name} ${Math.round((frame.bars[row2 * frame.barsEach + bar] ?? 0) / 255 * 100)} %`).join(", ");
    }
  };

  // src/view/chart.ts
  var PAD = { left: 46, right: 8, top: 6, bottom: 20 };
  var Chart = class {
    constructor(theme, options) {
      this.theme = theme;
      this.options = options;
      const heading = make("h2", {}, options.title, " ", make("small", {}, options.unit));
      this.element = make("figure", { class: "chart" }, make("figcaption", {}, heading, this.readout), this.canvas, this.legend);
      this.entries = new Rows(
        this.legend,
        (one) => one.name,
        (one) => make("li", {}, make("span", { class: "swatch" }), `${one.name} `, make("b")),
        (element, one) => this.showEntry(element, one)
      );
      set(this.canvas, "aria-label", `${options.title}, ${options.unit}`);
      set(this.canvas, "aria-valuemin", 0);
      new ResizeObserver(() => this.later()).observe(this.canvas);
      theme.onChange(() => this.later());
      this.listen();
      this.later();
    }
    theme;
    options;
    element;
    canvas = make("canvas", { tabindex: 0, role: "slider", class: "plot" });
    readout = make("span", { class: "at" });
    legend = make("ul", { class: "legend" });
    entries;
    x = [];
    series = [];
    /** Index of the point under the pointer or the keyboard. */
    cursor = null;
    due = false;
    update(x, series) {
      this.x = x;
      this.series = series;
      if (this.cursor !== null) this.cursor = Math.min(this.cursor, x.length - 1);
      this.later();
    }
    later() {
      if (this.due) return;
      this.due = true;
      requestAnimationFrame(() => {
        this.due = false;
        this.draw();
      });
    }
    showEntry(element, one) {
      const [swatch, value] = [element.querySelector("span"), element.querySelector("b")];
      if (swatch === null || value === null) return;
      swatch.style.borderTopColor = this.theme.colour(one.colour);
      swatch.style.borderTopStyle = one.dash === void 0 || one.dash.length === 0 ? "solid" : one.dash.length > 2 ? "double" : "dashed";
      const found = one.values[this.cursor ?? one.values.length - 1];
      say(value, found === null || found === void 0 ? "–" : this.words(found));
    }
    words(value) {
      return this.options.unit === "%" ? `${round(100 * value)} %` : round(value);
    }
    listen() {
      const { canvas } = this;
      canvas.addEventListener("pointermove", (event) => this.point(this.indexAt(event.offsetX)));
      canvas.addEventListener("pointerleave", () => this.point(null));
      canvas.addEventListener("blur", () => this.point(null));
      canvas.addEventListener("focus", () => this.point(this.x.length - 1));
      canvas.addEventListener("keydown", (event) => {
        const last = this.x.length - 1;
        const at2 = this.cursor ?? last;
        const page = Math.max(1, Math.round(last / 10));
        const goals = {
          ArrowLeft: at2 - 1,
          ArrowRight: at2 + 1,
          PageDown: at2 - page,
          PageUp: at2 + page,
          Home: 0,
          End: last
        };
        const goal = goals[event.key];
        if (goal === void 0) return;
        event.preventDefault();
        this.point(Math.max(0, Math.min(last, goal)));
      });
    }
    point(index) {
      this.cursor = index === null || index < 0 ? null : index;
      this.later();
    }
    indexAt(pixel) {
      const width = this.canvas.clientWidth - PAD.left - PAD.right;
      const [first, last] = [this.x[0] ?? 0, this.x.at(-1) ?? 0];
      const wanted = first + (pixel - PAD.left) / width * (last - first);
      let best = 0;
      this.x.forEach((value, index) => {
        if (Math.abs(value - wanted) < Math.abs(this.x[best] - wanted)) best = index;
      });
      return best;
    }
    draw() {
      const { canvas } = this;
      const pixels = window.devicePixelRatio || 1;
      const [width, height] = [canvas.clientWidth, canvas.clientHeight];
      if (width === 0 || height === 0) return;
      canvas.width = Math.round(width * pixels);
      canvas.height = Math.round(height * pixels);
      const on = canvas.getContext("2d");
      if (on === null) return;
      on.scale(pixels, pixels);
      this.entries.update(this.series);
      const [low, high] = this.range();
      const [inner, tall] = [width - PAD.left - PAD.right, height - PAD.top - PAD.bottom];
      const [first, last] = [this.x[0] ?? 0, this.x.at(-1) ?? 1];
      const atX = (value) => PAD.left + (last > first ? (value - first) / (last - first) : 0.5) * inner;
      const atY = (value) => PAD.top + tall - (value - low) / Math.max(1e-12, high - low) * tall;
      this.axes(on, low, high, first, last, atY, width, height);
      on.save();
      on.beginPath();
      on.rect(PAD.left, PAD.top, inner, tall);
      on.clip();
      if (this.options.kind === "areas") this.areas(on, atX, atY);
      else this.lines(on, atX, atY);
      on.restore();
      this.markCursor(on, atX, tall);
    }
    range() {
      if (this.options.kind === "areas") return [0, 1];
      let [low, high] = [this.options.least ?? Infinity, this.options.most ?? -Infinity];
      for (const one of this.series) {
        for (const value of one.values) {
          if (value === null) continue;
          low = Math.min(low, value);
          high = Math.max(high, value);
        }
      }
      if (!(low <= high)) return [0, 1];
      if (low === high) return [low - Math.max(0.5, Math.abs(low) / 10), high + Math.max(0.5, Math.abs(high) / 10)];
      const room = (high - low) / 20;
      return [this.options.least === low ? low : low - room, high + room];
    }
    axes(on, low, high, first, last, atY, width, height) {
      on.font = "11px system-ui, sans-serif";
      on.lineWidth = 1;
      on.textBaseline = "middle";
      on.textAlign = "right";
      for (const value of steps(low, high)) {
        const y = Math.round(atY(value)) + 0.5;
        on.strokeStyle = this.theme.colour("rule");
        on.beginPath();
        on.moveTo(PAD.left, y);
        on.lineTo(width - PAD.right, y);
        on.stroke();
        on.fillStyle = this.theme.colour("muted");
        on.fillText(this.words(value), PAD.left - 5, y);
      }
      on.textBaseline = "bottom";
      on.textAlign = "left";
      on.fillText(`${this.options.across} ${round(first, 7)}`, PAD.left, height - 2);
      on.textAlign = "right";
      if (last > first) on.fillText(round(last, 7), width - PAD.right, height - 2);
    }
    lines(on, atX, atY) {
      on.lineJoin = "round";
      on.lineWidth = 1.8;
      for (const one of this.series) {
        on.beginPath();
        let pen = false;
        let alone = 0;
        one.values.forEach((value, index) => {
          const x = this.x[index];
          if (value === null || x === void 0) {
            pen = false;
            return;
          }
          if (pen) on.lineTo(atX(x), atY(value));
          else on.moveTo(atX(x), atY(value));
          pen = true;
          alone += 1;
        });
        on.setLineDash(one.dash ?? []);
        on.strokeStyle = this.theme.colour(one.colour);
        on.stroke();
        const only = one.values.findIndex((value) => value !== null);
        if (alone === 1 && this.x[only] !== void 0) {
          on.beginPath();
          on.arc(atX(this.x[only]), atY(one.values[only]), 2.5, 0, 2 * Math.PI);
          on.fillStyle = this.theme.colour(one.colour);
          on.fill();
        }
      }
      on.setLineDash([]);
    }
    areas(on, atX, atY) {
      const below = this.x.map(() => 0);
      for (const one of this.series) {
        const above = below.map((value, index) => value + (one.values[index] ?? 0));
        on.beginPath();
        this.x.forEach((x, index) => on.lineTo(atX(x), atY(above[index])));
        for (let index = this.x.length - 1; index >= 0; index--) on.lineTo(atX(this.x[index]), atY(below[index]));
        on.closePath();
        on.fillStyle = this.theme.colour(one.colour);
        on.fill();
        on.lineWidth = 0.5;
        on.strokeStyle = this.theme.colour("edge");
        on.stroke();
        above.forEach((value, index) => below[index] = value);
      }
    }
    markCursor(on, atX, tall) {
      const index = this.cursor ?? this.x.length - 1;
      const x = this.x[index];
      say(this.readout, x === void 0 ? "" : `${this.options.across} ${round(x, 9)}`);
      set(this.canvas, "aria-valuemax", Math.max(0, this.x.length - 1));
      set(this.canvas, "aria-valuenow", Math.max(0, index));
      const said = this.series.map((one) => `${one.name} ${this.words(one.values[index] ?? 0)}`);
      const words = x === void 0 ? "nothing yet" : `${this.options.across} ${round(x, 9)}: ${said.join(", ")}`;
      if (document.activeElement === this.canvas || !this.canvas.hasAttribute("aria-valuetext")) set(this.canvas, "aria-valuetext", words);
      if (this.cursor === null || x === void 0) return;
      on.beginPath();
      on.moveTo(Math.round(atX(x)) + 0.5, PAD.top);
      on.lineTo(Math.round(atX(x)) + 0.5, PAD.top + tall);
      on.lineWidth = 1;
      on.strokeStyle = this.theme.colour("ink");
      on.stroke();
    }
  };
  function steps(low, high) {
    const rough = (high - low) / 4;
    const power = 10 ** Math.floor(Math.log10(rough));
    const size = [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= rough) ?? rough;
    const found = [];
    for (let index = Math.ceil(low / size); index * size <= high + size * 1e-9; index++) found.push(index * size);
    return found;
  }

  // src/panels/charts.ts
  var POINTS = 600;
  var DASHES = [[], [6, 3], [2, 2], [8, 3, 2, 3], [4, 2], [1, 3]];
  var COLOURS = new Map(DECIDERS.map((decider) => [decider.name, decider.colour]));
  var Charts = class {
    x = [];
    columns = /* @__PURE__ */ new Map();
    shares;
    reward;
    vetoes;
    speed;
    constructor(model, theme) {
      const across = "tick";
      this.shares = new Chart(theme, { title: "Who decides", unit: "%", across, kind: "areas" });
      this.reward = new Chart(theme, { title: "Mean reward", unit: "per agent and tick", across, kind: "lines" });
      this.vetoes = new Chart(theme, { title: "Vetoes", unit: "per tick", across, kind: "lines", least: 0, most: 1 });
      this.speed = new Chart(theme, { title: "Speed", unit: "ticks/s", across, kind: "lines", least: 0 });
      byId("charts", HTMLElement).append(this.shares.element, this.reward.element, this.vetoes.element, this.speed.element);
      model.on("chart", (points) => this.take(points));
      model.on("hello", () => this.forget());
    }
    forget() {
      this.x = [];
      this.columns.clear();
      this.show();
    }
    /** Points that do not come after the last one replace it and all after it: the world went back. */
    take(points) {
      let keep = this.x.length;
      const first = points.ticks[0] ?? Infinity;
      while (keep > 0 && this.x[keep - 1] >= first) keep -= 1;
      this.x.length = keep;
      for (const column of this.columns.values()) column.length = keep;
      this.x.push(...points.ticks);
      this.add("reward", points.mean_reward, keep);
      this.add("speed", points.ticks.map(() => points.ticks_per_s), keep);
      for (const [source, values] of Object.entries(points.shares)) this.add(`share ${source.replaceAll("_", " ")}`, values, keep);
      for (const [reason, values] of Object.entries(points.vetoes)) this.add(`veto ${reason}`, values, keep);
      for (const column of this.columns.values()) while (column.length < this.x.length) column.push(null);
      const over = this.x.length - POINTS;
      if (over > 0) {
        this.x.splice(0, over);
        for (const column of this.columns.values()) column.splice(0, over);
      }
      this.show();
    }
    add(name, values, before) {
      const column = this.columns.get(name) ?? new Array(before).fill(null);
      column.push(...values);
      this.columns.set(name, column);
    }
    named(prefix) {
      const found = [...this.columns].filter(([name]) => name.startsWith(prefix));
      return found.map(([name, values]) => [name.slice(prefix.length), values]);
    }
    show() {
      const shares = this.named("share ");
      this.shares.update(
        this.x,
        shares.map(([name, values], index) => ({ name, values, colour: COLOURS.get(name) ?? `accent${index % 8 + 1}` }))
      );
      this.vetoes.update(
        this.x,
        this.named("veto ").map(([name, values], index) => ({
          name,
          values,
          colour: `accent${index % 8 + 1}`,
          dash: DASHES[index % DASHES.length] ?? []
        }))
      );
      this.reward.update(this.x, [{ name: "mean reward", colour: "accent2", values: this.columns.get("reward") ?? [] }]);
      this.speed.update(this.x, [{ name: "ticks/s", colour: "accent1", values: this.columns.get("speed") ?? [] }]);
    }
  };

  // src/panels/controls.ts
  var [SLOWEST, FASTEST] = [0.1, 1e3];
  var SETTLE_MS = 1200;
  function speedAt(place) {
    const speed = SLOWEST * (FASTEST / SLOWEST) ** (place / 100);
    return Number(speed.toPrecision(2));
  }
  function placeOf(speed) {
    return 100 * Math.log(speed / SLOWEST) / Math.log(FASTEST / SLOWEST);
  }
  var Dial = class {
    constructor(slider, output, words, send) {
      this.slider = slider;
      this.output = output;
      this.words = words;
      slider.addEventListener("input", () => {
        this.movedAt = performance.now();
        this.tell();
        clearTimeout(this.timer);
        this.timer = window.setTimeout(() => send(Number(slider.value)), 80);
      });
      slider.addEventListener("pointerup", () => slider.blur());
    }
    slider;
    output;
    words;
    movedAt = -Infinity;
    timer = 0;
    show(place) {
      if (performance.now() - this.movedAt < SETTLE_MS) return;
      const before = this.slider.value;
      this.slider.value = `${place}`;
      if (before !== this.slider.value || this.output.textContent === "") this.tell();
    }
    /** Show what the server says at once. */
    forget() {
      this.movedAt = -Infinity;
    }
    tell() {
      const words = this.words(Number(this.slider.value));
      say(this.output, words);
      set(this.slider, "aria-valuetext", words);
    }
  };
  var Controls = class {
    constructor(model, desk, possession) {
      this.model = model;
      this.desk = desk;
      this.play.addEventListener("click", () => this.togglePlay());
      byId("step", HTMLButtonElement).addEventListener("click", () => this.step());
      byId("reset", HTMLButtonElement).addEventListener("click", () => void this.reset());
      byId("mark", HTMLButtonElement).addEventListener("click", () => void desk.ask("mark", {}, "This moment is kept."));
      byId("again", HTMLButtonElement).addEventListener("click", () => void desk.ask("again", {}, "Back at the kept moment."));
      const turns = byId("turns", HTMLInputElement);
      turns.addEventListener("change", () => possession.turns = turns.checked);
      const full = byId("full-speed", HTMLInputElement);
      const speed = new Dial(
        byId("speed", HTMLInputElement),
        byId("speed-words", HTMLElement),
        (place2) => full.checked ? "no limit" : `${speedAt(place2)} ticks/s`,
        (place2) => {
          full.checked = false;
          void pace(speedAt(place2));
        }
      );
      const showSpeed = () => {
        const wanted = model.state?.speed;
        if (wanted === void 0) return;
        full.checked = wanted === null;
        if (wanted !== null) speed.show(placeOf(wanted));
        else say(byId("speed-words", HTMLElement), "no limit");
      };
      const pace = async (ticksPerS) => {
        const reply2 = await desk.ask("speed", { ticks_per_s: ticksPerS });
        if (reply2.ok) return;
        speed.forget();
        showSpeed();
      };
      full.addEventListener("change", () => {
        say(byId("speed-words", HTMLElement), full.checked ? "no limit" : `${speedAt(Number(speed.slider.value))} ticks/s`);
        void pace(full.checked ? null : speedAt(Number(speed.slider.value)));
      });
      const ratio = new Dial(
        byId("ratio", HTMLInputElement),
        byId("ratio-words", HTMLElement),
        (place2) => percent(place2 / 100),
        (place2) => void desk.ask("ratio", { value: place2 / 100 })
      );
      const place = new Dial(
        byId("seek", HTMLInputElement),
        byId("seek-words", HTMLElement),
        (tick) => `tick ${tick} of ${model.state?.replay?.last ?? "…"}`,
        (tick) => void desk.ask("seek", { tick })
      );
      model.on("frame", (frame) => {
        this.showPlay(frame.paused);
        if (model.hello?.mode === "replay") place.show(frame.tick);
      });
      model.on("state", (state2) => {
        this.showPlay(state2.paused);
        ratio.show(Math.round(100 * state2.ratio));
        showSpeed();
        this.showKept(state2.kept);
        byId("ratio-part", HTMLElement).hidden = !(model.hello?.can.ratio === true || state2.policy !== null && model.hello?.script === true);
        if (state2.replay !== null) {
          set(place.slider, "min", state2.replay.first);
          set(place.slider, "max", state2.replay.last);
          place.show(model.frame?.tick ?? state2.replay.first);
          say(byId("replay-note", HTMLElement), state2.replay.note === "" ? "" : `In a plain grid: ${state2.replay.note}.`);
        }
      });
      model.on("hello", (hello2) => {
        byId("step", HTMLElement).hidden = !hello2.can.step;
        byId("reset-part", HTMLElement).hidden = !hello2.can.reset;
        byId("going-back", HTMLElement).hidden = !hello2.can.again;
        byId("ratio-part", HTMLElement).hidden = !hello2.can.ratio;
        byId("turns-part", HTMLElement).hidden = !(hello2.can.possess && hello2.can.step);
        byId("seek-part", HTMLElement).hidden = !(hello2.mode === "replay" && hello2.can.seek !== false);
      });
    }
    model;
    desk;
    play = byId("play", HTMLButtonElement);
    togglePlay() {
      const paused = this.model.frame?.paused ?? this.model.state?.paused ?? false;
      void this.desk.ask(paused ? "play" : "pause");
    }
    step() {
      void this.desk.ask("step", { ticks: 1 });
    }
    async reset() {
      const field = byId("seed", HTMLInputElement);
      const seed = field.value === "" ? null : Number(field.value);
      if (seed !== null && !Number.isInteger(seed)) {
        this.desk.announcer.tell("A seed is a whole number.");
        return;
      }
      await this.desk.ask("reset", { seed }, seed === null ? "The world began anew." : `The world began anew from seed ${round(seed, 9)}.`);
    }
    showKept(tick) {
      byId("again", HTMLButtonElement).disabled = tick === null;
      say(byId("kept", HTMLElement), tick === null ? "" : `kept: tick ${tick}`);
    }
    showPlay(paused) {
      say(byId("play-words", HTMLElement), paused ? "Play" : "Pause");
      set(this.play, "data-paused", paused);
    }
  };

  // src/hand/action_pad.ts
  var ActionPad = class {
    constructor(possession) {
      this.possession = possession;
    }
    possession;
    element = make("div", { class: "pad" });
    group = null;
    choices = [];
    rows = [];
    standing = [];
    /** Of each part, the value chosen last. */
    parts = /* @__PURE__ */ new Map();
    sliders = [];
    use(group2) {
      if (group2 === this.group) return;
      this.group = group2;
      this.parts.clear();
      this.element.replaceChildren();
      this.sliders = [];
      this.rows = [];
      if (group2.box !== null) {
        this.makeSliders(group2.box);
        return;
      }
      const keys = this.possession.keysOf(group2);
      this.choices = choicesOf(group2).map((name, index) => {
        const at2 = group2.parts === null ? -1 : name.indexOf("=");
        const part = at2 < 0 ? null : name.slice(0, at2);
        return { index, name, part, label: name, key: keys[index] ?? null };
      });
      for (const [part, values] of Object.entries(group2.parts ?? {})) this.parts.set(part, values[0] ?? "");
      for (const family of familiesOf(this.choices)) {
        const holder = make("div", { class: "actions", role: "group", "aria-label": family.name === "" ? "Actions" : family.name });
        if (family.name !== "") holder.append(make("span", { class: "family", "aria-hidden": true }, family.name));
        const buttons = make("div", { class: "buttons" });
        holder.append(buttons);
        this.element.append(holder);
        const rows = new Rows(
          buttons,
          (choice) => choice.name,
          (choice) => this.makeButton(choice),
          (element, choice) => this.showButton(element, choice)
        );
        this.rows.push({ choices: family.choices, rows });
      }
    }
    /** Show what is legal, and for whom. */
    update(legal, reasons, chosen, held) {
      this.standing = this.choices.map((choice) => ({
        legal: legal?.[choice.index] ?? true,
        reason: reasons[choice.name] ?? "not legal now",
        held,
        now: choice.part === null ? choice.name === chosen : this.parts.get(choice.part) === valueOf(choice)
      }));
      for (const { choices, rows } of this.rows) rows.update(choices);
      for (const slider of this.sliders) slider.disabled = !held;
    }
    /** Do what a key stands for; false: it stands for nothing here. It is repeated until the key is up. */
    press(key) {
      const choice = this.choices.find((one) => one.key === key);
      if (choice === void 0 || this.group?.box !== null) return false;
      this.choose(choice, true);
      return true;
    }
    choose(choice, held) {
      const standing = this.standing[choice.index];
      if (standing?.held === true && !standing.legal) {
        this.possession.refuse(`${choice.name}: ${standing.reason}`);
        return;
      }
      let fed = choice.name;
      if (choice.part !== null) {
        this.parts.set(choice.part, valueOf(choice));
        fed = [...this.parts.values()];
      }
      if (held) this.possession.hold(fed);
      else void this.possession.feed(fed);
    }
    makeButton(choice) {
      const made = button("", () => this.choose(choice, false), { class: "action" });
      const before = choice.name.slice(0, choice.name.length - choice.label.length);
      if (before !== "") made.append(make("span", { class: "unseen" }, before));
      made.append(make("span", {}, choice.label));
      if (choice.key !== null) made.append(make("kbd", { "aria-hidden": true }, SIGNS[choice.key] ?? choice.key.toUpperCase()));
      if (choice.key !== null) set(made, "aria-keyshortcuts", choice.key);
      return made;
    }
    showButton(element, choice) {
      const standing = this.standing[choice.index];
      if (standing === void 0) return;
      const able = standing.legal && standing.held;
      set(element, "aria-disabled", able ? null : "true");
      set(element, "data-illegal", !standing.legal);
      set(element, "data-now", standing.now);
      const reason = !standing.legal ? standing.reason : standing.held ? "" : "take the agent over to choose";
      set(element, "title", reason === "" ? null : reason);
      set(element, "aria-description", reason === "" ? null : reason);
    }
    makeSliders(box) {
      const tell = () => this.possession.holdNumbers(this.sliders.map((one) => Number(one.value)));
      box.low.forEach((low, index) => {
        const high = box.high[index] ?? low;
        const name = box.names[index] ?? `number ${index}`;
        const middle = (low + high) / 2;
        const slider = make("input", { type: "range", min: low, max: high, step: (high - low) / 200, value: middle });
        const shown2 = make("output", {}, round(middle));
        slider.addEventListener("input", () => {
          say(shown2, round(Number(slider.value)));
          tell();
        });
        this.sliders.push(slider);
        this.element.append(make("label", { class: "number" }, make("span", {}, name), slider, shown2));
      });
    }
  };
  function valueOf(choice) {
    return choice.part === null ? choice.name : choice.name.slice(choice.part.length + 1);
  }
  function familiesOf(choices) {
    const stem = (choice) => choice.part ?? choice.name.slice(0, Math.max(0, choice.name.lastIndexOf(":")));
    const counts = /* @__PURE__ */ new Map();
    for (const choice of choices) counts.set(stem(choice), (counts.get(stem(choice)) ?? 0) + 1);
    const families = /* @__PURE__ */ new Map();
    for (const choice of choices) {
      const shared = choice.part !== null || (counts.get(stem(choice)) ?? 0) > 1;
      const name = shared ? stem(choice) : "";
      if (name !== "") choice.label = choice.name.slice(name.length + 1);
      const family = families.get(name) ?? { name, choices: [] };
      family.choices.push(choice);
      families.set(name, family);
    }
    return [...families.values()];
  }

  // src/panels/bars.ts
  var Bars = class {
    element;
    rows;
    /** `signed`: zero is in the middle. */
    constructor(label, signed = false) {
      this.element = make("ul", { class: signed ? "bars signed" : "bars", "aria-label": label });
      this.rows = new Rows(
        this.element,
        (bar) => bar.name,
        () => make(
          "li",
          {},
          make("span", { class: "name" }),
          make("span", { class: "track", "aria-hidden": true }, make("span", { class: "fill" })),
          make("span", { class: "value" })
        ),
        (element, bar) => {
          const [name, track, value] = element.children;
          const fill = track?.firstElementChild;
          if (name === void 0 || value === void 0 || !(fill instanceof HTMLElement)) return;
          say(name, bar.name);
          set(name, "title", bar.name);
          say(value, bar.words);
          const share = Math.max(-1, Math.min(1, bar.share));
          fill.style.width = `${(signed ? 50 : 100) * Math.abs(share)}%`;
          fill.style.marginLeft = signed ? `${share < 0 ? 50 + 50 * share : 50}%` : "0";
          fill.style.backgroundColor = bar.colour === void 0 ? "" : `var(--${bar.colour})`;
        }
      );
    }
    update(bars) {
      this.rows.update(bars);
    }
  };

  // src/panels/strip.ts
  var LANE = 9;
  var REWARD = 30;
  var LEFT = 74;
  var AGAIN_MS = 500;
  var StripView = class {
    /**
     * Args: `ask` fetches the strip of the selected agent; `look` shows a tick of it, null: now.
     */
    constructor(model, theme, ask, look) {
      this.model = model;
      this.theme = theme;
      this.ask = ask;
      this.look = look;
      model.on("selected", (id) => {
        this.strip = null;
        this.back = null;
        this.draw();
        if (id !== null) void this.refresh(true);
      });
      model.on("frame", () => void this.refresh(false));
      this.slider.addEventListener("input", () => this.go(Number(this.slider.value)));
      const point = (event) => {
        if (event.buttons === 0 && event.type !== "pointerdown") return;
        const count = this.strip?.ticks.length ?? 0;
        const width = this.canvas.clientWidth - LEFT;
        this.go(Math.floor((event.offsetX - LEFT) / width * count));
      };
      this.canvas.addEventListener("pointerdown", (event) => {
        this.canvas.setPointerCapture(event.pointerId);
        point(event);
      });
      this.canvas.addEventListener("pointermove", point);
      theme.onChange(() => this.draw());
      new ResizeObserver(() => this.draw()).observe(this.canvas);
    }
    model;
    theme;
    ask;
    look;
    canvas = byId("strip", HTMLCanvasElement);
    slider = byId("strip-slider", HTMLInputElement);
    words = byId("strip-words", HTMLElement);
    strip = null;
    /** Tick that is looked back at; null: now. */
    back = null;
    asked = 0;
    now() {
      this.back = null;
      this.look(null);
      this.draw();
    }
    async refresh(first) {
      const id = this.model.selected;
      const now = performance.now();
      const known = this.strip?.ticks.at(-1) ?? -1;
      if (id === null || !first && (this.canvas.clientWidth === 0 || now - this.asked < AGAIN_MS || known === (this.model.frame?.tick ?? 0))) return;
      this.asked = now;
      const { ticks, decider, action, reward } = await this.ask(id);
      if (id !== this.model.selected || ticks === null || decider === null || action === null || reward === null) return;
      this.strip = { id, ticks, decider, action, reward };
      if (this.back !== null && (this.back < (ticks[0] ?? 0) || this.back > (ticks.at(-1) ?? 0))) this.now();
      else this.draw();
    }
    go(index) {
      const ticks = this.strip?.ticks ?? [];
      const last = ticks.length - 1;
      if (last < 0) return;
      const at2 = Math.max(0, Math.min(last, index));
      this.back = at2 === last ? null : ticks[at2] ?? null;
      this.look(this.back);
      this.draw();
    }
    get index() {
      const ticks = this.strip?.ticks ?? [];
      const found = this.back === null ? -1 : ticks.indexOf(this.back);
      return found < 0 ? ticks.length - 1 : found;
    }
    actionAt(index) {
      const action = this.strip?.action[index];
      if (typeof action !== "number") return Array.isArray(action) ? action.join(", ") : typeof action === "string" ? action : "";
      const group2 = this.strip === null ? null : this.model.groupOf(this.strip.id);
      return group2?.actions[action] ?? "";
    }
    draw() {
      const { canvas, strip } = this;
      const used = [...new Set(strip?.decider ?? [])].sort((one, other) => one - other);
      canvas.style.height = `${Math.max(1, used.length) * LANE + REWARD + 8}px`;
      const [width, height] = [canvas.clientWidth, canvas.clientHeight];
      if (width === 0) return;
      const pixels = window.devicePixelRatio || 1;
      canvas.width = Math.round(width * pixels);
      canvas.height = Math.round(height * pixels);
      const on = canvas.getContext("2d");
      if (on === null) return;
      on.scale(pixels, pixels);
      const count = strip?.ticks.length ?? 0;
      set(this.slider, "max", Math.max(0, count - 1));
      this.slider.disabled = count === 0;
      this.slider.value = `${this.index}`;
      if (strip === null || count === 0) {
        say(this.words, "No tick yet.");
        return;
      }
      const each = (width - LEFT) / count;
      on.font = "10px system-ui, sans-serif";
      on.textBaseline = "middle";
      used.forEach((code, lane) => {
        const y = 2 + lane * LANE;
        on.fillStyle = this.theme.colour("panel");
        on.fillRect(LEFT, y, width - LEFT, LANE - 2);
        on.fillStyle = this.theme.colour("muted");
        on.fillText(DECIDERS[code]?.name ?? "unknown", 0, y + LANE / 2 - 1);
        on.fillStyle = this.theme.colour(deciderOf(code).colour);
        strip.decider.forEach((one, index) => {
          if (one === code) on.fillRect(LEFT + index * each, y, Math.max(1, each + 0.3), LANE - 2);
        });
      });
      this.drawRewards(on, strip, each, used.length * LANE + 6, width);
      const x = LEFT + (this.index + 0.5) * each;
      on.fillStyle = this.theme.colour("ink");
      on.fillRect(Math.min(width - 2, x - 1), 0, 2, height);
      this.sayMoment(strip);
    }
    drawRewards(on, strip, each, top, width) {
      const largest = Math.max(1e-9, ...strip.reward.map((one) => Math.abs(one ?? 0)));
      const middle = top + REWARD / 2;
      on.fillStyle = this.theme.colour("muted");
      on.fillText(`reward ±${round(largest, 2)}`, 0, middle);
      on.fillRect(LEFT, Math.round(middle), width - LEFT, 1);
      strip.reward.forEach((reward, index) => {
        const tall = (reward ?? 0) / largest * (REWARD / 2);
        on.fillStyle = this.theme.colour(tall < 0 ? "alert" : "good");
        on.fillRect(LEFT + index * each, Math.min(middle, middle - tall), Math.max(1, each - 0.3), Math.abs(tall));
      });
    }
    sayMoment(strip) {
      const index = this.index;
      if (this.back === null) {
        say(this.words, `now, after ${strip.ticks.length} ticks`);
        set(this.slider, "aria-valuetext", "now");
        return;
      }
      const did = this.actionAt(index);
      const reward = strip.reward[index];
      const parts = [
        `tick ${strip.ticks[index]}`,
        deciderOf(strip.decider[index] ?? -1).name,
        ...did === "" ? [] : [did],
        ...reward === null || reward === void 0 ? [] : [`reward ${round(reward)}`]
      ];
      const words = parts.join(" · ");
      say(this.words, words);
      set(this.slider, "aria-valuetext", words);
    }
  };

  // src/panels/inspector.ts
  var FIRST = 10;
  var LABELS = ["success", "failure", "discard"];
  var EVERY_MS = 90;
  var Inspector = class {
    constructor(model, theme, desk, possession) {
      this.model = model;
      this.theme = theme;
      this.desk = desk;
      this.possession = possession;
      this.pad = new ActionPad(possession);
      byId("pad-place", HTMLElement).append(this.pad.element);
      byId("sees", HTMLElement).append(this.sees.element);
      byId("proposals", HTMLElement).append(this.proposals.element);
      byId("levels", HTMLElement).append(this.levels.element);
      byId("terms", HTMLElement).append(this.terms.element);
      this.why = new Rows(byId("why", HTMLElement), (line) => line, () => make("li"), say);
      this.arrays = new Rows(byId("arrays", HTMLElement), (line) => line, () => make("li"), say);
      this.strip = new StripView(
        model,
        theme,
        (id) => desk.quietly("strip", { agent: id }),
        (tick) => void this.lookBack(tick)
      );
      this.labels = LABELS.map(
        (value, index) => button(value, () => void this.label(index), { class: "label", "aria-keyshortcuts": index + 1, "aria-pressed": "false" })
      );
      const place = byId("labels", HTMLElement);
      this.labels.forEach((made, index) => {
        made.append(" ", make("kbd", { "aria-hidden": true }, `${index + 1}`));
        place.append(made);
      });
      place.append(button("none", () => void this.label(-1), { class: "label" }));
      byId("take", HTMLButtonElement).addEventListener("click", () => void possession.toggle());
      byId("to-now", HTMLButtonElement).addEventListener("click", () => this.strip.now());
      byId("previous", HTMLButtonElement).addEventListener("click", () => model.selectNext(-1));
      byId("next", HTMLButtonElement).addEventListener("click", () => model.selectNext(1));
      byId("all-seen", HTMLButtonElement).addEventListener("click", () => {
        this.all = !this.all;
        this.show();
      });
      const field = byId("agent-id", HTMLInputElement);
      field.addEventListener("change", () => this.find(field.value.trim()));
      field.addEventListener("keydown", (event) => {
        if (event.key !== "Enter") return;
        this.find(field.value.trim());
        byId("panel-inspector", HTMLElement).focus();
      });
      model.on("selected", (id) => this.choose(id));
      model.on("hello", () => {
        if (model.selected !== null) void desk.quietly("inspect", { agent: model.selected });
      });
      model.on("agent", () => this.soon());
      model.on("frame", () => this.soon());
      model.on("roster", (roster2) => {
        const known = byId("agent-ids", HTMLElement);
        known.replaceChildren(...roster2.ids.slice(0, 2e3).map((id) => make("option", { value: id })));
        this.soon();
      });
      theme.onChange(() => this.soon());
      this.show();
    }
    model;
    theme;
    desk;
    possession;
    pad;
    strip;
    sees = new Bars("What it sees", true);
    proposals = new Bars("Probabilities of the policy");
    levels = new Bars("Levels");
    terms = new Bars("Reward by term", true);
    why;
    arrays;
    labels;
    all = false;
    /** The tick that is looked back at. */
    back = null;
    moment = null;
    shownAt = 0;
    later = 0;
    /** Say of the selected agent's episode, or of all where none is selected, how it went; -1 takes it back. */
    async label(index) {
      const value = LABELS[index] ?? "none";
      const who = this.model.selected;
      await this.desk.ask("label", { agent: who, value }, `${who ?? "All agents"}: this episode is labelled ${value}.`);
    }
    find(id) {
      if (id === "") this.model.select(null);
      else if (this.model.row(id) !== null) this.model.select(id);
      else this.desk.announcer.tell(`There is no agent ${id} here now.`);
    }
    choose(id) {
      this.back = null;
      this.moment = null;
      void this.desk.quietly("inspect", { agent: id });
      this.show();
    }
    async lookBack(tick) {
      if (tick === this.back) return;
      this.back = tick;
      this.moment = null;
      this.soon();
      const id = this.model.selected;
      if (tick === null || id === null) return;
      const { moment } = await this.desk.ask("moment", { agent: id, tick });
      if (moment === null || moment.id !== this.model.selected || moment.tick !== this.back) return;
      this.moment = moment;
      this.soon();
    }
    /** Show it at most eleven times a second: nobody reads faster. */
    soon() {
      if (this.later !== 0) return;
      const wait = Math.max(0, this.shownAt + EVERY_MS - performance.now());
      this.later = window.setTimeout(() => {
        this.later = 0;
        this.show();
      }, wait);
    }
    show() {
      this.shownAt = performance.now();
      const id = this.model.selected;
      byId("no-agent", HTMLElement).hidden = id !== null;
      byId("one-agent", HTMLElement).hidden = id === null;
      const field = byId("agent-id", HTMLInputElement);
      if (document.activeElement !== field) field.value = id ?? "";
      if (id === null) return;
      this.showHands(id);
      const agent2 = this.back === null ? this.model.agent : this.moment;
      set(byId("one-agent", HTMLElement), "data-back", this.back !== null);
      byId("to-now", HTMLElement).hidden = this.back === null;
      if (agent2 === null || agent2.id !== id) return;
      this.showDecision(agent2);
      this.showSeen(agent2);
      this.showProposals(agent2);
      this.showLevels(id);
      const terms = Object.entries(agent2.terms).map(([name, value]) => [name, value ?? 0]);
      const largest = Math.max(1e-9, ...terms.map(([, value]) => Math.abs(value)));
      this.terms.update(
        terms.map(([name, value]) => ({ name, share: value / largest, words: round(value), colour: value < 0 ? "alert" : "good" }))
      );
      byId("terms-part", HTMLElement).hidden = terms.length === 0;
    }
    /** Of now alone: levels of earlier ticks are not kept. */
    showLevels(id) {
      const frame = this.model.current;
      const row2 = this.model.row(id);
      const names = frame === null || row2 === null || this.back !== null ? [] : this.model.scene?.bars ?? [];
      const levels = names.map((name, bar) => {
        const value = (frame?.bars[(row2 ?? 0) * names.length + bar] ?? 0) / 255;
        return { name, share: value, words: percent(value), colour: value < 0.25 ? "alert" : "good" };
      });
      this.levels.update(levels);
      byId("levels-part", HTMLElement).hidden = levels.length === 0;
    }
    showHands(id) {
      const { model } = this;
      const row2 = model.row(id);
      const holder = row2 === null ? 0 : model.current?.possessed[row2] ?? 0;
      const can = model.hello?.can.possess === true;
      byId("hands", HTMLElement).hidden = !can;
      byId("labels-part", HTMLElement).hidden = model.hello?.can.label === false;
      const take2 = byId("take", HTMLButtonElement);
      say(byId("take-words", HTMLElement), holder === 1 ? "Release" : "Take over");
      set(take2, "aria-pressed", holder === 1 ? "true" : "false");
      take2.disabled = row2 === null || holder === 2;
      const lease = (model.agent?.id === id ? model.agent.lease_left : null) ?? this.possession.leaseLeft(id);
      const meter = byId("lease", HTMLElement);
      const words = row2 === null ? "This agent is not here now." : holder === 2 ? "Another person has this agent." : holder === 1 ? `Yours${lease === null ? "" : `, for ${lease} more ticks (renewed by itself)`}` : "";
      say(meter, words);
      const group2 = model.groupOf(id);
      if (group2 === null) return;
      this.pad.use(group2);
      const agent2 = model.agent?.id === id ? model.agent : null;
      this.pad.update(agent2?.legal ?? null, agent2?.why_illegal ?? {}, row2 === null ? null : model.actionOf(row2), holder === 1);
    }
    showDecision(agent2) {
      const { explanation: explanation2 } = agent2;
      const code = this.deciderCode(agent2);
      const decider = deciderOf(code);
      const badge = byId("badge", HTMLCanvasElement);
      const on = badge.getContext("2d");
      if (on !== null) {
        on.clearRect(0, 0, badge.width, badge.height);
        drawBody(on, decider.body, 20, 20, 13, this.theme.colour(decider.colour), this.theme.colour("edge"));
      }
      const did = explanation2?.decided.action ?? "";
      say(byId("decided-by", HTMLElement), decider.name);
      say(byId("decided-what", HTMLElement), did);
      say(byId("decided-when", HTMLElement), `tick ${agent2.tick}`);
      const reward = agent2.reward ?? explanation2?.came.reward ?? null;
      say(byId("decided-reward", HTMLElement), reward === null ? "" : `reward ${round(reward)}`);
      this.why.update([...new Set(explanation2?.decided.why ?? [])]);
      const label = explanation2?.came.episode_label ?? null;
      this.labels.forEach((made, index) => set(made, "aria-pressed", LABELS[index] === label ? "true" : "false"));
    }
    deciderCode(agent2) {
      const row2 = this.model.row(agent2.id);
      const frame = this.model.current;
      if (row2 !== null && frame?.tick === agent2.tick) return frame.decider[row2] ?? -1;
      const { decided } = agent2.explanation ?? {};
      if (decided === void 0) return -1;
      if (decided.veto_reason !== null) return 4;
      return { script: 0, policy: 2, possessor: 3, commitment: 5, only_action: 6 }[decided.by] ?? -1;
    }
    showSeen(agent2) {
      const numbers = agent2.explanation?.saw.numbers ?? [];
      const shown2 = this.all ? numbers : numbers.slice(0, FIRST);
      const largest = Math.max(1e-9, ...numbers.map((one) => Math.abs(one.value)));
      this.sees.update(
        shown2.map((one) => {
          const away = one.deviations;
          const words = away === null ? round(one.value) : `${round(one.value)}  ${away > 0 ? "+" : ""}${away.toFixed(1)} σ`;
          return { name: one.name, share: away === null ? one.value / largest : away / 4, words };
        })
      );
      const more = byId("all-seen", HTMLButtonElement);
      more.hidden = numbers.length <= FIRST;
      say(more, this.all ? "Show fewer" : `Show all ${numbers.length}`);
      this.arrays.update(
        (agent2.explanation?.saw.arrays ?? []).map((one) => `${one.name}: ${one.shape.join(" × ")}, ${one.nonzero} not zero`)
      );
    }
    showProposals(agent2) {
      const { explanation: explanation2 } = agent2;
      const { expert_action: script = null, proposer = null, policy = null, value = null } = explanation2?.proposed ?? {};
      const option = explanation2?.option ?? null;
      const lines = [];
      if (script !== null) lines.push(`Script: ${script}${proposer === null || proposer === "script" ? "" : `, by ${proposer}`}`);
      if (option !== null) lines.push(`Held: ${option.action}, ${option.ticks_left} more ticks`);
      const vetoed = explanation2?.decided.veto_reason ?? null;
      if (vetoed !== null) lines.push(`Vetoed: ${explanation2?.decided.chosen_action ?? "the choice"}, ${vetoed}`);
      if (value !== null) lines.push(`The policy expects ${round(value)} from here`);
      if (lines.length === 0 && policy === null) lines.push("Nothing was proposed.");
      say(byId("proposed", HTMLElement), lines.join("\n"));
      this.proposals.update(
        (policy?.top_actions ?? []).map((one) => ({
          name: one.action,
          share: one.probability,
          words: `${script === one.action ? "◂ script  " : ""}${percent(one.probability)}`,
          colour: "by-learned"
        }))
      );
    }
  };

  // src/panels/legend.ts
  var SIDE = 20;
  function legend(model, theme) {
    const counts = DECIDERS.map(() => make("b"));
    const badges = DECIDERS.map(() => make("canvas", { width: 2 * SIDE, height: 2 * SIDE, "aria-hidden": true }));
    byId("legend", HTMLElement).append(
      ...DECIDERS.map((decider, code) => make("li", { title: decider.meaning }, badges[code], `${decider.name} `, counts[code]))
    );
    const paint = () => badges.forEach((badge, code) => {
      const on = badge.getContext("2d");
      const decider = DECIDERS[code];
      if (on === null || decider === void 0) return;
      on.clearRect(0, 0, badge.width, badge.height);
      drawBody(on, decider.body, SIDE, SIDE, 12, theme.colour(decider.colour), theme.colour("edge"));
    });
    theme.onChange(paint);
    paint();
    return () => {
      const frame = model.current;
      if (frame === null) return;
      const found = DECIDERS.map(() => 0);
      for (const code of frame.decider) if (code < found.length) found[code] += 1;
      counts.forEach((count, code) => say(count, `${found[code]}`));
    };
  }

  // src/panels/people.ts
  function peoplePanel(model) {
    const rows = new Rows(
      byId("people", HTMLElement),
      (person) => person.name,
      () => make("li", {}, make("b"), make("div", { class: "held" })),
      (element, person) => {
        const [name, held] = element.children;
        if (name === void 0 || held === void 0) return;
        say(name, person.name === model.hello?.you ? `${person.name} (you)` : person.name);
        if (held.getAttribute("data-held") === person.agents.join(" ")) return;
        held.setAttribute("data-held", person.agents.join(" "));
        const chips = person.agents.map((id) => button(id, () => model.select(id), { class: "chip" }));
        held.replaceChildren(...chips.length > 0 ? chips : ["watches"]);
      }
    );
    const recording = byId("recording", HTMLElement);
    model.on("state", (state2) => {
      rows.update(state2.people);
      const kept = state2.recording;
      say(
        recording,
        kept === null ? "Nothing is recorded. Begin with --record DIR to keep this sitting." : `${kept.path}: ${kept.episodes} episodes, ${kept.demonstrated_steps} demonstrated steps.`
      );
    });
  }

  // src/panels/tabs.ts
  var Tabs = class {
    tabs;
    constructor(list2) {
      this.tabs = [...list2.querySelectorAll("[role=tab]")];
      for (const tab of this.tabs) {
        tab.addEventListener("click", (event) => {
          this.show(tab.id);
          if (event.detail > 0) this.focusPanel(tab.id);
        });
      }
      list2.addEventListener("keydown", (event) => {
        const open = this.tabs.filter((tab2) => !tab2.hidden);
        const at2 = open.findIndex((tab2) => tab2 === document.activeElement);
        const goals = { ArrowRight: at2 + 1, ArrowLeft: at2 - 1, Home: 0, End: open.length - 1 };
        const goal = goals[event.key];
        if (at2 < 0 || goal === void 0) return;
        event.preventDefault();
        const tab = open[(goal + open.length) % open.length];
        if (tab === void 0) return;
        this.show(tab.id);
        tab.focus();
      });
    }
    show(id) {
      for (const tab of this.tabs) {
        const chosen = tab.id === id;
        set(tab, "aria-selected", chosen ? "true" : "false");
        tab.tabIndex = chosen ? 0 : -1;
        const panel = document.getElementById(tab.getAttribute("aria-controls") ?? "");
        if (panel !== null) panel.hidden = !chosen;
      }
    }
    focusPanel(id) {
      const tab = this.tabs.find((one) => one.id === id);
      document.getElementById(tab?.getAttribute("aria-controls") ?? "")?.focus({ preventScroll: true });
    }
    /** Offer a tab or not; the first one that is offered is shown where the shown one is taken away. */
    offer(id, offered) {
      const tab = this.tabs.find((one) => one.id === id);
      if (tab === void 0) return;
      tab.hidden = !offered;
      const first = this.tabs.find((one) => !one.hidden);
      if (!offered && tab.getAttribute("aria-selected") === "true" && first !== void 0) this.show(first.id);
    }
  };

  // src/panels/teach.ts
  var PHASES = {
    idle: "The last lesson",
    training: "Learning in the background",
    judging: "Being compared with who decides now",
    ready: "Done",
    failed: "It failed; the world goes on"
  };
  var STEPS = ["show", "training", "judging", "ready"];
  function teachPanel(model, desk) {
    const begin = byId("teach-begin", HTMLButtonElement);
    const stop = byId("teach-stop", HTMLButtonElement);
    const results = new Results();
    const method = () => document.querySelector("input[name=teach-method]:checked")?.value ?? "bc";
    begin.addEventListener("click", () => void desk.ask("teach", { method: method() }, "Teaching has begun."));
    stop.addEventListener("click", () => void desk.ask("teach_stop", {}, "Teaching was stopped."));
    const decide = (approve) => {
      const digest = model.state?.teach?.digest ?? null;
      if (digest !== null) void desk.ask("swap", { digest, approve }, approve ? "The new policy takes over." : "The new policy was turned down.");
    };
    byId("swap-yes", HTMLButtonElement).addEventListener("click", () => decide(true));
    byId("swap-no", HTMLButtonElement).addEventListener("click", () => decide(false));
    let before = "idle";
    model.on("state", (state2) => {
      const teach2 = state2.teach;
      const phase = teach2?.phase ?? "idle";
      const busy = phase === "training" || phase === "judging";
      const steps2 = state2.recording?.demonstrated_steps ?? 0;
      say(byId("teach-shown", HTMLElement), shown(state2));
      methods(state2.policy !== null, model.hello?.script ?? false);
      if (busy && document.activeElement === begin) stop.focus();
      begin.disabled = busy || steps2 === 0;
      stop.hidden = !busy;
      say(byId("teach-why", HTMLElement), steps2 === 0 ? "Nobody has shown anything yet: take an agent over and act." : "");
      at(phase === "idle" || phase === "failed" ? "show" : phase);
      byId("teach-lesson", HTMLElement).hidden = teach2 === null || phase === "idle" && teach2.line === null;
      say(byId("teach-phase", HTMLElement), PHASES[phase]);
      const bar = byId("teach-progress", HTMLProgressElement);
      bar.hidden = !busy;
      if (teach2?.progress === null || teach2?.progress === void 0) bar.removeAttribute("value");
      else bar.value = teach2.progress;
      say(byId("teach-line", HTMLElement), teach2?.line ?? "");
      set(byId("teach-line", HTMLElement), "data-failed", phase === "failed");
      if (teach2 !== null) results.show(teach2);
      const waits = phase === "ready" && teach2?.allowed === true && model.hello?.can.swap === true;
      byId("swap", HTMLElement).hidden = !waits;
      say(byId("teach-digest", HTMLElement), teach2?.digest?.slice(0, 8) ?? "");
      if (phase !== before) {
        before = phase;
        if (teach2 !== null) desk.announcer.tell(`Teaching: ${phase === "ready" ? teach2.verdict ?? PHASES.ready : PHASES[phase]}.`);
      }
    });
  }
  function shown(state2) {
    if (state2.recording === null) return "nothing is recorded";
    const { demonstrated_steps: steps2, episodes } = state2.recording;
    return `${steps2.toLocaleString("en")} ${steps2 === 1 ? "step" : "steps"} in ${episodes} ${episodes === 1 ? "episode" : "episodes"}`;
  }
  function methods(hasPolicy, hasScript) {
    const beginning = hasPolicy ? "begins with the present policy" : hasScript ? "begins with a clone of the script" : "there is neither a policy nor a script to begin with";
    say(byId("teach-dagger", HTMLElement), `${beginning}, then learns what you show`);
    say(byId("teach-bc", HTMLElement), hasPolicy ? "the same: there is a policy to begin with" : "begins with nothing: show much, of everything");
    const dagger = document.querySelector("input[name=teach-method][value=dagger]");
    if (dagger === null) return;
    dagger.disabled = !hasPolicy && !hasScript;
    if (dagger.disabled && dagger.checked) document.querySelector("input[name=teach-method][value=bc]")?.click();
  }
  function at(step) {
    const now = STEPS.indexOf(step);
    for (const element of document.querySelectorAll("#teach-steps li")) {
      const place = STEPS.indexOf(element.getAttribute("data-step") ?? "");
      set(element, "aria-current", place === now ? "step" : null);
      set(element, "data-done", place < now);
    }
  }
  var Results = class {
    agreement = new Bars("Agreement with the held-out steps");
    returns = new Bars("Mean returns");
    interval = make("div", { class: "interval", role: "img" }, make("span", { class: "zero" }), make("span", { class: "span" }), make("span", { class: "mean" }));
    words = make("p", { class: "quiet" });
    constructor() {
      byId("teach-agreement", HTMLElement).append(this.agreement.element);
      byId("teach-comparison", HTMLElement).append(this.returns.element, this.interval, this.words);
    }
    show(teach2) {
      const { agreement, comparison, verdict } = teach2;
      byId("teach-agreement", HTMLElement).hidden = agreement === null;
      if (agreement !== null) {
        const held = agreement.held_out_steps;
        say(byId("teach-held", HTMLElement), `share of ${held.toLocaleString("en")} held-out ${held === 1 ? "step" : "steps"}`);
        const { before, after } = agreement;
        const bars = [{ name: "after", share: after, words: percent(after), colour: "by-learned" }];
        if (before !== null) bars.unshift({ name: "before", share: before, words: percent(before), colour: "by-only" });
        this.agreement.update(bars);
      }
      byId("teach-comparison", HTMLElement).hidden = comparison === null;
      if (comparison !== null) {
        say(byId("teach-episodes", HTMLElement), `of ${comparison.episodes} episodes, the same for both`);
        const most = Math.max(Math.abs(comparison.before), Math.abs(comparison.after), 1e-9);
        const length = (value) => Math.abs(value) / most;
        this.returns.update([
          { name: "before", share: length(comparison.before), words: round(comparison.before), colour: "by-only" },
          { name: "after", share: length(comparison.after), words: round(comparison.after), colour: "by-learned" }
        ]);
        this.showInterval(comparison);
      }
      const line = byId("teach-verdict", HTMLElement);
      line.hidden = verdict === null;
      say(line, verdict ?? "");
      set(line, "data-passed", teach2.verdict === null ? null : String(verdict?.startsWith("PROMOTE") ?? false));
    }
    showInterval({ difference, low, high }) {
      const reach = 1.1 * Math.max(Math.abs(low), Math.abs(high), 1e-9);
      const place = (value) => 50 + 50 * value / reach;
      const [, span, mean] = this.interval.children;
      if (!(span instanceof HTMLElement) || !(mean instanceof HTMLElement)) return;
      span.style.left = `${place(low)}%`;
      span.style.width = `${Math.max(0.5, place(high) - place(low))}%`;
      mean.style.left = `${place(difference)}%`;
      const sign = (value) => `${value > 0 ? "+" : ""}${round(value)}`;
      const words = `difference ${sign(difference)}, 95 % interval ${sign(low)} to ${sign(high)}`;
      set(this.interval, "aria-label", words);
      set(this.interval, "data-side", low > 0 ? "better" : high < 0 ? "worse" : "open");
      say(this.words, words);
    }
  };

  // src/panels/training.ts
  var TELLING = [
    ["reward_mean", "Reward per agent and tick"],
    ["ratio", "Policy's share of the decisions"],
    ["batch_entropy_mean", "Entropy of the policy"],
    ["kl_divergence", "Change of the policy (KL divergence)"],
    ["loss_value", "Loss of the values"],
    ["explained_variance", "Variance that the values explain"]
  ];
  var TITLES = new Map(TELLING);
  var AT_ONCE = 8;
  var RETURN = "mean return";
  var STAGES = {
    clone: "The policy learns to do what the script does",
    warmup: "The values are learned; the policy stays as it is",
    anneal: "Script and policy decide together",
    ppo: "The policy decides alone",
    round: "The policy plays, and the script says what it would have done",
    judge: "The result is judged",
    ended: "The run has ended",
    failed: "A gate ended the run",
    stopped: "The run was stopped; it can be gone on with"
  };
  function duration(seconds) {
    const minutes = Math.round(seconds / 60);
    if (minutes >= 60) return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
    return seconds >= 90 ? `${minutes} min` : `${Math.round(seconds)} s`;
  }
  var Training = class {
    constructor(model, theme) {
      this.theme = theme;
      this.returns = new Chart(theme, { title: "Mean return of evaluations", unit: "the policy alone", across: "steps", kind: "lines" });
      byId("returns", HTMLElement).append(this.returns.element);
      model.on("run", (run2) => this.take(run2));
    }
    theme;
    columns = [];
    rows = [];
    charts = /* @__PURE__ */ new Map();
    holder = byId("curves", HTMLElement);
    choice = byId("columns", HTMLElement);
    shown = /* @__PURE__ */ new Set();
    returns;
    /** Whether a person has chosen curves: then no other ones are added. */
    chosen = false;
    take(run2) {
      if (run2.columns.join("\n") !== this.columns.join("\n")) this.begin(run2.columns);
      this.rows.length = Math.min(this.rows.length, run2.from ?? this.rows.length);
      this.rows.push(...run2.rows);
      this.tell(run2);
      this.gates(run2.evaluations);
      this.show();
    }
    tell(run2) {
      const stage = byId("run-stage", HTMLElement);
      say(stage, run2.stage === null ? "The run begins" : STAGES[run2.stage] ?? run2.stage);
      set(stage, "data-stage", run2.stage);
      const steps2 = this.columns[0] === "env_steps" ? this.rows.at(-1)?.[0] : void 0;
      const facts = [
        ["Stage", run2.stage],
        ["Share in training", run2.ratio === null ? null : `${Math.round(100 * run2.ratio)} %`],
        ["Updates", run2.updates.toLocaleString("en")],
        ["Steps of the world", steps2 === void 0 || steps2 === null ? null : steps2.toLocaleString("en")],
        ["Time left", run2.left_s === null ? null : duration(run2.left_s)]
      ];
      const known = facts.filter((fact) => fact[1] !== null);
      byId("run-facts", HTMLElement).replaceChildren(
        ...known.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value)))
      );
    }
    /** The log has got other columns: what is shown stays, as far as it is there. */
    begin(columns) {
      this.columns = columns;
      this.rows = [];
      const numbers = columns.slice(1);
      if (!this.chosen) {
        this.shown.clear();
        for (const [name] of TELLING)
          for (const column of numbers) if (base(column) === name && this.shown.size < AT_ONCE) this.shown.add(column);
      }
      this.choice.replaceChildren(
        ...[...numbers].sort().map((name) => {
          const box = make("input", { type: "checkbox" });
          box.checked = this.shown.has(name);
          box.addEventListener("change", () => {
            this.chosen = true;
            if (box.checked) this.shown.add(name);
            else this.shown.delete(name);
            this.show();
          });
          return make("label", {}, box, ` ${name}`);
        })
      );
    }
    show() {
      const across = this.columns[0] === "env_steps" ? "steps" : "update";
      byId("no-curves", HTMLElement).hidden = this.rows.length > 0;
      byId("choose", HTMLElement).hidden = this.rows.length === 0;
      for (const [name, chart2] of this.charts) {
        if (this.shown.has(name)) continue;
        chart2.element.remove();
        this.charts.delete(name);
      }
      if (this.rows.length === 0) return;
      const x = this.rows.map((row2) => row2[0] ?? 0);
      for (const name of this.shown) {
        const column = this.columns.indexOf(name);
        if (column < 1) continue;
        let chart2 = this.charts.get(name);
        if (chart2 === void 0) {
          const title = TITLES.get(base(name));
          const unit = title === void 0 ? "" : name;
          chart2 = new Chart(this.theme, { title: title ?? name, unit, across, kind: "lines" });
          this.charts.set(name, chart2);
          this.holder.append(chart2.element);
        }
        chart2.update(x, [{ name, colour: "accent2", values: this.rows.map((row2) => row2[column] ?? null) }]);
      }
    }
    gates(evaluations) {
      const returns = evaluations.filter((one) => one.name === RETURN);
      byId("returns", HTMLElement).hidden = returns.length === 0;
      this.returns.update(
        returns.map((one) => one.at),
        [{ name: RETURN, colour: "accent4", values: returns.map((one) => one.value) }]
      );
      byId("gates", HTMLElement).replaceChildren(...[...evaluations].reverse().map(row));
      byId("gates-part", HTMLElement).hidden = evaluations.length === 0;
      say(byId("gates-words", HTMLElement), "the newest first");
    }
  };
  function base(column) {
    return column.replace(/ \(.*\)$/, "");
  }
  function row(one) {
    const isGate = one.value === null;
    const verdict = one.passed === null ? isGate ? "? undecided" : "" : one.passed ? "✓ passed" : "✗ failed";
    const what = make("td", {}, one.name.replaceAll("_", " "));
    if (one.note !== null && one.note !== "") what.append(make("small", {}, one.note));
    const made = make(
      "tr",
      {},
      make("td", {}, one.at.toLocaleString("en")),
      what,
      make("td", {}, one.value === null ? "" : round(one.value)),
      make("td", {}, verdict)
    );
    if (one.passed !== null) made.dataset["passed"] = `${one.passed}`;
    return made;
  }

  // src/shortcuts.ts
  var KEPT = "townlet.shortcuts";
  function listenToKeys(keys) {
    const wanted = byId("single-keys", HTMLInputElement);
    wanted.checked = localStorage.getItem(KEPT) !== "off";
    wanted.addEventListener("change", () => localStorage.setItem(KEPT, wanted.checked ? "on" : "off"));
    document.addEventListener("click", (event) => {
      const target = event.target instanceof Element ? event.target.closest("button, input[type=checkbox]") : null;
      if (event.detail > 0 && target instanceof HTMLElement && target.closest("dialog") === null) target.blur();
    });
    let down = null;
    document.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.altKey || event.metaKey || !wanted.checked) return;
      if (event.repeat || usesKey(event.target, event.key)) return;
      const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
      if (keys.act(key)) {
        down = key;
        event.preventDefault();
        return;
      }
      const command = Object.hasOwn(keys.commands, key) ? keys.commands[key] : void 0;
      if (command === void 0) return;
      event.preventDefault();
      command();
    });
    document.addEventListener("keyup", (event) => {
      const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
      if (key !== down) return;
      down = null;
      keys.rest();
    });
  }

  // src/theme.ts
  var LOOKS = ["auto", "light", "dark"];
  var KEPT2 = "townlet.look";
  var Theme = class {
    found = /* @__PURE__ */ new Map();
    listeners = [];
    probe = document.createElement("span");
    constructor() {
      this.probe.hidden = true;
      document.body.append(this.probe);
      matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.changed());
      const choice = byId("look", HTMLSelectElement);
      const kept = LOOKS.find((look) => look === localStorage.getItem(KEPT2)) ?? "auto";
      choice.value = kept;
      this.use(kept);
      choice.addEventListener("change", () => this.use(LOOKS.find((look) => look === choice.value) ?? "auto"));
    }
    onChange(listener) {
      this.listeners.push(listener);
    }
    /** A colour of the page: a name of style.css such as `ink` or `accent3`, or `#rrggbb` as it is. */
    colour(name) {
      if (/^#[0-9a-f]{6}$/i.test(name)) return name;
      let colour = this.found.get(name);
      if (colour === void 0) {
        this.probe.style.color = "";
        if (/^[a-z0-9-]+$/.test(name)) this.probe.style.color = `var(--${name}, var(--accent1))`;
        colour = getComputedStyle(this.probe).color;
        this.found.set(name, colour);
      }
      return colour;
    }
    use(look) {
      localStorage.setItem(KEPT2, look);
      set(document.documentElement, "data-look", look);
      this.changed();
    }
    changed() {
      this.found.clear();
      for (const listener of this.listeners) listener();
    }
  };

  // src/wire/decode.ts
  var WireError = class extends Error {
  };
  function wrong(where, expected, value) {
    const got = value === null ? "null" : Array.isArray(value) ? "a list" : typeof value;
    throw new WireError(`${where}: expected ${expected}, got ${got}`);
  }
  var text = (value, where) => typeof value === "string" ? value : wrong(where, "text", value);
  var flag = (value, where) => typeof value === "boolean" ? value : wrong(where, "true or false", value);
  var number = (value, where) => typeof value === "number" && Number.isFinite(value) ? value : wrong(where, "a number", value);
  var anything = (value) => value;
  function oneOf(...allowed) {
    return (value, where) => allowed.find((one) => one === value) ?? wrong(where, allowed.join(" or "), value);
  }
  function list(item) {
    return (value, where) => Array.isArray(value) ? value.map((one, index) => item(one, `${where}[${index}]`)) : wrong(where, "a list", value);
  }
  function table(item) {
    return (value, where) => {
      const found = fields(value, where);
      return Object.fromEntries(Object.entries(found).map(([key, one]) => [key, item(one, `${where}.${key}`)]));
    };
  }
  function nullable(item) {
    return (value, where) => value === null ? null : item(value, where);
  }
  function optional(item) {
    return (value, where) => value === null || value === void 0 ? null : item(value, where);
  }
  function record(shape) {
    return (value, where) => {
      const found = fields(value, where);
      const decoded = Object.entries(shape).map(([key, item]) => [key, item(found[key], `${where}.${key}`)]);
      return Object.fromEntries(decoded);
    };
  }
  function fields(value, where) {
    if (typeof value !== "object" || value === null || Array.isArray(value)) wrong(where, "fields", value);
    return value;
  }

  // src/wire/frame.ts
  var UNSAID = 65535;
  var HEADER = 40;
  function decodeBinary(buffer) {
    if (buffer.byteLength < 8) throw new WireError("a binary message is too short");
    const magic = String.fromCharCode(...new Uint8Array(buffer, 0, 4));
    if (magic === "TLP1") {
      return { tick: new DataView(buffer).getUint32(4, true), png: new Blob([new Uint8Array(buffer, 8)], { type: "image/png" }) };
    }
    if (magic !== "TLF1") throw new WireError(`a binary message begins with ${JSON.stringify(magic)}`);
    return decodeFrame(buffer);
  }
  function decodeFrame(buffer) {
    if (buffer.byteLength < HEADER) throw new WireError("a frame is shorter than its header");
    const view = new DataView(buffer);
    const header = (index) => view.getUint32(4 + 4 * index, true);
    const [agents, marks, barsEach] = [header(3), header(4), header(5)];
    let offset = HEADER;
    const take2 = (bytes) => {
      const start2 = offset;
      offset += bytes + 3 & ~3;
      if (offset > buffer.byteLength) throw new WireError(`a frame of ${agents} agents ends too early`);
      return start2;
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
      x: new Float32Array(buffer, take2(4 * agents), agents),
      y: new Float32Array(buffer, take2(4 * agents), agents),
      decider: new Uint8Array(buffer, take2(agents), agents),
      action: new Int16Array(buffer, take2(2 * agents), agents),
      reward: new Float32Array(buffer, take2(4 * agents), agents),
      bars: new Uint8Array(buffer, take2(agents * barsEach), agents * barsEach),
      markCount: new Uint16Array(buffer, take2(2 * marks), marks),
      possessed: new Uint8Array(buffer, take2(agents), agents)
    };
  }

  // src/view/camera.ts
  var MARGIN = 12;
  var CLOSEST = 40;
  var Camera = class {
    /** Canvas pixels of one unit of the scene. */
    scale = 1;
    left = 0;
    top = 0;
    fitted = 1;
    free = false;
    /** Show a scene of this size in this box. A view that somebody chose stays. */
    show(width, height, box) {
      this.fitted = Math.max(1e-6, Math.min((box.width - 2 * MARGIN) / width, (box.height - 2 * MARGIN) / height));
      if (this.free) return;
      this.scale = this.fitted;
      this.left = box.x + (box.width - width * this.scale) / 2;
      this.top = box.y + (box.height - height * this.scale) / 2;
    }
    fit() {
      this.free = false;
    }
    x(value) {
      return this.left + value * this.scale;
    }
    y(value) {
      return this.top + value * this.scale;
    }
    sceneX(pixel) {
      return (pixel - this.left) / this.scale;
    }
    sceneY(pixel) {
      return (pixel - this.top) / this.scale;
    }
    /** Look closer (above 1) or from further away; what is at the pixel stays there. */
    zoom(by, pixelX, pixelY) {
      const [x, y] = [this.sceneX(pixelX), this.sceneY(pixelY)];
      this.scale = Math.min(CLOSEST * this.fitted, Math.max(this.fitted, this.scale * by));
      this.left = pixelX - x * this.scale;
      this.top = pixelY - y * this.scale;
      this.free = this.scale > this.fitted * 1.001;
    }
    move(pixelsX, pixelsY) {
      if (!this.free) return;
      this.left += pixelsX;
      this.top += pixelsY;
    }
    /** Bring a place into the middle of the box if it is outside of it. */
    follow(x, y, box) {
      if (!this.free) return;
      const [px, py] = [this.x(x), this.y(y)];
      const inside = px > box.x + MARGIN && px < box.x + box.width - MARGIN && py > box.y + MARGIN && py < box.y + box.height - MARGIN;
      if (!inside) this.move(box.x + box.width / 2 - px, box.y + box.height / 2 - py);
    }
  };

  // src/view/ground.ts
  var Ground = class {
    constructor(theme) {
      this.theme = theme;
      theme.onChange(() => this.paintCells());
    }
    theme;
    layer = document.createElement("canvas");
    cells = document.createElement("canvas");
    scene = null;
    drawn = "";
    use(scene2) {
      this.scene = scene2;
      this.paintCells();
    }
    /** The layer for a canvas of this size, in device pixels. */
    of(camera, canvas, box, pixels) {
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
    paintCells() {
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
    lines(on, camera, width, height, cell) {
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
    mark(on, mark, camera) {
      const reach = this.scene === null ? 0 : markReach(camera, this.scene);
      const [x, y] = [camera.x(mark.x), camera.y(mark.y)];
      on.beginPath();
      if (mark.shape === "circle") on.arc(x, y, reach, 0, 2 * Math.PI);
      else if (mark.shape === "square") on.roundRect(x - reach, y - reach, 2 * reach, 2 * reach, reach / 4);
      else if (mark.shape === "cross") crossPath(on, x, y, reach);
      else {
        const corners = mark.shape === "triangle" ? 3 : 4;
        for (let corner = 0; corner < corners; corner++) {
          const angle = -Math.PI / 2 + 2 * Math.PI * corner / corners;
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
  };
  function sizeOf(scene2) {
    return [Math.max(1e-6, scene2.size[0] ?? 1), Math.max(1e-6, scene2.size[1] ?? 1)];
  }
  function cellOf(scene2) {
    const [width, height] = sizeOf(scene2);
    if (scene2.cells !== null) return width / Math.max(1, scene2.cells.columns);
    const longer = Math.max(width, height);
    return longer < 8 ? longer / 12 : longer > 200 ? longer / 40 : 1;
  }
  function markReach(camera, scene2) {
    return Math.max(3, camera.scale * cellOf(scene2) * 0.42);
  }
  function crossPath(on, x, y, reach) {
    const thin = reach / 3;
    on.rect(x - thin, y - reach, 2 * thin, 2 * reach);
    on.rect(x - reach, y - thin, 2 * reach, 2 * thin);
  }

  // src/view/motion.ts
  var LONGEST_MS = 250;
  var GOLDEN_ANGLE = Math.PI * (3 - Math.sqrt(5));
  var Motion = class {
    x = new Float32Array();
    y = new Float32Array();
    /** 1 where an agent shares its place with others. */
    crowded = new Uint8Array();
    fromX = new Float32Array();
    fromY = new Float32Array();
    toX = new Float32Array();
    toY = new Float32Array();
    target = null;
    since = 0;
    lasts = 0;
    /**
     * Take a new frame. `cell` is the room that agents in one place have together; who comes from further away than one
     * and a half of it jumps, and all do where not `smooth`.
     */
    take(frame, now, cell, smooth) {
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
        for (let row2 = 0; row2 < frame.agents; row2++) {
          const [oldX, oldY] = [this.x[row2], this.y[row2]];
          if (Math.abs(oldX - startX[row2]) <= far && Math.abs(oldY - startY[row2]) <= far) {
            startX[row2] = oldX;
            startY[row2] = oldY;
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
    place(now) {
      if (this.target === null) return false;
      const done = this.lasts > 0 ? Math.min(1, (now - this.since) / this.lasts) : 1;
      for (let row2 = 0; row2 < this.x.length; row2++) {
        this.x[row2] = this.fromX[row2] + done * (this.toX[row2] - this.fromX[row2]);
        this.y[row2] = this.fromY[row2] + done * (this.toY[row2] - this.fromY[row2]);
      }
      return done < 1;
    }
  };
  function moved(before, frame) {
    return frame.x.some((value, row2) => value !== before.x[row2]) || frame.y.some((value, row2) => value !== before.y[row2]);
  }
  function spread(frame, cell) {
    const crowded = new Uint8Array(frame.agents);
    const [x, y] = [Float32Array.from(frame.x), Float32Array.from(frame.y)];
    const crowds = /* @__PURE__ */ new Map();
    for (let row2 = 0; row2 < frame.agents; row2++) {
      const place = `${x[row2]} ${y[row2]}`;
      const crowd = crowds.get(place);
      if (crowd === void 0) crowds.set(place, [row2]);
      else crowd.push(row2);
    }
    for (const crowd of crowds.values()) {
      if (crowd.length === 1) continue;
      crowd.forEach((row2, index) => {
        crowded[row2] = 1;
        const reach = 0.46 * cell * Math.sqrt((index + 0.5) / crowd.length);
        x[row2] += reach * Math.cos(index * GOLDEN_ANGLE);
        y[row2] += reach * Math.sin(index * GOLDEN_ANGLE);
      });
    }
    return [x, y, crowded];
  }

  // src/view/sprites.ts
  var Sprites = class {
    constructor(theme) {
      this.theme = theme;
      theme.onChange(() => this.made = "");
    }
    theme;
    /** Of one sprite, in device pixels. */
    side = 0;
    atlas = null;
    made = "";
    /** The sprites of bodies with this radius, in a row in the order of the deciders. */
    of(radius, pixels) {
      const wanted = `${radius} ${pixels}`;
      if (wanted === this.made && this.atlas !== null) return this.atlas;
      this.made = wanted;
      this.side = Math.ceil((2 * radius * 1.4 + 4) * pixels);
      const canvas = new OffscreenCanvas(this.side * DECIDERS.length, this.side);
      const on = canvas.getContext("2d");
      if (on === null) throw new Error("this browser draws no canvas");
      on.scale(pixels, pixels);
      const edge = this.theme.colour("edge");
      const middle = this.side / pixels / 2;
      DECIDERS.forEach((decider, code) => {
        const x = code * this.side / pixels + middle;
        drawBody(on, decider.body, x, middle, radius, this.theme.colour(decider.colour), edge);
      });
      this.atlas?.close();
      this.atlas = canvas.transferToImageBitmap();
      return this.atlas;
    }
  };

  // src/view/scene_view.ts
  var RADIUS = { least: 3, most: 16, ofCell: 0.32 };
  var ROOM_FOR_BARS = 7;
  var LOW = 0.25;
  var PICK = 14;
  var MOST_NAMES = 300;
  var CROWDED = 0.75;
  var SceneView = class {
    constructor(model, theme) {
      this.model = model;
      this.theme = theme;
      const on = this.canvas.getContext("2d", { alpha: false });
      if (on === null) throw new Error("this browser draws no canvas");
      this.on = on;
      this.sprites = new Sprites(theme);
      this.ground = new Ground(theme);
      theme.onChange(() => this.stale = true);
      new ResizeObserver(() => this.stale = true).observe(this.canvas);
      model.on("scene", (scene2) => {
        this.ground.use(scene2);
        this.stale = true;
      });
      model.on("frame", (frame) => this.take(frame));
      model.on("picture", (picture) => void this.takePicture(picture));
      model.on("selected", () => {
        this.stale = true;
        this.follow();
      });
      this.listen();
      const draw = (now) => {
        requestAnimationFrame(draw);
        const moving = this.motion.place(now);
        if (this.stale || moving) this.draw();
      };
      requestAnimationFrame(draw);
    }
    model;
    theme;
    canvas = byId("scene", HTMLCanvasElement);
    on;
    camera = new Camera();
    sprites;
    ground;
    motion = new Motion();
    still = matchMedia("(prefers-reduced-motion: reduce)");
    picture = null;
    pictureTick = -1;
    stale = true;
    names = false;
    drawnAt = [];
    drawMs = 0;
    /** Show the names of all agents, or hide them; returns whether they are shown. */
    toggleNames() {
      this.names = !this.names;
      this.stale = true;
      return this.names;
    }
    fit() {
      this.camera.fit();
      this.stale = true;
    }
    zoom(by) {
      this.camera.zoom(by, this.canvas.clientWidth / 2, this.canvas.clientHeight / 2);
      this.stale = true;
    }
    /** Pictures drawn in the last second, and the time that one takes. */
    get pace() {
      const now = performance.now();
      while (this.drawnAt.length > 0 && now - this.drawnAt[0] > 1e3) this.drawnAt.shift();
      return { perSecond: this.drawnAt.length, drawMs: this.drawMs };
    }
    take(frame) {
      const { scene: scene2 } = this.model;
      this.motion.take(frame, performance.now(), scene2 === null ? 1 : cellOf(scene2), !this.still.matches);
      this.stale = true;
      this.follow();
    }
    async takePicture(picture) {
      const bitmap = await createImageBitmap(picture.png);
      if (picture.tick < this.pictureTick && this.pictureTick - picture.tick < 1e3) return;
      this.picture?.close();
      this.picture = bitmap;
      this.pictureTick = picture.tick;
      this.stale = true;
    }
    follow() {
      const row2 = this.model.selected === null ? null : this.model.row(this.model.selected);
      if (row2 !== null && row2 < this.motion.x.length) this.camera.follow(this.motion.x[row2], this.motion.y[row2], this.place());
    }
    /** Where the agents are drawn: below a picture of the world, where there is one. */
    place() {
      const [width, height] = [this.canvas.clientWidth, this.canvas.clientHeight];
      const above = this.picture === null ? 0 : Math.round(height * 0.8);
      return { x: 0, y: above, width, height: height - above };
    }
    draw() {
      const began = performance.now();
      this.stale = false;
      const pixels = window.devicePixelRatio || 1;
      const whole = { x: 0, y: 0, width: this.canvas.clientWidth, height: this.canvas.clientHeight };
      const [wide, high] = [Math.round(whole.width * pixels), Math.round(whole.height * pixels)];
      if (this.canvas.width !== wide || this.canvas.height !== high) {
        this.canvas.width = wide;
        this.canvas.height = high;
      }
      const { on } = this;
      on.setTransform(1, 0, 0, 1, 0, 0);
      on.fillStyle = this.theme.colour("panel");
      on.fillRect(0, 0, wide, high);
      const scene2 = this.model.scene;
      const box = this.place();
      if (scene2 !== null && box.width > 0 && box.height > 0) {
        this.camera.show(...sizeOf(scene2), box);
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
    drawPicture(whole, box) {
      if (this.picture === null) return;
      const { width, height } = this.picture;
      const scale = Math.min(whole.width / width, box.y / height);
      this.on.imageSmoothingEnabled = scale < 1;
      this.on.drawImage(this.picture, (whole.width - width * scale) / 2, (box.y - height * scale) / 2, width * scale, height * scale);
    }
    radius() {
      const scene2 = this.model.scene;
      const size = scene2 === null ? 0 : this.camera.scale * cellOf(scene2) * RADIUS.ofCell;
      return Math.round(2 * Math.min(RADIUS.most, Math.max(RADIUS.least, size))) / 2;
    }
    drawAgents(frame, pixels) {
      const { on, camera, motion } = this;
      const radius = this.radius();
      const atlas = this.sprites.of(radius, pixels);
      const side = this.sprites.side;
      const [wide, high] = [this.canvas.width, this.canvas.height];
      const put = (row2) => {
        const size = motion.crowded[row2] === 1 ? Math.round(side * CROWDED) : side;
        const x = Math.round(camera.x(motion.x[row2]) * pixels - size / 2);
        const y = Math.round(camera.y(motion.y[row2]) * pixels - size / 2);
        if (x < -side || y < -side || x > wide || y > high) return;
        const code = Math.min(frame.decider[row2], DECIDERS.length - 1);
        on.drawImage(atlas, code * side, 0, side, side, x, y, size, size);
      };
      if (radius >= ROOM_FOR_BARS && frame.barsEach > 0) this.drawBars(frame, radius);
      on.setTransform(1, 0, 0, 1, 0, 0);
      for (let row2 = 0; row2 < frame.agents; row2++) put(row2);
      for (let row2 = 0; row2 < frame.agents; row2++) if (frame.possessed[row2] !== 0) put(row2);
      const chosen = this.model.selected === null ? null : this.model.row(this.model.selected);
      if (chosen !== null && chosen < frame.agents) put(chosen);
      on.setTransform(pixels, 0, 0, pixels, 0, 0);
      this.drawHolders(frame, radius);
      this.drawCounts(frame);
      this.drawNames(frame, radius);
    }
    /** Levels below each agent: one path for all plates, one for each level, one for all low ones. */
    drawBars(frame, radius) {
      const { on, camera, motion } = this;
      const { barsEach } = frame;
      const height = Math.max(2, Math.min(3, radius / 4));
      const plate = new Path2D();
      const low = new Path2D();
      const levels = Array.from({ length: barsEach }, () => new Path2D());
      for (let row2 = 0; row2 < frame.agents; row2++) {
        const reach = motion.crowded[row2] === 1 ? Math.round(radius * CROWDED) : radius;
        const width = 2 * reach;
        const x = Math.round(camera.x(motion.x[row2]) - reach);
        const top = Math.round(camera.y(motion.y[row2]) + reach + 2);
        plate.rect(x - 1, top - 1, width + 2, barsEach * (height + 1) + 1);
        levels.forEach((path, bar) => {
          const level = frame.bars[row2 * barsEach + bar] / 255;
          (level < LOW ? low : path).rect(x, top + bar * (height + 1), Math.max(1, width * level), height);
        });
      }
      on.fillStyle = this.theme.colour("plate");
      on.fill(plate);
      levels.forEach((path, bar) => {
        on.fillStyle = this.theme.colour(`bar${bar % 4 + 1}`);
        on.fill(path);
      });
      on.fillStyle = this.theme.colour("alert");
      on.fill(low);
    }
    /** Rings around who is held by a person, and around who is selected. */
    drawHolders(frame, radius) {
      const { on, camera, motion, model } = this;
      const chosen = model.selected === null ? null : model.row(model.selected);
      for (let row2 = 0; row2 < frame.agents; row2++) {
        const holder = frame.possessed[row2];
        if (holder === 0 && row2 !== chosen) continue;
        const [x, y] = [camera.x(motion.x[row2]), camera.y(motion.y[row2])];
        if (holder > 0) {
          on.beginPath();
          on.arc(x, y, radius + 4, 0, 2 * Math.PI);
          on.setLineDash(holder === 1 ? [] : [4, 3]);
          on.lineWidth = 2.5;
          on.strokeStyle = this.theme.colour("by-person");
          on.stroke();
          on.setLineDash([]);
        }
        if (row2 === chosen) this.drawCorners(x, y, radius + (holder > 0 ? 9 : 6));
      }
    }
    drawCorners(x, y, reach) {
      const { on } = this;
      const arm = Math.max(4, reach / 2);
      on.beginPath();
      for (const [sideX, sideY] of [[-1, -1], [1, -1], [1, 1], [-1, 1]]) {
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
    drawCounts(frame) {
      const { on, camera, model } = this;
      const scene2 = model.scene;
      if (scene2 === null || scene2.version !== frame.scene) return;
      const reach = markReach(camera, scene2);
      const named = reach >= 13;
      on.textAlign = "center";
      on.textBaseline = "middle";
      on.font = "11px system-ui, sans-serif";
      scene2.marks.forEach((mark, index) => {
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
    drawNames(frame, radius) {
      const { model, on } = this;
      on.font = "600 12px system-ui, sans-serif";
      on.textAlign = "center";
      on.textBaseline = "middle";
      const chosen = model.selected === null ? null : model.row(model.selected);
      let said = 0;
      for (let row2 = 0; row2 < frame.agents && said < MOST_NAMES; row2++) {
        if (row2 === chosen || !(this.names || frame.possessed[row2] === 1)) continue;
        if (this.nameAgent(row2, radius, "")) said += 1;
      }
      if (chosen !== null && chosen < frame.agents) this.nameAgent(chosen, radius, model.actionOf(chosen));
    }
    /** False: it is outside of the canvas. */
    nameAgent(row2, radius, did) {
      const [width, height] = [this.canvas.clientWidth, this.canvas.clientHeight];
      const [x, y] = [this.camera.x(this.motion.x[row2]), this.camera.y(this.motion.y[row2])];
      if (x < 0 || y < 0 || x > width || y > height) return false;
      const id = this.model.roster?.ids[row2] ?? "";
      const words = did === "" ? id : `${id}: ${did}`;
      const half = this.on.measureText(words).width / 2 + 4;
      this.label(words, Math.max(half, Math.min(width - half, x)), Math.max(10, y - radius - 14));
      return true;
    }
    label(words, x, y) {
      const { on } = this;
      on.lineWidth = 3;
      on.lineJoin = "round";
      on.strokeStyle = this.theme.colour("edge");
      on.strokeText(words, x, y);
      on.fillStyle = this.theme.colour("ink");
      on.fillText(words, x, y);
    }
    listen() {
      const { canvas } = this;
      let from = null;
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
      canvas.addEventListener("pointercancel", () => from = null);
      canvas.addEventListener(
        "wheel",
        (event) => {
          event.preventDefault();
          this.camera.zoom(Math.exp(-event.deltaY / 400), event.offsetX, event.offsetY);
          this.stale = true;
        },
        { passive: false }
      );
    }
    nearest(x, y) {
      let best = null;
      let least = Math.max(PICK, this.radius() + 4) ** 2;
      for (let row2 = 0; row2 < this.motion.x.length; row2++) {
        const away = (this.camera.x(this.motion.x[row2]) - x) ** 2 + (this.camera.y(this.motion.y[row2]) - y) ** 2;
        if (away < least) [best, least] = [row2, away];
      }
      return best === null ? null : this.model.roster?.ids[best] ?? null;
    }
    /** Say in words what the canvas shows. */
    describe(into) {
      const frame = this.model.current;
      if (frame === null) return;
      const counts = DECIDERS.map((decider, code) => ({ name: decider.name, count: frame.decider.filter((one) => one === code).length }));
      const parts = counts.filter((one) => one.count > 0).map((one) => `${one.count} ${one.name}`);
      say(into, `${frame.agents} agents at tick ${frame.tick}: ${parts.join(", ")}.`);
    }
  };

  // src/wire/messages.ts
  var group = record({
    name: text,
    actions: list(text),
    kinds: list(text),
    parts: nullable(table(list(text))),
    box: nullable(record({ names: list(text), low: list(number), high: list(number) })),
    features: list(text),
    reward_terms: list(text),
    veto_reasons: list(text),
    proposers: list(text)
  });
  var hello = record({
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
      label: optional(flag)
    }),
    policy: nullable(text),
    script: flag,
    tick: number
  });
  var SHAPES = ["circle", "square", "diamond", "triangle", "cross"];
  var scene = record({
    version: number,
    size: list(number),
    cells: nullable(
      record({ rows: number, columns: number, codes: text, palette: list(record({ name: text, colour: text })) })
    ),
    marks: list(
      record({
        x: number,
        y: number,
        shape: oneOf(...SHAPES),
        colour: text,
        label: text,
        count: optional(number)
      })
    ),
    bars: optional(list(text))
  });
  var roster = record({ version: number, ids: list(text), groups: list(number) });
  var chart = record({
    ticks: list(number),
    shares: table(list(number)),
    mean_reward: list(nullable(number)),
    vetoes: table(list(number)),
    ticks_per_s: number
  });
  var explanation = record({
    saw: record({
      numbers: list(
        record({ name: text, value: number, mean: optional(number), deviations: optional(number) })
      ),
      arrays: list(record({ name: text, shape: list(number), nonzero: number }))
    }),
    option: nullable(record({ action: text, ticks_left: number, since: nullable(number), proposer: nullable(text) })),
    proposed: record({
      expert_action: nullable(text),
      proposer: nullable(text),
      drawn_action: nullable(text),
      policy_probability: nullable(number),
      behavior_probability: nullable(number),
      value: nullable(number),
      policy: nullable(record({ top_actions: list(record({ action: text, probability: number })) }))
    }),
    decided: record({
      by: text,
      chosen_action: nullable(text),
      action: text,
      source: nullable(text),
      possessed: flag,
      veto_reason: nullable(text),
      why: list(text)
    }),
    came: record({
      reward: nullable(number),
      reward_terms: table(number),
      end: nullable(text),
      episode_label: nullable(text)
    })
  });
  var seen = record({
    id: text,
    tick: number,
    explanation: nullable(explanation),
    legal: nullable(list(flag)),
    why_illegal: optional(table(text)),
    possessed_by: nullable(oneOf("you", "another")),
    lease_left: optional(number),
    reward: nullable(number),
    terms: table(nullable(number))
  });
  var gone = record({ id: text, gone: oneOf(true) });
  var agent = (value, where) => typeof value === "object" && value !== null && "gone" in value ? gone(value, where) : seen(value, where);
  var teach = record({
    phase: oneOf("idle", "training", "judging", "ready", "failed"),
    method: optional(oneOf("bc", "dagger")),
    progress: optional(number),
    line: optional(text),
    steps: optional(number),
    episodes: optional(number),
    agreement: optional(record({ before: optional(number), after: number, held_out_steps: number })),
    comparison: optional(
      record({ before: number, after: number, difference: number, low: number, high: number, episodes: number })
    ),
    verdict: optional(text),
    digest: optional(text),
    /** Whether the registry lets it act. */
    allowed: optional(flag)
  });
  var state = record({
    paused: flag,
    speed: nullable(number),
    ratio: number,
    policy: nullable(text),
    recording: nullable(record({ path: text, episodes: number, demonstrated_steps: number })),
    people: list(record({ name: text, agents: list(text) })),
    teach: nullable(teach),
    kept: optional(number),
    replay: optional(record({ first: number, last: number, note: text }))
  });
  var reply = record({
    to: nullable(number),
    ok: flag,
    error: optional(text),
    /** Of `moment`. */
    moment: optional(seen),
    /** Of `strip`: one entry for each tick. */
    ticks: optional(list(number)),
    decider: optional(list(number)),
    action: optional(list(anything)),
    reward: optional(list(nullable(number)))
  });
  var run = record({
    from: optional(number),
    columns: list(text),
    rows: list(list(nullable(number))),
    updates: number,
    evaluations: list(
      record({ at: number, name: text, value: nullable(number), passed: nullable(flag), note: optional(text) })
    ),
    stage: nullable(text),
    ratio: nullable(number),
    left_s: nullable(number)
  });
  var DECODERS = { hello, scene, roster, chart, agent, state, reply, run };
  function decodeMessage(data) {
    let value;
    try {
      value = JSON.parse(data);
    } catch {
      throw new WireError("a message is no JSON");
    }
    const { type } = record({ type: text })(value, "message");
    if (!Object.hasOwn(DECODERS, type)) return null;
    const decoder = DECODERS[type];
    return { type, body: decoder(value, type) };
  }

  // src/wire/connection.ts
  var PROTOCOL = "townlet.live.v1";
  var TOKEN = "townlet.token";
  var OWNER = "townlet.owner";
  var FIRST_WAIT_MS = 500;
  var LONGEST_WAIT_MS = 1e4;
  var ANSWER_MS = 15e3;
  var TOO_MANY_OR_FORBIDDEN = 1008;
  function keepToken() {
    const address = new URL(location.href);
    const given = address.searchParams.get("token");
    if (given !== null) {
      sessionStorage.setItem(TOKEN, given);
      address.searchParams.delete("token");
      history.replaceState(null, "", address);
    }
    return sessionStorage.getItem(TOKEN);
  }
  function refusal(to, error) {
    return { to, ok: false, error, moment: null, ticks: null, decider: null, action: null, reward: null };
  }
  var Connection = class {
    constructor(token2, receiver) {
      this.token = token2;
      this.receiver = receiver;
      window.addEventListener("online", () => this.comeBack());
      document.addEventListener("visibilitychange", () => {
        if (document.visibilityState === "visible") this.comeBack();
      });
    }
    token;
    receiver;
    socket = null;
    tries = 0;
    retry = 0;
    nextId = 1;
    waiting = /* @__PURE__ */ new Map();
    open() {
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
      socket.addEventListener("message", (event) => this.receive(socket, event.data));
      socket.addEventListener("close", (event) => this.closed(socket, event));
    }
    /** Ask for something; the answer says whether it was done. Without a connection, or after 15 seconds, it was not. */
    send(type, fields2 = {}) {
      const id = this.nextId++;
      if (this.socket?.readyState !== WebSocket.OPEN) {
        return Promise.resolve(refusal(id, "There is no connection."));
      }
      this.socket.send(JSON.stringify({ type, id, ...fields2 }));
      return new Promise((done) => {
        const timer = window.setTimeout(() => this.answer(refusal(id, "No answer came.")), ANSWER_MS);
        this.waiting.set(id, { done, timer });
      });
    }
    comeBack() {
      if (this.retry !== 0) this.open();
    }
    receive(socket, data) {
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
        socket.close(4e3, "malformed message");
        this.forgetWaiting();
        this.receiver.link("broken", error.message);
      }
    }
    answer(reply2) {
      if (reply2.to === null) return;
      const waiting = this.waiting.get(reply2.to);
      if (waiting === void 0) return;
      clearTimeout(waiting.timer);
      this.waiting.delete(reply2.to);
      waiting.done(reply2);
    }
    forgetWaiting() {
      for (const to of [...this.waiting.keys()]) this.answer(refusal(to, "The connection was lost."));
    }
    closed(socket, event) {
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
      this.receiver.link("waiting", `${Math.max(1, Math.round(wait / 1e3))}`);
    }
  };

  // src/main.ts
  var MODES = { live: "live", replay: "replay", training: "training" };
  var LINKS = {
    connecting: "connecting…",
    open: "connected",
    waiting: "no connection",
    refused: "refused",
    broken: "stopped"
  };
  function start(token2) {
    const announcer = new Announcer();
    const model = new Model();
    const theme = new Theme();
    const connection = new Connection(token2, {
      message: (message) => take(model, message),
      binary: (content) => "png" in content ? model.tell("picture", content) : model.tell("frame", content),
      link: (link, detail) => model.tell("link", { link, detail })
    });
    const desk = new Desk(connection, announcer);
    const possession = new Possession(model, desk);
    const view = new SceneView(model, theme);
    const inspector = new Inspector(model, theme, desk, possession);
    const controls = new Controls(model, desk, possession);
    new Charts(model, theme);
    new Training(model, theme);
    new AgentTable(model);
    peoplePanel(model);
    teachPanel(model, desk);
    const tabs = new Tabs(byId("tabs", HTMLElement));
    const countDeciders = legend(model, theme);
    model.on("hello", (hello2) => greet(hello2, tabs));
    model.on("state", (state2) => tellPolicy(state2.policy, model.hello?.mode ?? "live"));
    model.on("selected", (id) => {
      if (id !== null) tabs.show("tab-inspector");
    });
    model.on("link", ({ link, detail }) => {
      say(byId("link", HTMLElement), LINKS[link]);
      set(byId("link", HTMLElement), "data-link", link);
      set(document.body, "data-link", link);
      if (link === "open") announcer.allClear();
      if (link === "waiting") announcer.warn(`There is no connection. The next try is in ${detail} s. If Townlet was started again, open its new address.`, "Try now", () => connection.open());
      if (link === "refused") announcer.warn(`The server closed the connection. ${detail}`, "Connect again", () => connection.open());
      if (link === "broken") announcer.warn(`The server sent what this page does not understand, so it stopped. ${detail}.`, "Connect again", () => connection.open());
    });
    const names = byId("names", HTMLButtonElement);
    names.addEventListener("click", () => set(names, "aria-pressed", view.toggleNames() ? "true" : "false"));
    byId("fit", HTMLButtonElement).addEventListener("click", () => view.fit());
    byId("closer", HTMLButtonElement).addEventListener("click", () => view.zoom(1.5));
    byId("further", HTMLButtonElement).addEventListener("click", () => view.zoom(1 / 1.5));
    const help = byId("help", HTMLDialogElement);
    byId("help-open", HTMLButtonElement).addEventListener("click", () => help.showModal());
    byId("help-close", HTMLButtonElement).addEventListener("click", () => help.close());
    const act = (key) => possession.holds(model.selected) && inspector.pad.press(key);
    new Pad(model, possession, act);
    listenToKeys({
      act,
      rest: () => possession.rest(),
      commands: {
        " ": () => controls.togglePlay(),
        n: () => controls.step(),
        t: () => void possession.toggle(),
        i: () => openInspector(tabs),
        "[": () => model.selectNext(-1),
        "]": () => model.selectNext(1),
        "1": () => void inspector.label(0),
        "2": () => void inspector.label(1),
        "3": () => void inspector.label(2),
        "+": () => view.zoom(1.5),
        "-": () => view.zoom(1 / 1.5),
        f: () => view.fit(),
        l: () => names.click(),
        "?": () => help.showModal(),
        Escape: () => model.select(null)
      }
    });
    window.setInterval(() => {
      countDeciders();
      view.describe(byId("scene-words", HTMLElement));
      const { perSecond, drawMs } = view.pace;
      const frame = model.frame;
      if (frame === null) return;
      say(byId("pace", HTMLElement), `${round(frame.ticksPerS)} ticks/s · ${perSecond} frames/s · ${drawMs.toFixed(1)} ms each · ${frame.agents} ${frame.agents === 1 ? "agent" : "agents"}`);
    }, 500);
    model.on("frame", (frame) => say(byId("tick", HTMLElement), `tick ${frame.tick}`));
    connection.open();
  }
  function take(model, message) {
    if (message.type !== "reply") model.tell(message.type, message.body);
  }
  function greet(hello2, tabs) {
    document.title = `${hello2.world} – Townlet ${MODES[hello2.mode]}`;
    say(byId("world", HTMLElement), hello2.world);
    say(byId("mode", HTMLElement), MODES[hello2.mode]);
    tellPolicy(hello2.policy, hello2.mode);
    set(document.body, "data-mode", hello2.mode);
    tabs.offer("tab-training", hello2.mode === "training");
    tabs.offer("tab-people", hello2.mode === "live");
    tabs.offer("tab-teach", hello2.can.teach);
    if (hello2.mode === "training") tabs.show("tab-training");
  }
  function tellPolicy(digest, mode) {
    const none = mode === "training" ? "the policy of now" : "no learned policy";
    say(byId("policy", HTMLElement), digest === null ? none : `policy ${digest.slice(0, 8)}`);
  }
  function openInspector(tabs) {
    tabs.show("tab-inspector");
    tabs.focusPanel("tab-inspector");
  }
  var token = keepToken();
  if (token === null) {
    new Announcer().warn("This address has no token. Open the whole address that `townlet live` wrote in its terminal.");
  } else {
    start(token);
  }
})();
