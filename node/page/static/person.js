// An author: following them under a name of one's own, and no longer.
import { ask, problem, refresh } from "./rpc.js";

export function enhance(root) {
  for (const form of root.querySelectorAll("[data-follow]")) {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const body = { author: form.dataset.follow, name: form.elements.name.value.trim() };
      change(form, "POST", "v1/following", body);
    });
  }
  for (const button of root.querySelectorAll("[data-unfollow]")) {
    const path = `v1/following/${encodeURIComponent(button.dataset.unfollow)}`;
    button.addEventListener("click", () => change(button, "DELETE", path));
  }
}

async function change(part, method, path, body) {
  try {
    await ask(method, path, body);
    await refresh("author");
    document.querySelector("#author :is(button, input)")?.focus();
  } catch (error) {
    document.querySelector("#author [data-problem]").textContent = problem(error);
  }
}
