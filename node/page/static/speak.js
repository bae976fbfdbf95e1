// The speak box: a text becomes a sound with its waveform and facts; the last few of this visit stay at hand.
import { announce, ask, say, tell } from "./rpc.js";
import { playerOf } from "./player.js";

const KEPT = 5; // Utterances that stay at hand.
const LOOK = 1000; // Milliseconds between two looks at what the node is doing.
const EXCERPT = 60; // Characters of an utterance that stand in the list.

export function enhance(scope) {
  for (const box of scope.querySelectorAll("[data-speak]")) new SpeakBox(box);
}

// The language that a text is spoken in until the reader chooses one: the voice's own, unless it is written in
// another script.
function fitting(text, own, offered) {
  const script = /[\p{Script=Hiragana}\p{Script=Katakana}]/u.test(text) ? "ja" : /\p{Script=Hangul}/u.test(text) ? "ko" : "";
  if (script) return offered.includes(script) ? script : own;
  const han = /\p{Script=Han}/u.test(text);
  if (han) return own === "en" || own === "ko" ? "auto" : own;
  return /\p{Script=Latin}/u.test(text) ? "en" : own;
}

class SpeakBox {
  constructor(box) {
    const find = (name) => box.querySelector(`[data-${name}]`);
    this.box = box;
    this.form = box.querySelector("form");
    this.part = Object.fromEntries(
      ["count", "speed", "cancel", "busy", "line", "problem", "spoken", "text", "seconds", "save", "before"].map(
        (name) => [name, find(name)],
      ),
    );
    this.kept = [];
    this.stop = null;
    const { text, speed, lang } = this.form.elements;
    const own = lang.value;
    let chosen = false;
    lang.addEventListener("change", () => { chosen = true; });
    text.addEventListener("input", () => {
      this.counted();
      if (!chosen) lang.value = fitting(text.value, own, [...lang.options].map((one) => one.value));
    });
    text.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
        event.preventDefault();
        this.form.requestSubmit();
      }
    });
    speed.addEventListener("input", () => this.faster());
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.stop === null) this.speak();
    });
    this.part.cancel.addEventListener("click", () => this.stop?.abort());
    this.counted();
    this.faster();
  }

  counted() {
    const { count } = this.part;
    const n = [...this.form.elements.text.value].length.toLocaleString("en");
    count.textContent = say("count", { n, most: count.dataset.most });
  }

  faster() {
    const { speed } = this.form.elements;
    this.part.speed.value = say("speed", { n: Number(speed.value).toFixed(2) });
    speed.setAttribute("aria-valuetext", this.part.speed.value);
  }

  async speak() {
    const { text, lang, speed, seed } = this.form.elements;
    const words = text.value.trim();
    if (!words) return tell(this.part.problem, say("speak.empty"));
    const { voice, draft } = this.box.dataset;
    const body = { text: words, lang: lang.value, speed: Number(speed.value), ...(voice ? { voice } : { draft }) };
    if (seed.value !== "") body.seed = Number(seed.value);
    const stop = (this.stop = new AbortController());
    this.busy(true);
    const watch = this.watch(stop.signal);
    try {
      const response = await ask("POST", "v1/speak", body, stop.signal);
      const seconds = Number(response.headers.get("X-Audio-Seconds")).toFixed(1);
      const said = { words, seconds, blob: await response.blob(), name: this.fileName() };
      watch.end();
      this.busy(false);
      await this.show(said);
      this.keep(said);
      announce(say("speak.done", { n: seconds }));
      await playerOf(this.box.querySelector("[data-player]")).play();
    } catch (error) {
      watch.end();
      this.busy(false);
      tell(this.part.problem, stop.signal.aborted ? say("speak.cancelled") : error);
    }
  }

  busy(on) {
    const { busy, cancel, problem } = this.part;
    const submit = this.form.querySelector("[type=submit]");
    if (on) tell(problem);
    busy.hidden = cancel.hidden = !on;
    submit.disabled = on;
    if (on) cancel.focus();
    else submit.focus();
    if (!on) this.stop = null;
  }

  // Says what the node is doing, and for how long: a first sentence waits for the voice to be loaded.
  watch(signal) {
    const began = performance.now();
    let phase = "speak.starting";
    const line = () => {
      const n = Math.floor((performance.now() - began) / 1000);
      this.part.line.textContent = say(phase, { n });
    };
    line();
    announce(this.part.line.textContent);
    const timer = setInterval(async () => {
      line();
      const status = await ask("GET", "v1/status", undefined, signal).then((answer) => answer.json(), () => null);
      if (status?.worker.state === "busy") phase = "speak.speaking";
    }, LOOK);
    return { end: () => clearInterval(timer) };
  }

  async show({ words, seconds, blob, name }) {
    const { spoken, text, save } = this.part;
    spoken.hidden = false;
    text.textContent = words;
    this.part.seconds.textContent = say("speak.seconds", { n: seconds });
    if (save.href) URL.revokeObjectURL(save.href);
    save.href = URL.createObjectURL(blob);
    save.download = name;
    await playerOf(this.box.querySelector("[data-player]")).use(blob);
  }

  keep(said) {
    this.kept = [said, ...this.kept].slice(0, KEPT);
    const { before } = this.part;
    before.hidden = this.kept.length < 2;
    before.querySelector("ol").replaceChildren(
      ...this.kept.map((one) => {
        const [item, button] = [document.createElement("li"), document.createElement("button")];
        button.type = "button";
        button.className = "quiet";
        const characters = [...one.words];
        const excerpt = characters.slice(0, EXCERPT).join("") + (characters.length > EXCERPT ? "…" : "");
        button.textContent = `${excerpt} (${say("speak.seconds", { n: one.seconds })})`;
        button.setAttribute("aria-label", say("speak.again", { text: button.textContent }));
        button.addEventListener("click", async () => {
          await this.show(one);
          await playerOf(this.box.querySelector("[data-player]")).play();
        });
        item.append(button);
        return item;
      }),
    );
  }

  // Such as "storyteller 2026-11-25 14.03.59.wav".
  fileName() {
    const now = new Date();
    const two = (n) => String(n).padStart(2, "0");
    const day = `${now.getFullYear()}-${two(now.getMonth() + 1)}-${two(now.getDate())}`;
    const time = `${two(now.getHours())}.${two(now.getMinutes())}.${two(now.getSeconds())}`;
    return `${this.box.dataset.file} ${day} ${time}.wav`;
  }
}
