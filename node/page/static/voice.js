// The page of one voice: fetching it with its progress, removing it, and asking who has it.
import { announce, ask, count, problem, refresh, say, size, stream } from "./rpc.js";

export function enhance(root) {
  for (const part of root.querySelectorAll("[data-fetch]")) offerFetch(part);
  for (const button of root.querySelectorAll("[data-opens]")) {
    const dialog = document.getElementById(button.dataset.opens);
    button.addEventListener("click", () => dialog.showModal());
  }
  for (const button of root.querySelectorAll("[data-remove]")) button.addEventListener("click", () => remove(button));
  for (const button of root.querySelectorAll("[data-ancestors]")) button.addEventListener("click", () => ancestors(button));
  for (const button of root.querySelectorAll("[data-holders]")) button.addEventListener("click", () => holders(button));
}

const voice = (ref) => `v1/voices/${encodeURIComponent(ref)}`;

// A part of the page was replaced, and with it the button that had the focus: its title takes it.
async function settled(text) {
  await refresh("actions", "speak", "star", "talk");
  document.getElementById("actions-title")?.focus();
  announce(text);
}

function offerFetch(part) {
  const find = (name) => part.querySelector(`[data-${name}]`);
  const [start, cancel, running, bar, line] = [
    find("start"), find("cancel"), find("running"), part.querySelector("progress"), find("line"),
  ];
  let stop = null;
  const show = (busy) => {
    start.hidden = busy;
    find("hint").hidden = busy;
    cancel.hidden = running.hidden = !busy;
    (busy ? cancel : start).focus();
  };
  cancel.addEventListener("click", () => stop.abort());
  start.addEventListener("click", async () => {
    stop = new AbortController();
    const told = new Milestones();
    find("problem").textContent = "";
    bar.removeAttribute("value");
    line.textContent = say("connecting");
    announce(line.textContent);
    show(true);
    try {
      for await (const event of stream("POST", `${voice(part.dataset.fetch)}/fetch`, {}, stop.signal)) {
        if (event.event !== "progress") continue;
        if (event.total) {
          bar.value = (100 * event.have) / event.total;
          line.textContent = say("fetching", {
            have: size(event.have), total: size(event.total), rate: size(event.rate), peers: count("peers", event.peers),
          });
          told.reach(bar.value);
        } else if (event.step === "checking") {
          line.textContent = say("checking");
        }
      }
      await settled(say("fetched"));
    } catch (error) {
      const text = stop.signal.aborted ? say("cancelled") : problem(error);
      find("problem").textContent = text;
      show(false);
      announce(text);
    }
  });
}

// Every quarter is said once: a screen reader must be able to say something else between.
class Milestones {
  last = 0;

  reach(percent) {
    const quarter = Math.floor(percent / 25) * 25;
    if (quarter <= this.last) return;
    this.last = quarter;
    announce(say("percent", { n: quarter }));
  }
}

async function remove(button) {
  button.disabled = true;
  try {
    await ask("DELETE", voice(button.dataset.remove));
    button.closest("dialog").close();
    await settled(say("removed"));
  } catch (error) {
    button.disabled = false;
    button.closest("dialog").querySelector("[data-problem]").textContent = problem(error);
  }
}

async function holders(button) {
  const answer = button.closest("section").querySelector("[data-answer]");
  button.disabled = true;
  answer.textContent = say("asking");
  try {
    const found = await (await ask("GET", `${voice(button.dataset.holders)}/holders`)).json();
    const others = found.peers.length;
    answer.textContent = others ? count("holders", others) : say("holders.none");
    if (found.here) answer.textContent += ` ${say("holders.here")}`;
  } catch (error) {
    answer.textContent = problem(error);
  }
  button.disabled = false;
  announce(answer.textContent);
}

async function ancestors(button) {
  button.disabled = true;
  announce(say("asking"));
  try {
    await ask("GET", `${voice(button.dataset.ancestors)}/lineage?fetch=1`);
    await refresh("lineage");
    document.getElementById("lineage-head")?.focus();
  } catch (error) {
    button.disabled = false;
    button.closest("section").querySelector("[data-problem]").textContent = problem(error);
  }
}
