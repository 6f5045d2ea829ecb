// The page of `townlet live`: everything is made here and listens to the model.

import { Announcer, Desk } from "./announce";
import { byId, round, say, set } from "./dom";
import { Pad } from "./hand/gamepad";
import { Possession } from "./hand/possession";
import { Model } from "./model";
import { AgentTable } from "./panels/agent_table";
import { Charts } from "./panels/charts";
import { Controls } from "./panels/controls";
import { Inspector } from "./panels/inspector";
import { legend } from "./panels/legend";
import { peoplePanel } from "./panels/people";
import { Tabs } from "./panels/tabs";
import { teachPanel } from "./panels/teach";
import { Training } from "./panels/training";
import { listenToKeys } from "./shortcuts";
import { Theme } from "./theme";
import { SceneView } from "./view/scene_view";
import type { Link } from "./wire/connection";
import { Connection, keepToken } from "./wire/connection";
import type { Frame, Picture } from "./wire/frame";
import type { Hello, Message } from "./wire/messages";

const MODES: Record<Hello["mode"], string> = { live: "live", replay: "replay", training: "training" };
const LINKS: Record<Link, string> = {
  connecting: "connecting…",
  open: "connected",
  waiting: "no connection",
  refused: "refused",
  broken: "stopped",
};

function start(token: string): void {
  const announcer = new Announcer();
  const model = new Model();
  const theme = new Theme();
  const connection = new Connection(token, {
    message: (message: Message) => take(model, message),
    binary: (content: Frame | Picture) => ("png" in content ? model.tell("picture", content) : model.tell("frame", content)),
    link: (link, detail) => model.tell("link", { link, detail }),
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

  model.on("hello", (hello) => greet(hello, tabs));
  model.on("state", (state) => tellPolicy(state.policy, model.hello?.mode ?? "live"));
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

  const act = (key: string): boolean => possession.holds(model.selected) && inspector.pad.press(key);
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
      Escape: () => model.select(null),
    },
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

function take(model: Model, message: Message): void {
  if (message.type !== "reply") model.tell(message.type, message.body as never);
}

function greet(hello: Hello, tabs: Tabs): void {
  document.title = `${hello.world} – Townlet ${MODES[hello.mode]}`;
  say(byId("world", HTMLElement), hello.world);
  say(byId("mode", HTMLElement), MODES[hello.mode]);
  tellPolicy(hello.policy, hello.mode);
  set(document.body, "data-mode", hello.mode);
  tabs.offer("tab-training", hello.mode === "training");
  tabs.offer("tab-people", hello.mode === "live");
  tabs.offer("tab-teach", hello.can.teach);
  if (hello.mode === "training") tabs.show("tab-training");
}

function tellPolicy(digest: string | null, mode: Hello["mode"]): void {
  const none = mode === "training" ? "the policy of now" : "no learned policy";
  say(byId("policy", HTMLElement), digest === null ? none : `policy ${digest.slice(0, 8)}`);
}

function openInspector(tabs: Tabs): void {
  tabs.show("tab-inspector");
  tabs.focusPanel("tab-inspector");
}

const token = keepToken();
if (token === null) {
  new Announcer().warn("This address has no token. Open the whole address that `townlet live` wrote in its terminal.");
} else {
  start(token);
}
