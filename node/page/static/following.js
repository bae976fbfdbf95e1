// Follows one training from this page: stages, losses, verdicts; closing the page stops it after a checkpoint.
import { announce, ask, refresh, say, size, stream, tell } from "./rpc.js";
import { LineChart } from "./chart.js";

let running = null;

export const busy = () => running !== null;

// Runs `prepare(run)`, which gives the path and body of the request, and shows what the stream says. `form` is
// hidden meanwhile.
export async function follow(name, prepare, form = null) {
  if (running !== null) return;
  const run = new Run(document.getElementById("running"), name, form);
  running = run;
  try {
    await run.go(prepare);
  } finally {
    running = null;
  }
}

export function length(seconds) {
  const whole = Math.round(seconds);
  if (whole < 60) return say("time.seconds", { n: whole });
  if (whole < 3600) return say("time.minutes", { m: Math.floor(whole / 60), s: whole % 60 });
  return say("time.hours", { h: Math.floor(whole / 3600), m: Math.floor((whole % 3600) / 60) });
}

export function stageName(stage) {
  return say.has(`stage.${stage}`) ? say("stage." + stage) : stage;
}

export function stepLine({ stage, step, steps }) {
  const name = stageName(stage);
  return steps ? say("train.step", { stage: name, step, steps }) : name;
}

class Run {
  constructor(panel, name, form) {
    const find = (key) => panel.querySelector(`[data-${key}]`);
    this.panel = panel;
    this.form = form;
    this.name = name;
    this.part = Object.fromEntries(
      ["name", "line", "left", "stay", "problem", "stop", "open", "chart", "verdicts"].map((key) => [key, find(key)]),
    );
    this.bar = panel.querySelector("progress");
    this.faults = JSON.parse(panel.dataset.faults);
    this.chart = new LineChart(this.part.chart);
    this.abort = new AbortController();
    this.training = "";
    this.stage = "";
    this.asked = false; // Whether the reader asked to stop.
    this.guard = (event) => event.preventDefault();
  }

  get signal() {
    return this.abort.signal;
  }

  async go(prepare) {
    this.shown(true);
    const stop = () => this.halt();
    this.part.stop.addEventListener("click", stop);
    try {
      const [path, body] = await prepare(this);
      this.line(say("train.starting"));
      for await (const event of stream("POST", path, body, this.signal)) {
        if (event.event === "progress") this.progress(event);
        if (event.event === "result") this.done(event);
      }
    } catch (error) {
      this.failed(error);
    } finally {
      this.part.stop.removeEventListener("click", stop);
      window.removeEventListener("beforeunload", this.guard);
      this.part.stay.hidden = this.part.stop.hidden = true;
      await refresh("trainings", "drafts");
    }
  }

  shown() {
    window.addEventListener("beforeunload", this.guard);
    this.panel.hidden = false;
    if (this.form !== null) this.form.hidden = true;
    this.part.name.textContent = this.name;
    this.part.stay.hidden = this.part.stop.hidden = false;
    this.part.stop.disabled = false;
    this.part.open.hidden = this.part.verdicts.hidden = true;
    this.bar.hidden = false;
    this.bar.removeAttribute("value");
    this.part.left.textContent = "";
    this.chart.clear();
    tell(this.part.problem);
    document.getElementById("running-title").focus();
  }

  line(text) {
    this.part.line.textContent = text;
  }

  sending(have, total) {
    this.bar.value = (100 * have) / total;
    this.line(say("train.sending", { have: size(have), total: size(total) }));
  }

  progress(event) {
    this.training = event.training ?? this.training;
    if (event.clips) return this.verdicts(event.clips);
    if (event.stage !== this.stage) {
      this.stage = event.stage;
      announce(stageName(event.stage));
    }
    this.line(stepLine(event));
    if (event.steps) this.bar.value = (100 * event.step) / event.steps;
    else this.bar.removeAttribute("value");
    const told = [];
    if (event.seconds_left) told.push(say("train.left", { time: length(event.seconds_left) }));
    if (event.held_out !== null && event.held_out !== undefined) {
      this.chart.add(stageName(event.stage), event.step, event.held_out);
    }
    this.part.left.textContent = told.join(" ");
  }

  async halt() {
    this.asked = true;
    this.part.stop.disabled = true;
    this.line(say("train.stopping"));
    announce(say("train.stopping"));
    // Before it has a name there is nothing to be kept: the request is given up.
    if (!this.training) this.abort.abort();
    else await ask("POST", `v1/trainings/${encodeURIComponent(this.training)}/stop`, {}).catch(() => {});
  }

  failed(error) {
    this.bar.hidden = true;
    this.part.left.textContent = "";
    this.line("");
    if (this.asked) this.line(say("train.stopped"));
    else tell(this.part.problem, error);
    announce(this.asked ? say("train.stopped") : this.part.problem.textContent);
    if (this.form !== null) this.form.hidden = false;
  }

  done(result) {
    this.bar.hidden = true;
    this.line(say("train.done"));
    announce(say("train.done"));
    this.part.left.textContent = "";
    this.part.open.href = `draft/${encodeURIComponent(result.draft)}`;
    this.part.open.hidden = false;
    this.part.open.focus();
    this.looks(result.report?.stages ?? {});
    if (result.report?.clips) this.verdicts(result.report.clips);
    if (this.form !== null) this.form.hidden = false;
  }

  // Every look at held-out speech, as the report has them: events may have been thinned out on their way.
  looks(stages) {
    this.chart.clear();
    for (const [stage, { steps, first, best, curve = [] }] of Object.entries(stages)) {
      const points = curve.filter((row) => Number.isFinite(row.held_out)).map((row) => [row.step, row.held_out]);
      if (Number.isFinite(first)) points.unshift([0, first]);
      if (points.length === 1 && Number.isFinite(best)) points.push([Math.max(steps, 1), best]);
      for (const [step, value] of points) this.chart.add(stageName(stage), step, value);
    }
  }

  verdicts(clips) {
    this.part.verdicts.hidden = false;
    this.part.verdicts.querySelector("tbody").replaceChildren(...clips.map((clip) => this.row(clip)));
  }

  row(clip) {
    const row = document.createElement("tr");
    const cell = (kind, ...content) => {
      const one = document.createElement(kind);
      one.append(...content);
      row.append(one);
      return one;
    };
    cell("th", clip.name).scope = "row";
    cell("td", length(clip.seconds)).className = "numbers";
    cell("td", length(clip.used_seconds)).className = "numbers";
    const refused = clip.faults.some((fault) => fault.refuses && !fault.piece);
    const verdict = refused ? "out" : !clip.used_seconds ? "unused" : clip.faults.length ? "noted" : "good";
    const why = clip.faults.map((fault) => {
      const line = document.createElement("span");
      line.className = "fault";
      line.textContent = [this.faults[fault.code]?.[0] ?? fault.code, fault.piece].filter(Boolean).join(" · ");
      const detail = document.createElement("span");
      detail.className = "soft";
      detail.lang = "en";
      detail.textContent = fault.message;
      line.append(detail);
      return line;
    });
    cell("td", say("verdict." + verdict), ...why).className = `verdict-${verdict}`;
    const fixes = new Set(clip.faults.map((fault) => this.faults[fault.code]?.[1] ?? fault.hint));
    cell("td", ...[...fixes].filter(Boolean).map((text) => Object.assign(document.createElement("span"), { className: "fault", textContent: text })));
    return row;
  }
}
