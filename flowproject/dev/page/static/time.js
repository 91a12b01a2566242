// Moments in words: `12 s ago`, `in 8 s`; the whole moment as the title; kept current.

const UNITS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
const WEEK = 7 * 86400;
const whole = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });
const day = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium" });

function distance(seconds) {
  const [size, unit] = UNITS.find(([size]) => seconds >= size) ?? UNITS.at(-1);
  return `${Math.floor(seconds / size)} ${unit}`;
}

function words(element, at) {
  const seconds = (Date.now() - at) / 1000;
  if (Math.abs(seconds) >= WEEK) return day.format(at);
  if (seconds < -0.5) return `in ${distance(Math.ceil(-seconds))}`;
  return seconds < 1.5 || element.hasAttribute("data-due") ? "now" : `${distance(seconds)} ago`;
}

function tell() {
  for (const element of document.querySelectorAll("time[datetime]")) {
    const at = new Date(element.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    if (!element.title) element.title = whole.format(at);
    if (element.hasAttribute("data-clock")) continue;
    const text = words(element, at);
    if (element.textContent !== text) element.textContent = text;
  }
}

document.addEventListener("htmx:afterSwap", tell);
setInterval(() => document.hidden || tell(), 1000);
tell();
