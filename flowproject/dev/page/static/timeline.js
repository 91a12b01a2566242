// The timeline under pointer and keyboard: a mark lights up all that hangs together with it, and is
// told in words below; each lane is one stop of the Tab key, and the arrow keys go along it.

const STEPS = { ArrowLeft: -1, ArrowRight: 1 };
let traced = null;

function trace(mark) {
  traced = mark;
  const timeline = document.getElementById("timeline");
  const readout = document.getElementById("readout");
  if (!timeline || !readout) return;
  const chain = mark?.dataset.chain;
  timeline.classList.toggle("tracing", Boolean(chain));
  for (const element of timeline.querySelectorAll("[data-chain]")) {
    element.classList.toggle("lit", element === mark || (Boolean(chain) && element.dataset.chain === chain));
  }
  readout.querySelector(".legend").hidden = Boolean(mark);
  readout.querySelector(".words").textContent = mark?.getAttribute("aria-label") ?? "";
}

const marks = (track) => [...track.querySelectorAll("a.mark[href]")];

function oneStopPerLane() {
  for (const track of document.querySelectorAll(".track")) {
    const all = marks(track);
    const stop = all.find((mark) => mark.getAttribute("tabindex") === "0") ?? all.at(-1);
    for (const mark of all) mark.setAttribute("tabindex", mark === stop ? "0" : "-1");
  }
}

function step(event) {
  const here = event.target.closest?.(".mark");
  if (!here || !(event.key in STEPS)) return;
  const all = marks(here.closest(".track"));
  const there = all[all.indexOf(here) + STEPS[event.key]];
  event.preventDefault();
  if (!there) return;
  here.setAttribute("tabindex", "-1");
  there.setAttribute("tabindex", "0");
  there.focus();
}

for (const name of ["pointerover", "focusin"]) {
  document.addEventListener(name, (event) => {
    const mark = event.target.closest?.(".mark") ?? null;
    if (mark !== traced) trace(mark);
  });
}
document.addEventListener("keydown", step);
document.addEventListener("htmx:afterSwap", () => {
  oneStopPerLane();
  trace(traced?.isConnected ? traced : null);
});
oneStopPerLane();
