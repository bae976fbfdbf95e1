// The list of trainings: resume, stop and delete them, and see how far one has come that runs elsewhere.
import { announce, ask, refresh, tell } from "./rpc.js";
import { busy, follow, stepLine } from "./following.js";

const LOOK = 4000; // Milliseconds between two looks at a training that runs elsewhere.

let timer = null;

export function enhance(scope) {
  for (const row of scope.querySelectorAll("[data-training]")) offer(row);
  const list = scope.querySelector("[data-trainings]") ?? (scope.matches?.("[data-trainings]") ? scope : null);
  if (list === null) return;
  clearInterval(timer);
  if (list.querySelector("[data-state=running]") !== null) timer = setInterval(look, LOOK);
}

function offer(row) {
  const path = `v1/trainings/${encodeURIComponent(row.dataset.training)}`;
  const on = (name, work) => {
    const button = row.querySelector(`[data-${name}]`);
    button?.addEventListener("click", () => attempt(button, work));
  };
  where(row, row.querySelector("[data-where]").dataset);
  on("resume", () => follow(row.querySelector("[data-resume]").dataset.name, async () => [`${path}/resume`, {}]));
  on("halt", async () => {
    await ask("POST", `${path}/stop`, {});
    await settled();
  });
  on("forget", async () => {
    await ask("DELETE", path);
    row.querySelector("dialog").close();
    await settled();
  });
}

async function attempt(button, work) {
  const place = (button.closest("dialog") ?? button.closest("section")).querySelector(":scope > [data-problem]");
  button.disabled = true;
  tell(place);
  try {
    await work();
  } catch (error) {
    tell(place, error);
  }
  button.disabled = false;
}

async function settled() {
  await refresh("trainings", "drafts");
  document.getElementById("trainings-title")?.focus();
}

function where(row, { stage, step, steps }) {
  const finished = row.dataset.state === "done";
  row.querySelector("[data-where]").textContent = stage && !finished ? stepLine({ stage, step: Number(step), steps: Number(steps) }) : "";
}

async function look() {
  if (busy() || document.visibilityState !== "visible" || document.querySelector("dialog[open]") !== null) return;
  try {
    const { trainings } = await (await ask("GET", "v1/trainings")).json();
    for (const found of trainings) {
      const row = document.querySelector(`[data-training="${CSS.escape(found.training)}"]`);
      if (row === null || row.dataset.state !== found.state) {
        await refresh("trainings", "drafts");
        if (row !== null) announce(document.querySelector(`[data-training="${CSS.escape(found.training)}"] .badge`)?.textContent ?? "");
        return;
      }
      where(row, { stage: found.progress.stage ?? "", step: found.progress.step ?? 0, steps: found.progress.steps ?? 0 });
    }
  } catch {
    // The node is away for a moment, or for good: the next look tells.
  }
}
