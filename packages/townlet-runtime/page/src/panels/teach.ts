// Learning from what was shown: begin, watch it go, see what came, and let it take over or not.

import type { Desk } from "../announce";
import { byId, make, percent, round, say } from "../dom";
import type { Model } from "../model";
import type { Teach } from "../wire/messages";

const PHASES: Record<Teach["phase"], string> = {
  idle: "Not begun",
  training: "Training in the background",
  judging: "Being compared with the present policy",
  ready: "Waiting for your decision",
  failed: "Failed",
};

export function teachPanel(model: Model, desk: Desk): void {
  const begin = byId("teach-begin", HTMLButtonElement);
  const stop = byId("teach-stop", HTMLButtonElement);
  const method = byId("teach-method", HTMLSelectElement);
  begin.addEventListener("click", () => void desk.ask("teach", { method: method.value }, "Teaching has begun."));
  stop.addEventListener("click", () => void desk.ask("teach_stop", {}, "Teaching was stopped."));
  const decide = (approve: boolean): void => {
    const digest = model.state?.teach?.digest ?? null;
    if (digest !== null) void desk.ask("swap", { digest, approve }, approve ? "The new policy takes over." : "The new policy was turned down.");
  };
  byId("swap-yes", HTMLButtonElement).addEventListener("click", () => decide(true));
  byId("swap-no", HTMLButtonElement).addEventListener("click", () => decide(false));
  let before: Teach["phase"] = "idle";
  model.on("state", (state) => {
    const teach = state.teach;
    const phase = teach?.phase ?? "idle";
    const busy = phase === "training" || phase === "judging";
    const steps = state.recording?.demonstrated_steps ?? 0;
    say(
      byId("teach-steps", HTMLElement),
      state.recording === null ? "Nothing is recorded, so nothing can be learned from." : `${steps} demonstrated steps in this sitting.`,
    );
    begin.disabled = busy || steps === 0;
    stop.disabled = !busy;
    say(byId("teach-phase", HTMLElement), PHASES[phase]);
    const bar = byId("teach-progress", HTMLProgressElement);
    bar.hidden = !busy;
    if (teach?.progress === null || teach?.progress === undefined) bar.removeAttribute("value");
    else bar.value = teach.progress;
    say(byId("teach-line", HTMLElement), teach?.line ?? "");
    const results = byId("teach-results", HTMLElement);
    results.replaceChildren(...(teach === null ? [] : facts(teach)));
    byId("swap", HTMLElement).hidden = !(phase === "ready" && (teach?.digest ?? null) !== null && model.hello?.can.swap === true);
    if (phase !== before) {
      before = phase;
      if (teach !== null) desk.announcer.tell(`Teaching: ${PHASES[phase]}.`);
    }
  });
}

function facts(teach: Teach): HTMLElement[] {
  const found: [string, string][] = [];
  const { agreement, comparison } = teach;
  if (agreement !== null) {
    const was = agreement.before === null ? "" : `, before ${percent(agreement.before)}`;
    found.push(["Held-out agreement", `${percent(agreement.after)}${was} (${agreement.held_out_steps} steps)`]);
  }
  if (comparison !== null) {
    found.push(["Return", `${round(comparison.after)}, before ${round(comparison.before)}`]);
    const { difference, low, high, episodes } = comparison;
    found.push(["Paired difference", `${round(difference)} [${round(low)}, ${round(high)}] over ${episodes} episodes`]);
  }
  if (teach.verdict !== null) found.push(["The gates say", teach.verdict]);
  if (teach.digest !== null) found.push(["Policy", teach.digest.slice(0, 12)]);
  return found.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value)));
}
