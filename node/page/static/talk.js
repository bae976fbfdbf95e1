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

// One change of the page at a time: news that was asked for earlier must not undo what was said since.
let turn = Promise.resolve();

function inTurn(work) {
  turn = turn.then(work);
  return turn;
}

function act(part, path, body) {
  const place = part.matches("form")
    ? part.querySelector("[data-problem]")
    : part.closest("li, article, #star").querySelector(":scope > [data-problem]");
  const where = PARTS.find((id) => document.getElementById(id)?.contains(part));
  const buttons = part.matches("button") ? [part] : [...part.querySelectorAll("button")];
  for (const button of buttons) button.disabled = true;
  if (place !== null) place.textContent = "";
  return inTurn(async () => {
    try {
      const found = await (await ask("POST", path, body)).json();
      await refresh(...PARTS);
      // What had the focus was made anew: the star is found again, a form's place by the title of its part.
      const next = where === "star" ? "#star .star" : `#${where} [tabindex="-1"]`;
      document.querySelector(next)?.focus({ preventScroll: true });
      if (found.operation) document.getElementById(found.operation)?.scrollIntoView({ block: "nearest" });
      announce(say(found.done ? "said" : "unchanged"));
    } catch (error) {
      for (const button of buttons) button.disabled = false;
      const text = problem(error);
      if (place !== null) place.textContent = text;
      announce(text);
    }
  });
}

// Other nodes are asked what was said lately; news is shown unless somebody is writing.
async function listen(talk) {
  try {
    const found = await (await ask("GET", talk.dataset.talk)).json();
    await inTurn(() => show(found));
  } catch {
    // What is known here is on the page already.
  }
}

// Whether somebody has begun to say something: then nothing takes the form away.
export function writing() {
  const fields = [...document.querySelectorAll("#talk :is(textarea, input)")];
  return fields.some((field) => field.value !== field.defaultValue);
}

async function show(found) {
  // Meanwhile the user may have said something, and the part was made anew.
  const known = JSON.parse(document.getElementById("talk").dataset.figures);
  const differs = ["totals", "others"].some((side) =>
    Object.entries(known[side]).some(([name, number]) => found[side][name] !== number),
  );
  const held = document.activeElement?.closest("#talk, #star");
  if (differs && !writing() && !held) await refresh("star", "talk").catch(() => {});
}
