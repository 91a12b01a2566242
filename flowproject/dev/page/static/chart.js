// How the content of a source went, as a step chart: each number holds until the next.

const HEIGHT = 220; // pixels
const DAY = 86400; // seconds
const dark = matchMedia("(prefers-color-scheme: dark)");
const number = new Intl.NumberFormat("en", { maximumFractionDigits: 6 });
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 2 });
const MANY = 1e6; // from here on an axis is shorter in words: 1.2M
let chart = null;
let drawn = "";

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function axis(more) {
  const line = { stroke: colour("--line"), width: 1 };
  return { stroke: colour("--muted"), font: `11px ${colour("--sans")}`, grid: line, ticks: { ...line, size: 4 }, ...more };
}

const scale = (_, ticks) => ticks.map((tick) => (Math.abs(tick) < MANY ? number : compact).format(tick));

// Days where the steps are days; else times of the day, and under the first of each day its date.
function moments(_, ticks, __, ___, step) {
  const clock = { hour: "2-digit", minute: "2-digit", ...(step < 60 && { second: "2-digit" }) };
  let last = "";
  return ticks.map((tick) => {
    const at = new Date(tick * 1000);
    const day = at.toLocaleDateString("en-GB", { day: "numeric", month: "short" });
    if (step >= DAY) return day;
    const text = at.toLocaleTimeString("en-GB", clock) + (day === last ? "" : `\n${day}`);
    last = day;
    return text;
  });
}

function options(what, width) {
  return {
    width,
    height: HEIGHT,
    padding: [12, 12, 0, 0],
    cursor: { y: false, points: { size: 9, fill: () => colour("--blue") } },
    legend: { live: true },
    series: [
      { label: "at", value: "{YYYY}-{MM}-{DD} {HH}:{mm}:{ss}" },
      {
        label: what,
        stroke: colour("--blue"),
        width: 1.75,
        paths: uPlot.paths.stepped({ align: 1 }),
        points: { show: true, size: 5, fill: colour("--raised") },
        value: (_, value) => (value === null ? "—" : number.format(value)),
      },
    ],
    axes: [axis({ space: 90, values: moments }), axis({ size: 64, values: scale })],
  };
}

function draw() {
  const place = document.getElementById("plot");
  const text = document.getElementById("series")?.textContent ?? "";
  if (!place || !text || (text === drawn && chart)) return;
  const { times, values, what } = JSON.parse(text);
  drawn = text;
  if (chart) chart.setData([times, values]);
  else chart = new uPlot(options(what, place.clientWidth), [times, values], place);
}

function again() {
  chart?.destroy();
  chart = null;
  draw();
}

draw();
document.addEventListener("htmx:afterSwap", draw);
dark.addEventListener("change", again);
const place = document.getElementById("plot");
if (place) new ResizeObserver(() => chart?.setSize({ width: place.clientWidth, height: HEIGHT })).observe(place);
