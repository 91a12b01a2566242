// The stream that says when something happened: renews every piece of the view, and tells how the
// connection is. A hidden page lets go of it, since browsers open only six connections to one host.

const stream = document.getElementById("stream");
const banner = document.getElementById("banner");
const said = document.getElementById("said");
const address = new URL(document.body.dataset.live, location.href);
const WORDS = {
  live: ["live", ""],
  still: ["paused", ""],
  lost: ["connection lost", "The connection to the loop is lost; trying again. What you see may be old."],
  over: ["ended", "The loop has ended. What you see is how it was left. Start it again with: flowproject dev"],
};
const RETRY = 2000; // milliseconds
let source = null;
let patience = 0;
let opened = false;
let over = false;

function show(state) {
  clearTimeout(patience);
  const [words, sentence] = WORDS[state];
  stream.dataset.state = state;
  document.getElementById("stream-words").textContent = words;
  if (banner.textContent.trim() !== sentence) banner.textContent = sentence;
  banner.hidden = !sentence;
}

const renew = () => htmx.trigger(document.body, "happened");

function open() {
  if (over || source) return;
  source = new EventSource(address);
  source.onopen = () => {
    show("live");
    if (opened) renew();
    opened = true;
  };
  source.onerror = () => {
    clearTimeout(patience);
    patience = setTimeout(lost, RETRY / 2);
  };
  source.addEventListener("happened", (event) => {
    if (event.lastEventId) address.searchParams.set("since", event.lastEventId);
    renew();
  });
  source.addEventListener("over", () => {
    over = true;
    close("over");
  });
}

// A browser tries again by itself, unless it was answered with an error.
function lost() {
  if (!source || source.readyState === EventSource.OPEN) return;
  show("lost");
  if (source.readyState !== EventSource.CLOSED) return;
  source = null;
  setTimeout(open, RETRY);
}

function close(state) {
  source?.close();
  source = null;
  show(state);
}

// Only what is worth an interruption is read out, and only the newest of it.
function announce() {
  const newest = document.querySelector("#part-news [data-say]");
  if (!newest || newest.id === said.dataset.id) return;
  if (said.dataset.id) said.textContent = newest.innerText.replace(/\s+/g, " ");
  said.dataset.id = newest.id;
}

document.addEventListener("htmx:afterSwap", announce);
document.addEventListener("htmx:sendError", () => over || show("lost"));
document.addEventListener("visibilitychange", () => {
  if (over) return;
  if (document.hidden) close("still");
  else {
    open();
    renew();
  }
});
window.addEventListener("pagehide", () => over || close("still"));
window.addEventListener("pageshow", () => document.hidden || open());
announce();
