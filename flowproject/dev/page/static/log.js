// The log of a run as it grows: it stays at the end, unless the reader has scrolled up.

const MOST = 20000; // lines that are kept while it grows
const FAILURE = /<flow \S+ step \S+> failed:/; // what Metaflow prints before what a step raised
const CLOSE = 24; // pixels from the end that count as the end
const log = document.getElementById("log");
const toEnd = document.getElementById("to-end");
let waiting = [];

const atEnd = () => log.scrollHeight - log.scrollTop - log.clientHeight < CLOSE;

function goToEnd() {
  log.scrollTop = log.scrollHeight;
  toEnd.hidden = true;
}

// What came since the page was drawn has no mark at the line.
function goToFailure(event) {
  if (!event.target.closest?.('a[href="#exception"]')) return;
  const mark = document.getElementById("exception");
  const line = mark ?? [...log.childNodes].find((node) => FAILURE.test(node.textContent));
  if (!line) return;
  event.preventDefault();
  const place = document.createRange();
  place.selectNode(line);
  log.scrollTop += place.getBoundingClientRect().top - log.getBoundingClientRect().top - CLOSE;
  log.focus();
  log.scrollIntoView({ block: "nearest" });
  toEnd.hidden = atEnd();
}

// Lines that come together are drawn together.
function append() {
  const follow = atEnd();
  log.append(...waiting.map((line) => `${line}\n`));
  waiting = [];
  while (log.childNodes.length > MOST) log.firstChild.remove();
  if (follow) goToEnd();
  else toEnd.hidden = false;
}

// As in live.js, a hidden page lets go of its connection; it goes on after the last line that it has.
function follow(address) {
  let source = null;
  let over = false;
  const close = () => {
    source?.close();
    source = null;
  };
  const open = () => {
    if (over || source || document.hidden) return;
    source = new EventSource(address);
    source.addEventListener("line", (event) => {
      if (event.lastEventId) address.searchParams.set("start", event.lastEventId);
      if (!waiting.length) requestAnimationFrame(append);
      waiting.push(event.data);
    });
    source.addEventListener("end", () => {
      over = true;
      close();
      document.getElementById("log-state").textContent = "complete";
      htmx.trigger(document.body, "happened");
    });
  };
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  window.addEventListener("pagehide", close);
  window.addEventListener("pageshow", open);
  open();
}

if (log) {
  goToEnd();
  toEnd.addEventListener("click", goToEnd);
  document.addEventListener("click", goToFailure);
  log.addEventListener("scroll", () => atEnd() && (toEnd.hidden = true), { passive: true });
  if (log.dataset.follow) follow(new URL(log.dataset.follow, location.href));
}
