import { followState } from "./stream.js";
import { ageText, dateText, momentText, timeText, words } from "./text.js";
import { alarmItems, el, factoryCard, figureTiles, kpiStrip, legend } from "./view.js";

/**
 * Shows the state as the stream brings it, always with its age; while there is no stream it asks once a second. What cannot be refreshed
 * is shown as old, at once.
 */

const pollMs = 1000;
const answerWithinMs = 2000;
/** Without news for this long the page says that it is not connected, whatever the stream or the last request is doing. */
const lostAfterMs = 3000;
const pageMs = 12_000;
const keyName = "jilian.api-key";

const byId = (id) => document.getElementById(id);
let lang = new URLSearchParams(location.search).get("lang") === "en" ? "en" : "zh";
let state;
/** When the state arrived, on two clocks: one that no one sets, one that goes on while the machine sleeps. */
let arrived = { steadyMs: 0, wallMs: 0 };
let failed = false;
let needsKey = false;
let keyRefused = false;

function sinceArrivalMs() {
  return Math.max(performance.now() - arrived.steadyMs, Date.now() - arrived.wallMs, 0);
}

function authorization() {
  const key = sessionStorage.getItem(keyName);
  return key ? { authorization: `Bearer ${key}` } : {};
}

function take(next) {
  state = next;
  arrived = { steadyMs: performance.now(), wallMs: Date.now() };
  [needsKey, failed] = [false, false];
  // For a page or a test around this one: the document as it is shown.
  document.dispatchEvent(new CustomEvent("jilian:state", { detail: state }));
}

/** The server wants a key, or another one. */
function askForKey() {
  needsKey = true;
  keyRefused = sessionStorage.getItem(keyName) !== null;
  sessionStorage.removeItem(keyName);
  [state, failed] = [undefined, false];
}

async function poll() {
  try {
    const response = await fetch("/wall/state", {
      cache: "no-store",
      headers: authorization(),
      signal: AbortSignal.timeout(answerWithinMs),
    });
    if (response.ok) take(await response.json());
    else if (response.status === 401) askForKey();
    else failed = true;
  } catch {
    failed = true;
  }
}

const stream = followState("/wall/stream", {
  headers: authorization,
  silentAfterMs: lostAfterMs,
  onState: (next) => {
    take(next);
    show();
  },
  onNow: (nowMs) => {
    if (state) take({ ...state, nowMs });
  },
});

function setText(id, text) {
  const element = byId(id);
  if (element.textContent !== text) element.textContent = text;
}

function showBands(t, lost, nowMs) {
  const demo = byId("demo");
  demo.hidden = !state?.demo;
  if (!demo.hidden) demo.replaceChildren(el("strong", {}, t.demo), el("span", {}, t.demoLong));
  const band = byId("lost");
  band.hidden = !lost;
  if (lost) {
    const text = state ? t.lostLong(momentText(state.nowMs, nowMs), ageText(nowMs - state.nowMs, t)) : t.lostNever;
    band.replaceChildren(el("strong", {}, t.lost), el("span", {}, text));
  }
}

function showHead(t, lost, nowMs) {
  document.documentElement.lang = lang === "zh" ? "zh-CN" : "en";
  document.body.className = lost ? "lost" : "";
  setText("lang", t.other);
  setText("link", lost ? t.lost : state ? t.linked : needsKey ? t.keyNeeded : t.connecting);
  byId("link").className = `link ${lost ? "offline" : state ? "online" : "never"}`;
  if (!state) return;
  setText("title", state.title);
  setText("pilot", state.pilot);
  setText("clock", `${dateText(nowMs)} ${timeText(nowMs)}`);
  document.title = `${lost ? `${t.lost} · ` : ""}${state.demo ? `${t.demo} · ` : ""}${state.title} · 集联`;
}

function showKeyForm(t) {
  byId("key").hidden = !needsKey;
  setText("key-label", t.keyLabel);
  setText("key-button", t.keyButton);
  setText("key-fault", keyRefused ? t.keyWrong : "");
}

/**
 * How many factories one page of a wide screen holds, in columns and rows of devices; a narrow one scrolls through all. English words are
 * longer: its headlines take a line more, its cards have a row less.
 */
function layoutOf(count) {
  if (!matchMedia("(min-width: 900px)").matches)
    return { columns: 1, perPage: count, rows: Number.POSITIVE_INFINITY, tall: true };
  const less = lang === "en" ? 1 : 0;
  if (count <= 3) return { columns: Math.max(1, count), perPage: 3, rows: 7 - less, tall: true };
  return { columns: 2, perPage: 4, rows: 6 - less, tall: false };
}

/** Rows that fitted the cards of a layout last: what is written in them, and how large, is not known before it stands there. */
const fitted = new Map();
const leastRows = 3;

function showState(t, lost, nowMs) {
  const layout = layoutOf(state.factories.length);
  const kind = `${lang} ${innerWidth}x${innerHeight} ${layout.columns} ${layout.tall}`;
  const rows = Math.min(layout.rows, fitted.get(kind) ?? layout.rows);
  const pages = Math.max(1, Math.ceil(state.factories.length / layout.perPage));
  const page = Math.floor(performance.now() / pageMs) % pages;
  const shown = state.factories.slice(page * layout.perPage, (page + 1) * layout.perPage);
  const context = {
    t,
    nowMs,
    stateMs: state.nowMs,
    clockRate: state.clockRate,
    demo: state.demo,
    reasons: state.reasons,
    lang,
    lost,
    rows,
  };
  byId("figures").replaceChildren(...figureTiles(state, context));
  byId("kpis").replaceChildren(...kpiStrip(state.kpis, context));
  byId("alarms").hidden = state.alarms === null;
  byId("alarms").replaceChildren(...(state.alarms === null ? [] : alarmItems(state.alarms, context)));
  const factories = byId("factories");
  factories.className = `columns-${layout.columns} ${layout.tall ? "tall" : "short"}`;
  factories.replaceChildren(...shown.map((factory) => factoryCard(factory, context)));
  byId("foot").replaceChildren(...legend(state, context, pages > 1 ? t.page(page + 1, pages) : undefined));
  const isCut = [...factories.children].some((card) => card.scrollHeight > card.clientHeight + 1);
  if (!isCut || rows <= leastRows || rows === Number.POSITIVE_INFINITY) return;
  if (fitted.size > 100) fitted.clear();
  fitted.set(kind, rows - 1);
  showState(t, lost, nowMs);
}

function show() {
  const t = words[lang];
  const elapsedMs = state ? sinceArrivalMs() : 0;
  const lost = failed || (state !== undefined && elapsedMs > lostAfterMs);
  const nowMs = state ? state.nowMs + elapsedMs * state.clockRate : 0;
  showBands(t, lost, nowMs);
  showHead(t, lost, nowMs);
  showKeyForm(t);
  if (state) showState(t, lost, nowMs);
  else for (const id of ["figures", "kpis", "alarms", "factories", "foot"]) byId(id).replaceChildren();
}

/** Asks while the stream is not there: at the start, between two of its attempts, and where something on the way keeps it back. */
async function turn() {
  if (!needsKey) {
    stream.keepOpen();
    if (!stream.isLive()) await poll().then(show);
  }
  setTimeout(turn, pollMs);
}

byId("lang").addEventListener("click", () => {
  lang = words[lang].otherLang;
  const url = new URL(location.href);
  url.searchParams.set("lang", lang);
  history.replaceState(null, "", url);
  show();
});

byId("key").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(keyName, byId("secret").value.trim());
  byId("secret").value = "";
  needsKey = false;
  stream.openNow();
  poll().then(show);
});

addEventListener("resize", show);
// Ages go on while a request hangs.
setInterval(show, pollMs);
show();
turn();
