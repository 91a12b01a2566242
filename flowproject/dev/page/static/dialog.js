// Actions say in a dialog what they will do, and there what came of them. Menus close like menus.

const dialog = document.getElementById("dialog");
let opener = "";

function plan(link) {
  const address = new URL(link.href);
  address.searchParams.set("part", "plan");
  opener = link.getAttribute("href");
  link.closest("details")?.removeAttribute("open");
  htmx.ajax("GET", address.pathname + address.search, { target: dialog, swap: "innerHTML" });
}

// The link may have been drawn anew while the dialog was open, or stand in a menu that has closed.
function giveFocusBack() {
  const link = document.querySelector(`a[data-action][href="${CSS.escape(opener)}"]`);
  (link?.closest("details")?.querySelector("summary") ?? link)?.focus();
}

document.addEventListener("click", (event) => {
  const plain = event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey;
  const link = event.target.closest("a[data-action]");
  if (link && plain) {
    event.preventDefault();
    plan(link);
  } else if (event.target === dialog || (dialog.open && event.target.closest("[data-close]"))) {
    event.preventDefault();
    dialog.close();
  }
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});

document.addEventListener("keydown", (event) => {
  const menu = event.target.closest?.("details.menu[open]");
  if (event.key !== "Escape" || !menu) return;
  menu.open = false;
  menu.querySelector("summary").focus();
});

// What was refused is said in the dialog, too: htmx would drop an answer of 4xx.
document.addEventListener("htmx:beforeSwap", (event) => {
  const { requestConfig, target } = event.detail;
  if (target === dialog || requestConfig.verb === "post") event.detail.shouldSwap = true;
});
document.addEventListener("htmx:afterSwap", (event) => {
  if (event.detail.target === dialog && !dialog.open) dialog.showModal();
});
dialog.addEventListener("close", () => {
  dialog.replaceChildren();
  giveFocusBack();
});
