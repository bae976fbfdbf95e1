// Asking the daemon: the RPC under the page's own address, as JSON, as a stream of events, or as a sound.
const html = document.documentElement;
const words = JSON.parse(html.dataset.words);
export const root = new URL(html.dataset.root, location.href);

// A text of the page's language, its places filled in.
export function say(key, values = {}) {
  return words[key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

// Whether there is such a text: a newer daemon may name what this page has no word for.
say.has = (key) => key in words;

export function count(key, n, values = {}) {
  return say(`${key}.${n === 1 ? "one" : "other"}`, { n, ...values });
}

// Tells a screen reader something; what is seen is put elsewhere by the caller.
export function announce(text) {
  document.getElementById("said").textContent = text;
}

export function size(bytes) {
  for (const unit of ["B", "kB", "MB"]) {
    if (bytes < 1000) return `${unit === "B" ? bytes.toFixed(0) : bytes.toFixed(1)} ${unit}`;
    bytes /= 1000;
  }
  return `${bytes.toFixed(1)} GB`;
}

export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

// What went wrong, in a sentence to show.
export function problem(error) {
  return error instanceof TypeError ? say("gone") : say("failed", { message: error.message });
}

export async function ask(method, path, body, signal) {
  const options = { method, signal, headers: {} };
  if (body instanceof Blob) {
    options.headers["Content-Type"] = "application/octet-stream";
    options.body = body;
  } else if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  const response = await fetch(new URL(path, root), options);
  if (!response.ok) throw await refusal(response);
  return response;
}

// The events of an NDJSON answer, as they come; the last one is the result. An error event is thrown.
export async function* stream(method, path, body, signal) {
  const response = await ask(method, path, body, signal);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const line of lines) {
        const event = JSON.parse(line);
        if (event.event === "error") throw new Refusal(event.error);
        yield event;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

// What the daemon refused, with what may help and a code to tell it by.
export class Refusal extends Error {
  constructor({ message, hint = "", code = "" }) {
    super(message);
    this.hint = hint;
    this.code = code;
  }
}

// Shows in a place what went wrong, in the daemon's words, with its hint; nothing to show empties it.
export function tell(place, error = null) {
  place.replaceChildren();
  if (error === null) return;
  const text = typeof error === "string" ? error : problem(error);
  place.append(text);
  if (error.hint) {
    const hint = document.createElement("span");
    hint.className = "hint";
    hint.textContent = say("hint", { hint: error.hint });
    place.append(hint);
  }
  announce(text);
}

async function refusal(response) {
  try {
    return new Refusal((await response.json()).error);
  } catch {
    return new Error(`${response.status}`);
  }
}

const enhancers = [];

// Runs a function on the page as it is, and on every part of it that comes later.
export function onNew(enhance) {
  enhancers.push(enhance);
  enhance(document);
}

export function alive(element) {
  for (const enhance of enhancers) enhance(element);
}

// Gets the page again and puts what it says now in the place of some of its elements, by id.
export async function refresh(...ids) {
  const response = await fetch(location.href);
  if (!response.ok) return;
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  for (const id of ids) {
    const [old, fresh] = [document.getElementById(id), page.getElementById(id)];
    if (old === null || fresh === null) continue;
    old.replaceWith(document.adoptNode(fresh));
    alive(fresh);
  }
}
