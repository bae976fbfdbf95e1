// Beside what this node knows, other nodes are asked; what they have joins the list as it comes.
import { alive, announce, ask, count, problem, say, stream } from "./rpc.js";

export function enhance(root) {
  for (const section of root.querySelectorAll("[data-find]")) search(section);
}

async function search(section) {
  const list = section.querySelector("[data-cards]");
  const note = section.querySelector("[data-find-note]");
  const has = (id) => list.querySelector(`[data-release="${CSS.escape(id)}"]`) !== null;
  let added = 0;
  let alone = false;
  note.textContent = say("searching");
  try {
    for await (const event of stream("GET", section.dataset.find)) {
      if (event.event === "warning") alone = true;
      if (event.event !== "voice" || has(event.release)) continue;
      const card = await fragment(`card/${event.release}`);
      if (card === null || has(event.release)) continue;
      list.append(card);
      alive(card);
      added += 1;
      section.querySelector("[data-empty]").hidden = true;
    }
    note.textContent = alone ? say("alone") : added ? count("searched", added) : say("searched.none");
  } catch (error) {
    note.textContent = problem(error);
  }
  announce(note.textContent);
}

async function fragment(path) {
  const text = await (await ask("GET", path)).text();
  const card = new DOMParser().parseFromString(text, "text/html").querySelector("article");
  return card === null ? null : document.adoptNode(card);
}
