// Learning from what was shown: begin, watch it go, see what came, and let it take over or not.

import type { Desk } from "../announce";
import { byId, make, percent, round, say, set } from "../dom";
import type { Model } from "../model";
import type { State, Teach } from "../wire/messages";
import { Bars } from "./bars";

const PHASES: Record<Teach["phase"], string> = {
  idle: "The last lesson",
  training: "Learning in the background",
  judging: "Being compared with who decides now",
  ready: "Done",
  failed: "It failed; the world goes on",
};
const STEPS = ["show", "training", "judging", "ready"];

export function teachPanel(model: Model, desk: Desk): void {
  const begin = byId("teach-begin", HTMLButtonElement);
  const stop = byId("teach-stop", HTMLButtonElement);
  const results = new Results();
  const method = (): string => document.querySelector<HTMLInputElement>("input[name=teach-method]:checked")?.value ?? "bc";
  begin.addEventListener("click", () => void desk.ask("teach", { method: method() }, "Teaching has begun."));
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
    say(byId("teach-shown", HTMLElement), shown(state));
    methods(state.policy !== null, model.hello?.script ?? false);
    // Where the focus is on a button that goes, it stays in its row.
    if (busy && document.activeElement === begin) stop.focus();
    begin.disabled = busy || steps === 0;
    stop.hidden = !busy;
    say(byId("teach-why", HTMLElement), steps === 0 ? "Nobody has shown anything yet: take an agent over and act." : "");
    at(phase === "idle" || phase === "failed" ? "show" : phase);
    byId("teach-lesson", HTMLElement).hidden = teach === null || (phase === "idle" && teach.line === null);
    say(byId("teach-phase", HTMLElement), PHASES[phase]);
    const bar = byId("teach-progress", HTMLProgressElement);
    bar.hidden = !busy;
    if (teach?.progress === null || teach?.progress === undefined) bar.removeAttribute("value");
    else bar.value = teach.progress;
    say(byId("teach-line", HTMLElement), teach?.line ?? "");
    set(byId("teach-line", HTMLElement), "data-failed", phase === "failed");
    if (teach !== null) results.show(teach);
    const waits = phase === "ready" && teach?.allowed === true && model.hello?.can.swap === true;
    byId("swap", HTMLElement).hidden = !waits;
    say(byId("teach-digest", HTMLElement), teach?.digest?.slice(0, 8) ?? "");
    if (phase !== before) {
      before = phase;
      if (teach !== null) desk.announcer.tell(`Teaching: ${phase === "ready" ? (teach.verdict ?? PHASES.ready) : PHASES[phase]}.`);
    }
  });
}

function shown(state: State): string {
  if (state.recording === null) return "nothing is recorded";
  const { demonstrated_steps: steps, episodes } = state.recording;
  return `${steps.toLocaleString("en")} ${steps === 1 ? "step" : "steps"} in ${episodes} ${episodes === 1 ? "episode" : "episodes"}`;
}

/** Say what each method begins with, and offer the one that has something to begin with. */
function methods(hasPolicy: boolean, hasScript: boolean): void {
  const beginning = hasPolicy ? "begins with the present policy" : hasScript ? "begins with a clone of the script" : "there is neither a policy nor a script to begin with";
  say(byId("teach-dagger", HTMLElement), `${beginning}, then learns what you show`);
  say(byId("teach-bc", HTMLElement), hasPolicy ? "the same: there is a policy to begin with" : "begins with nothing: show much, of everything");
  const dagger = document.querySelector<HTMLInputElement>("input[name=teach-method][value=dagger]");
  if (dagger === null) return;
  dagger.disabled = !hasPolicy && !hasScript;
  if (dagger.disabled && dagger.checked) document.querySelector<HTMLInputElement>("input[name=teach-method][value=bc]")?.click();
}

function at(step: string): void {
  const now = STEPS.indexOf(step);
  for (const element of document.querySelectorAll("#teach-steps li")) {
    const place = STEPS.indexOf(element.getAttribute("data-step") ?? "");
    set(element, "aria-current", place === now ? "step" : null);
    set(element, "data-done", place < now);
  }
}

/** What came of a lesson: agreement, returns, the difference with its interval, and what the registry says. */
class Results {
  private readonly agreement = new Bars("Agreement with the held-out steps");
  private readonly returns = new Bars("Mean returns");
  private readonly interval = make("div", { class: "interval", role: "img" }, make("span", { class: "zero" }), make("span", { class: "span" }), make("span", { class: "mean" }));
  private readonly words = make("p", { class: "quiet" });

  constructor() {
    byId("teach-agreement", HTMLElement).append(this.agreement.element);
    byId("teach-comparison", HTMLElement).append(this.returns.element, this.interval, this.words);
  }

  show(teach: Teach): void {
    const { agreement, comparison, verdict } = teach;
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
      const length = (value: number): number => Math.abs(value) / most;
      this.returns.update([
        { name: "before", share: length(comparison.before), words: round(comparison.before), colour: "by-only" },
        { name: "after", share: length(comparison.after), words: round(comparison.after), colour: "by-learned" },
      ]);
      this.showInterval(comparison);
    }
    const line = byId("teach-verdict", HTMLElement);
    line.hidden = verdict === null;
    say(line, verdict ?? "");
    set(line, "data-passed", teach.verdict === null ? null : String(verdict?.startsWith("PROMOTE") ?? false));
  }

  private showInterval({ difference, low, high }: NonNullable<Teach["comparison"]>): void {
    const reach = 1.1 * Math.max(Math.abs(low), Math.abs(high), 1e-9);
    const place = (value: number): number => 50 + (50 * value) / reach;
    const [, span, mean] = this.interval.children;
    if (!(span instanceof HTMLElement) || !(mean instanceof HTMLElement)) return;
    span.style.left = `${place(low)}%`;
    span.style.width = `${Math.max(0.5, place(high) - place(low))}%`;
    mean.style.left = `${place(difference)}%`;
    const sign = (value: number): string => `${value > 0 ? "+" : ""}${round(value)}`;
    const words = `difference ${sign(difference)}, 95 % interval ${sign(low)} to ${sign(high)}`;
    set(this.interval, "aria-label", words);
    set(this.interval, "data-side", low > 0 ? "better" : high < 0 ? "worse" : "open");
    say(this.words, words);
  }
}
