// The form that trains a voice: recordings are chosen or dropped, each with its text, sent, and trained on.
import { count, root, say, size, tell } from "./rpc.js";
import { follow } from "./following.js";

const LIST_LANGUAGE = { yue: "YUE", zh: "ZH", en: "EN" };
const TEXT_ENDINGS = [".txt", ".lab"];

export function enhance(scope) {
  for (const form of scope.querySelectorAll("[data-train]")) new TrainForm(form);
}

const ending = (name) => name.slice(name.lastIndexOf(".")).toLowerCase();
const stem = (name) => name.slice(0, name.lastIndexOf("."));

class TrainForm {
  constructor(form) {
    this.form = form;
    this.clips = []; // {file, item, text}
    this.endings = form.dataset.endings.split(",");
    const input = form.querySelector("#clips");
    input.addEventListener("change", () => {
      this.add(input.files);
      input.value = "";
    });
    const drop = form.querySelector("[data-drop]");
    for (const [kind, over] of [["dragenter", true], ["dragover", true], ["dragleave", false], ["drop", false]]) {
      drop.addEventListener(kind, (event) => {
        event.preventDefault();
        drop.classList.toggle("over", over);
      });
    }
    drop.addEventListener("drop", (event) => this.add(event.dataTransfer.files));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.start();
    });
  }

  get problem() {
    return this.form.querySelector(":scope > [data-problem]");
  }

  async add(files) {
    tell(this.problem);
    const all = [...files];
    for (const file of all.filter((one) => this.endings.includes(ending(one.name)))) this.take(file);
    for (const file of all.filter((one) => !this.endings.includes(ending(one.name)))) {
      const clip = this.clips.find((one) => stem(one.file.name) === stem(file.name));
      if (clip !== undefined && TEXT_ENDINGS.includes(ending(file.name))) {
        clip.text.value = (await file.text()).replace(/\s+/g, " ").trim().slice(0, clip.text.maxLength);
      } else {
        tell(this.problem, say("train.not.audio", { name: file.name }));
      }
    }
    this.summed();
  }

  take(file) {
    if (this.clips.length >= Number(this.form.dataset.most)) return;
    if (this.clips.some((one) => one.file.name === file.name)) {
      tell(this.problem, say("train.twice", { name: file.name }));
      return;
    }
    const item = this.form.querySelector("template[data-clip]").content.cloneNode(true).querySelector("li");
    item.querySelector("strong").textContent = file.name;
    item.querySelector("span").textContent = size(file.size);
    const [out, text] = [item.querySelector("[data-out]"), item.querySelector("textarea")];
    out.setAttribute("aria-label", say("train.remove", { name: file.name }));
    text.setAttribute("aria-label", `${this.form.querySelector("[data-texts-hint]").textContent} ${file.name}`);
    const clip = { file, item, text };
    out.addEventListener("click", () => {
      this.clips = this.clips.filter((one) => one !== clip);
      item.remove();
      this.summed();
      this.form.querySelector("#clips").focus();
    });
    this.clips.push(clip);
    this.form.querySelector("[data-clips]").append(item);
  }

  summed() {
    const bytes = this.clips.reduce((sum, one) => sum + one.file.size, 0);
    const n = this.clips.length;
    this.form.querySelector("[data-texts-hint]").hidden = n === 0;
    this.form.querySelector("[data-sum]").textContent =
      n === 0 ? "" : count("train.clips", n, { size: size(bytes) });
  }

  // What is missing, in words, with the place to be filled in; null when nothing is.
  missing() {
    const { list, asr } = this.form.elements;
    if (this.clips.length === 0) return [say("train.no.clips"), this.form.querySelector("#clips")];
    const silent = this.clips.find((one) => !one.text.value.trim());
    if (silent !== undefined && list.files.length === 0 && !asr?.value) {
      return [say("train.no.text", { name: silent.file.name }), silent.text];
    }
    const invalid = [...this.form.elements].find((one) => one.willValidate && !one.checkValidity());
    return invalid === undefined ? null : [invalid.validationMessage, invalid];
  }

  async start() {
    tell(this.problem);
    const missing = this.missing();
    if (missing !== null) {
      tell(this.problem, missing[0]);
      missing[1].focus();
      return;
    }
    const { name, lang, minutes, base, only, asr, list } = this.form.elements;
    const form = this.form;
    await follow(name.value, async (run) => {
      const clips = [];
      const whole = this.clips.reduce((sum, one) => sum + one.file.size, 0);
      let sent = 0;
      for (const { file } of this.clips) {
        const told = (have) => run.sending(sent + have, whole);
        clips.push({ name: file.name, upload: await upload(file, told, run.signal) });
        sent += file.size;
      }
      const written = list.files.length ? list.files[0] : this.transcripts(lang.value);
      const body = {
        name: name.value, lang: lang.value, clips, minutes: Number(minutes.value), only: only.value,
        declaration: this.declaration(),
      };
      if (written !== null) body.transcripts = await upload(written, () => {}, run.signal);
      if (base.value) body.base = base.value;
      if (asr?.value) body.asr = asr.value;
      return ["v1/trainings", body];
    }, form);
  }

  // A list as GPT-SoVITS writes it; null when a recogniser is to hear everything.
  transcripts(lang) {
    const said = this.clips.filter((one) => one.text.value.trim());
    if (said.length === 0) return null;
    const line = ({ file, text }) =>
      `${file.name}|speaker|${LIST_LANGUAGE[lang]}|${text.value.replace(/\s+/g, " ").trim()}\n`;
    return new Blob([said.map(line).join("")]);
  }

  declaration() {
    const chosen = this.form.querySelector("[name=whose]:checked");
    const words = this.form.querySelector(`label[for="${chosen.id}"]`).textContent;
    return [words, this.form.elements.sources.value.trim()].filter(Boolean).join(": ");
  }
}

// Sends a file; fetch does not tell how much of a body has left, XMLHttpRequest does.
export function upload(blob, progress = () => {}, signal = undefined) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("PUT", new URL("v1/uploads", root));
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.responseType = "json";
    request.upload.addEventListener("progress", (event) => progress(event.loaded));
    request.addEventListener("load", () => {
      if (request.status === 200) resolve(request.response.upload);
      else reject(new Error(request.response?.error?.message ?? String(request.status)));
    });
    request.addEventListener("error", () => reject(new TypeError("no answer")));
    request.addEventListener("abort", () => reject(new DOMException("aborted", "AbortError")));
    signal?.addEventListener("abort", () => request.abort());
    request.send(blob);
  });
}
