// One's own node: figures that stay fresh while somebody looks, addresses to copy, voices to remove, a check-up.
import { announce, ask, refresh, say, stream, tell } from "./rpc.js";

const LOOK = 3000; // Milliseconds between two looks while the page is visible.

export function enhance(scope) {
  if (scope.querySelector("[data-node]") !== null) keepFresh();
  for (const button of scope.querySelectorAll("[data-copies]")) button.addEventListener("click", () => copy(button));
  for (const button of scope.querySelectorAll("[data-takes-away]")) button.addEventListener("click", () => takeAway(button));
  for (const part of scope.querySelectorAll("[data-doctor]")) offerDoctor(part);
}

// The page is asked for again, and what says something new is put in its place: what stayed the same is not
// touched, so nothing flickers and nothing that is read or selected is torn away.
function keepFresh() {
  const old = document.querySelector("[data-old]");
  let looking = false;
  setInterval(async () => {
    if (looking || document.visibilityState !== "visible") return;
    looking = true;
    try {
      const response = await fetch(location.href);
      if (!response.ok) throw new Error(String(response.status));
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      for (const part of document.querySelectorAll("[data-live]")) take(part, page.getElementById(part.id));
      old.textContent = "";
    } catch {
      if (old.textContent === "") old.textContent = say("node.old");
    }
    looking = false;
  }, LOOK);
}

function take(part, fresh) {
  if (fresh === null || part.isEqualNode(fresh)) return;
  const [mine, theirs] = [[...part.childNodes], [...fresh.childNodes]];
  const alike = part.nodeType === fresh.nodeType && mine.length === theirs.length
    && mine.every((one, index) => one.nodeName === theirs[index].nodeName);
  if (!alike) return part.replaceChildren(...theirs.map((one) => document.adoptNode(one)));
  for (const { name, value } of fresh.attributes ?? []) {
    if (part.getAttribute(name) !== value) part.setAttribute(name, value);
  }
  mine.forEach((one, index) => {
    if (one.nodeType !== Node.ELEMENT_NODE) one.nodeValue = theirs[index].nodeValue;
    else take(one, theirs[index]);
  });
}

async function copy(button) {
  try {
    await navigator.clipboard.writeText(button.dataset.copies);
  } catch {
    // Without leave for the clipboard the address is selected, to be copied by hand.
    getSelection().selectAllChildren(button.parentElement.querySelector("code"));
    return;
  }
  const text = button.textContent;
  button.textContent = say("node.copied");
  announce(say("node.copied"));
  setTimeout(() => { button.textContent = text; }, 2000);
}

async function takeAway(button) {
  const dialog = button.closest("dialog");
  button.disabled = true;
  try {
    await ask("DELETE", `v1/voices/${encodeURIComponent(button.dataset.takesAway)}`);
    dialog.close();
    await refresh("voices");
    document.getElementById("voices-title").focus();
    announce(say("removed"));
  } catch (error) {
    button.disabled = false;
    tell(dialog.querySelector("[data-problem]"), error);
  }
}

function offerDoctor(part) {
  const find = (name) => part.querySelector(`[data-${name}]`);
  const [start, line, problem, found] = ["start", "line", "problem", "found"].map(find);
  start.addEventListener("click", async () => {
    const rows = found.querySelector("tbody");
    start.disabled = true;
    rows.replaceChildren();
    found.hidden = false;
    tell(problem);
    line.textContent = say("doctor.running");
    announce(line.textContent);
    try {
      for await (const event of stream("GET", "v1/doctor")) {
        if (event.event === "check") rows.append(row(event));
        if (event.event === "result") line.textContent = say("doctor.done", event);
      }
      announce(line.textContent);
    } catch (error) {
      line.textContent = "";
      tell(problem, error);
    }
    start.disabled = false;
  });
}

function row({ check, state, finding, todo }) {
  const line = document.createElement("tr");
  const head = Object.assign(document.createElement("th"), { scope: "row", textContent: check });
  const badge = Object.assign(document.createElement("span"), { className: `badge check-${state}`, textContent: say("doctor." + state) });
  badge.lang = document.documentElement.lang;
  const cells = [badge, finding, todo].map((content) => {
    const cell = document.createElement("td");
    cell.append(content);
    return cell;
  });
  line.append(head, ...cells);
  return line;
}
