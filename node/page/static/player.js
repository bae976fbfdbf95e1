// A sound with a play button and its waveform. One plays at a time. `data-src` is fetched when it is first
// wanted; a script that has a sound already gives it to `playerOf(element).use(blob)`.
import { announce, ask, clock, problem, say } from "./rpc.js";

const BARS = 56;
const players = new WeakMap();
let current = null;

export function enhance(root) {
  for (const element of root.querySelectorAll("[data-player]")) {
    if (!players.has(element)) players.set(element, new Player(element));
  }
}

export function playerOf(element) {
  return players.get(element);
}

class Player {
  constructor(element) {
    this.element = element;
    this.button = element.querySelector(".play");
    this.range = element.querySelector("input");
    this.time = element.querySelector(".time");
    this.audio = null;
    this.button.addEventListener("click", () => this.toggle());
    this.range.addEventListener("input", () => this.seek());
  }

  async toggle() {
    if (this.element.dataset.state === "loading") return;
    if (this.audio === null && !(await this.load())) return;
    if (this.audio.paused) await this.play();
    else this.audio.pause();
  }

  async load() {
    this.state("loading");
    this.problem("");
    announce(say("loading"));
    try {
      const response = await ask("GET", this.element.dataset.src);
      await this.use(await response.blob(), "draw" in this.element.dataset);
      return true;
    } catch (error) {
      this.state("idle");
      this.problem(problem(error));
      return false;
    }
  }

  // Takes a sound; `draw` says whether its waveform is not there yet.
  async use(blob, draw = true) {
    if (this.audio !== null) {
      this.audio.pause();
      URL.revokeObjectURL(this.audio.src);
    }
    if (draw) await this.draw(blob);
    const audio = new Audio(URL.createObjectURL(blob));
    audio.addEventListener("play", () => this.state("playing"));
    audio.addEventListener("pause", () => this.state("paused"));
    audio.addEventListener("ended", () => { audio.currentTime = 0; });
    audio.addEventListener("error", () => { this.state("idle"); this.problem(say("unplayable")); });
    audio.addEventListener("loadedmetadata", () => { this.range.hidden = false; this.show(); });
    audio.addEventListener("timeupdate", () => this.show());
    this.audio = audio;
    this.state("paused");
  }

  async play() {
    if (current !== null && current !== this) current.audio.pause();
    current = this;
    try {
      await this.audio.play();
    } catch (error) {
      // Some browsers play only what was asked for a moment ago: then the button is there to be pressed.
      if (!["AbortError", "NotAllowedError"].includes(error.name)) this.problem(say("unplayable"));
      return;
    }
    const follow = () => {
      this.show();
      if (!this.audio.paused) requestAnimationFrame(follow);
    };
    follow();
  }

  seek() {
    if (this.audio === null || !this.audio.duration) return;
    this.audio.currentTime = (this.range.value / 1000) * this.audio.duration;
    this.show();
  }

  show() {
    const { currentTime: at, duration } = this.audio;
    if (!Number.isFinite(duration)) return;
    const share = duration ? at / duration : 0;
    this.element.style.setProperty("--played", `${(share * 100).toFixed(2)}%`);
    this.range.value = String(Math.round(share * 1000));
    this.range.setAttribute("aria-valuetext", say("time", { at: clock(at), length: clock(duration) }));
    this.time.textContent = clock(this.audio.paused && at === 0 ? duration : at);
  }

  state(name) {
    this.element.dataset.state = name;
    this.button.setAttribute("aria-pressed", String(name === "playing"));
    this.button.setAttribute("aria-busy", String(name === "loading"));
    if (name === "playing") announce(say("playing"));
  }

  problem(text) {
    let line = this.element.querySelector(".problem");
    if (line === null && text) {
      line = document.createElement("p");
      line.className = "problem bad";
      this.element.append(line);
    }
    if (line !== null) line.textContent = text;
    if (text) announce(text);
  }

  async draw(blob) {
    let path;
    try {
      path = outline(await new OfflineAudioContext(1, 1, 44100).decodeAudioData(await blob.arrayBuffer()));
    } catch {
      return; // What cannot be drawn may still be played; if not, playing says so.
    }
    for (const line of this.element.querySelectorAll(".wave path")) line.setAttribute("d", path);
  }
}

// The bars of a decoded sound, as node/page/wave.py draws them.
function outline(buffer) {
  const samples = buffer.getChannelData(0);
  const peaks = new Array(BARS).fill(0);
  for (let bar = 0; bar < BARS; bar++) {
    const end = Math.floor((samples.length * (bar + 1)) / BARS);
    for (let i = Math.floor((samples.length * bar) / BARS); i < end; i++) {
      peaks[bar] = Math.max(peaks[bar], Math.abs(samples[i]));
    }
  }
  const highest = Math.max(...peaks) || 1;
  return peaks
    .map((peak, bar) => {
      const height = Math.max(peak / highest, 0.02);
      return `M${bar * 4 + 2} ${(50 - 46 * height).toFixed(1)}v${(92 * height).toFixed(1)}`;
    })
    .join("");
}
