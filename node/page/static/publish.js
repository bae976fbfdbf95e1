// The form that publishes a draft: what is asked depends on whose voice it is; then progress, and the way to it.
import { announce, count, root, say, stream, tell } from "./rpc.js";
import { upload } from "./train.js";

// What the daemon says while it publishes, and our words for it.
const STEPS = {
  "speaking the preview": "publish.preview",
  signing: "publish.signing",
  checking: "publish.checking",
  announcing: "publish.announcing",
};

export function enhance(scope) {
  for (const form of scope.querySelectorAll("[data-publish]")) new PublishForm(form);
}

class PublishForm {
  constructor(form) {
    this.form = form;
    this.problem = form.querySelector("[data-problem]");
    form.addEventListener("change", () => this.fit());
    form.elements.free.addEventListener("input", () => this.fit());
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.publish();
    });
    this.fit();
  }

  get subject() {
    return this.form.querySelector("[name=consent]:checked");
  }

  get tags() {
    const chosen = [...this.form.querySelectorAll("[name=tag]:checked")].map((one) => one.value);
    const free = this.form.elements.free.value.split(/[\s,，、;；]+/u).filter(Boolean);
    return [...new Set([...chosen, ...free])];
  }

  // Shows what has to be asked.
  fit() {
    const { licence, file, permission } = this.form.elements;
    const show = (name, on) => { this.form.querySelector(`[data-${name}]`).hidden = !on; };
    const is = (name) => this.subject !== null && name in this.subject.dataset;
    show("when-named", is("named"));
    show("when-travels", is("travels"));
    // A signed consent says itself that it permits.
    const asked = is("asked") && !(is("named") && file.files.length > 0);
    show("when-asked", asked);
    permission.required = asked;
    this.form.elements.subject.required = is("named") && file.files.length === 0;
    show("other", licence.value === "other");
    this.form.elements.id.required = licence.value === "other";
    document.getElementById("licence-says").textContent = licence.selectedOptions[0].dataset.says ?? "";
    this.form.querySelector("[data-chosen]").textContent = count("publish.tags", this.tags.length);
  }

  async publish() {
    tell(this.problem);
    const invalid = [...this.form.elements].find((one) => one.willValidate && !one.checkValidity());
    if (invalid !== undefined) {
      tell(this.problem, `${this.labelOf(invalid)}: ${invalid.validationMessage}`);
      invalid.focus();
      return;
    }
    const { licence, id, subject, file, permission, travel, description } = this.form.elements;
    const about = this.subject.dataset;
    const body = {
      draft: this.form.dataset.publish,
      tags: this.tags,
      license: licence.value === "other" ? id.value.trim() : licence.value,
      consent: this.subject.value,
      ai_voice_permission: "asked" in about ? permission.checked : true,
      clips_may_travel: "travels" in about && travel.checked,
      description: description.value.replace(/\r\n?/g, "\n").trim(),
    };
    if ("named" in about) body.subject = subject.value.trim();
    this.busy(true);
    try {
      if ("named" in about && file.files.length) body.consent_upload = await upload(file.files[0]);
      for await (const event of stream("POST", "v1/publish", body)) {
        if (event.event === "progress") this.step(event);
        if (event.event === "result") this.done(event);
      }
    } catch (error) {
      this.busy(false);
      tell(this.problem, error);
    }
  }

  labelOf(input) {
    const group = input.type === "radio" ? input.closest("fieldset")?.querySelector("legend") : null;
    return (group ?? input.labels[0]).firstChild.textContent.trim();
  }

  busy(on) {
    this.form.querySelector("[data-busy]").hidden = !on;
    this.form.querySelector("[type=submit]").disabled = on;
    if (on) this.line("publish.working");
  }

  line(key) {
    const place = this.form.querySelector("[data-line]");
    if (place.textContent === say(key)) return;
    place.textContent = say(key);
    announce(place.textContent);
  }

  step(event) {
    if (event.step in STEPS) this.line(STEPS[event.step]);
  }

  done(result) {
    this.busy(false);
    this.form.hidden = true;
    const done = this.form.closest("section").querySelector("[data-published]");
    done.hidden = false;
    done.querySelector("[data-said]").textContent = say(result.announced ? "publish.done" : "publish.alone");
    done.querySelector("[data-release]").textContent = result.release;
    done.querySelector("[data-open]").href = new URL(`voice/${encodeURIComponent(result.release)}`, root);
    done.querySelector("h3").focus();
    announce(done.querySelector("[data-said]").textContent);
  }
}
