// Saying something of a voice: every form and button is one act, which the daemon signs with the author key.
import { announce, ask, problem, refresh, say } from "./rpc.js";

const PARTS = ["star", "talk", "said-one", "reviews", "answers"];

export function enhance(root) {
  for (const form of root.querySelectorAll("[data-say]")) {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      act(form, form.dataset.say, bodyOf(form, event.submitter));
    });
  }
  for (const button of root.querySelectorAll("[data-do]")) {
    const body = { act: button.dataset.do };
    if (button.dataset.removeLabel) body.remove = [button.dataset.removeLabel];
    button.addEventListener("click", () => act(button, button.dataset.path, body));
  }
  if (root === document) for (const talk of root.querySelectorAll("[data-talk]")) listen(talk);
}

function bodyOf(form, submitter) {
  const body = { act: form.dataset.act };
  for (const field of form.querySelectorAll("[name]:not(button)")) body[field.name] = field.value.trim();
  if (submitter?.name) body[submitter.name] = submitter.value;
  if (body.add !== undefined) body.add = body.add.split(/[,，、]/).map((label) => label.trim()).filter(Boolean);
  return body;
}

async function act(part, path, body) {
  const place = part.matches("form")
    ? part.querySelector("[data-problem]")
    : part.closest("li, article, #star").querySelector(":scope > [data-problem]");
  const buttons = part.matches("button") ? [part] : [...part.querySelectorAll("button")];
  for (const button of buttons) button.disabled = true;
  if (place !== null) place.textContent = "";
  try {
    const found = await (await ask("POST", path, body)).json();
    // What had the focus is made anew: the button that was pressed is found again by what it does, a form's
    // place by the title of its part.
    const where = PARTS.find((id) => document.getElementById(id)?.contains(part));
    await refresh(...PARTS);
    document.querySelector(where === "star" ? "#star .star" : `#${where} [tabindex="-1"]`)?.focus({ preventScroll: true });
    if (found.operation) document.getElementById(found.operation)?.scrollIntoView({ block: "nearest" });
    announce(say(found.done ? "said" : "unchanged"));
  } catch (error) {
    for (const button of buttons) button.disabled = false;
    const text = problem(error);
    if (place !== null) place.textContent = text;
    announce(text);
  }
}

// Other nodes are asked what was said lately; news is shown unless somebody is writing.
async function listen(talk) {
  try {
    const found = await (await ask("GET", talk.dataset.talk)).json();
    // Meanwhile the user may have said something, and the part was made anew.
    const known = JSON.parse(document.getElementById("talk").dataset.figures);
    const differs = ["totals", "others"].some((side) =>
      Object.entries(known[side]).some(([name, number]) => found[side][name] !== number),
    );
    const busy = [...document.querySelectorAll("#talk textarea")].some((field) => field.value !== field.defaultValue);
    const held = document.activeElement.closest("#talk, #star") !== null;
    if (!differs || busy || held) return;
    await refresh("star", "talk");
  } catch {
    // What is known here is on the page already.
  }
}
