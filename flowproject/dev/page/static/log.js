// The log of a run as it grows: it stays at the end, unless the reader has scrolled up.

const MOST = 20000; // lines that are kept while it grows
const CLOSE = 24; // pixels from the end that count as the end
const log = document.getElementById("log");
const toEnd = document.getElementById("to-end");
let waiting = [];

const atEnd = () => log.scrollHeight - log.scrollTop - log.clientHeight < CLOSE;

function goToEnd() {
  log.scrollTop = log.scrollHeight;
  toEnd.hidden = true;
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

function follow(address) {
  const source = new EventSource(address);
  source.addEventListener("line", (event) => {
    if (!waiting.length) requestAnimationFrame(append);
    waiting.push(event.data);
  });
  source.addEventListener("end", () => {
    source.close();
    document.getElementById("log-state").textContent = "complete";
    htmx.trigger(document.body, "happened");
  });
  window.addEventListener("pagehide", () => source.close());
}

if (log) {
  goToEnd();
  toEnd.addEventListener("click", goToEnd);
  log.addEventListener("scroll", () => atEnd() && (toEnd.hidden = true), { passive: true });
  if (log.dataset.follow) follow(log.dataset.follow);
}
