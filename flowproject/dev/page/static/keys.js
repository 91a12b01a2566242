// Keyboard shortcuts; `?` lists them. None of them does more than go somewhere.

const PLACES = { o: "/", r: "/runs", g: "/graph" };
const PAUSE = 1200; // milliseconds that `g` waits for its second key
const help = document.getElementById("help");
const button = document.getElementById("help-button");
let going = 0;

const typing = (element) => element.matches?.("input, textarea, select, [contenteditable]");

function move(by) {
  const rows = [...document.querySelectorAll("[data-row]")];
  const here = rows.indexOf(document.activeElement);
  rows.at(here < 0 ? (by > 0 ? 0 : -1) : Math.min(rows.length - 1, Math.max(0, here + by)))?.focus();
}

function search(event) {
  const field = document.querySelector("input[type=search]");
  if (!field) return;
  event.preventDefault();
  field.focus();
  field.select();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
  if (document.querySelector("dialog[open]")) return;
  const place = Date.now() - going < PAUSE ? PLACES[event.key] : "";
  going = 0;
  if (place) location.assign(place);
  else if (event.key === "g") going = Date.now();
  else if (event.key === "j") move(1);
  else if (event.key === "k") move(-1);
  else if (event.key === "/") search(event);
  else if (event.key === "?") help.showModal();
});
button.hidden = false;
button.addEventListener("click", () => help.showModal());
help.addEventListener("click", (event) => event.target === help && help.close());
