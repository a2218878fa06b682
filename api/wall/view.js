import { ageText, minuteText, momentText, percentText, shareText, timeText, valueText } from "./text.js";

/**
 * Builds elements of the page from the state. Everything is set as text, never as markup: names come from configuration.
 * `context` is { t, lang, reasons, nowMs, stateMs, clockRate, demo, lost, rows }: words, why values are null, the platform's present time
 * and that of the state, whether it answers, rows of devices that a card has room for.
 */

const svgSpace = "http://www.w3.org/2000/svg";

export function el(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== undefined) made.setAttribute(name, value);
  made.append(...children.filter((child) => child !== undefined && child !== ""));
  return made;
}

function svg(tag, attributes, ...children) {
  const made = document.createElementNS(svgSpace, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** The time a figure tells of: what is counted live tells of the moment at which the state was made. */
function dataTime(figure, context) {
  return figure.status === "live" ? context.stateMs : figure.dataMs;
}

/** A figure that tells nothing newer than this, on the platform's clock, is shown as old. */
const oldAfterMs = 100_000;

function isOld(figure, context) {
  const dataMs = dataTime(figure, context);
  return dataMs !== null && context.nowMs - dataMs > oldAfterMs * context.clockRate;
}

function statusText(figure, { t, lost }) {
  // What was counted live is not live once nothing arrives; its data time stays.
  if (figure.status === null || (figure.status === "live" && lost)) return undefined;
  return figure.status === "revised" ? t.revised(figure.revision) : t[figure.status];
}

/** What every figure says of itself: completeness, provisional or final, estimate, lower bound, data time and age. */
function judgement(figure, context) {
  const { t, nowMs } = context;
  const items = [];
  if (figure.status !== null) {
    // A count of what is there has no part that could be missing: the dash says so.
    const share = figure.completeness;
    const low = share !== null && share < 0.9;
    items.push(
      el("span", { class: low ? "low" : undefined }, `${t.completeness} ${share === null ? "—" : shareText(share)}`),
    );
  }
  const status = statusText(figure, context);
  if (status) items.push(el("span", { class: `status-${figure.status}` }, status));
  // Of a ratio a term is a lower bound: it may be wrong either way.
  const isRatio = figure.unit === "1" || figure.unit.includes("/");
  if (figure.lowerBound) items.push(el("span", { class: "low" }, isRatio ? t.lowerTerm : t.lowerBound));
  if (figure.estimatedShare) items.push(el("span", { class: "low" }, t.estimated(shareText(figure.estimatedShare))));
  const dataMs = dataTime(figure, context);
  const age =
    dataMs === null
      ? undefined
      : el(
          "p",
          { class: "age" },
          `${t.dataTime} ${momentText(dataMs, nowMs)}`,
          el("b", {}, ageText(nowMs - dataMs, t)),
        );
  return el("div", { class: "judgement" }, el("p", {}, ...items), age);
}

/** Why a figure has no value, in the words that came with the data. */
function reasonText(figure, { lang, reasons }) {
  return reasons[figure.reason]?.[lang] ?? figure.reason ?? "";
}

function value(figure, context) {
  if (figure.value === null)
    return el("span", { class: "value none" }, "—", el("small", {}, reasonText(figure, context)));
  const unit = figure.unit === "1" ? undefined : el("small", {}, figure.unit);
  return el(
    "span",
    { class: "value", title: `${figure.value} ${figure.unit}` },
    valueText(figure.value, figure.unit),
    unit,
  );
}

function simulatedMark(figure, context) {
  return figure.simulated || context.demo ? el("span", { class: "mark" }, context.t.simulated) : undefined;
}

/** `kind` colours the value: count, energy, or plain. */
function figureBlock(kind, label, figure, context, note) {
  return el(
    "div",
    { class: `figure ${isOld(figure, context) ? "old" : kind}` },
    el("h3", {}, label, simulatedMark(figure, context)),
    el(
      "p",
      { class: "line" },
      value(figure, context),
      note === undefined ? undefined : el("span", { class: "note" }, note),
    ),
    judgement(figure, context),
  );
}

function tile(kind, ...blocks) {
  return el("article", { class: `tile ${kind}` }, ...blocks);
}

/** The band of headline figures. */
export function figureTiles(state, context) {
  const { t } = context;
  const f = state.figures;
  return [
    tile(
      "single",
      figureBlock("count", t.connected, f.factoriesConnected, context, t.ofFactories(state.factoriesRegistered)),
    ),
    tile(
      "trio",
      figureBlock("count", `${t.networked}·${t.online}`, f.devicesOnline, context),
      figureBlock("plain", t.everConnected, f.devicesEverConnected, context),
      figureBlock("plain", t.registered, f.devicesRegistered, context),
    ),
    tile("amber", figureBlock("energy", t.today, f.energyDay, context)),
    tile("amber", figureBlock("energy", t.hour, f.energyHour, context)),
    tile(
      "amber duo",
      figureBlock("energy", t.minute, f.energyMinute, context),
      figureBlock("energy", t.power, f.power, context),
    ),
    tile(
      "amber",
      figureBlock(
        "energy",
        t.kgce,
        f.comprehensiveDay,
        context,
        f.comprehensiveDay.factorTable ? t.standardCoal(f.comprehensiveDay.factorTable) : undefined,
      ),
    ),
  ];
}

/** A ratio in percent; a sum or a quotient with its unit. */
function kpiValue(kpi, context) {
  if (kpi.value === null) return value(kpi, context);
  const [number, unit] = kpi.unit === "1" ? [percentText(kpi.value), "%"] : [valueText(kpi.value, kpi.unit), kpi.unit];
  return el("span", { class: "value", title: `${kpi.value} ${kpi.unit}` }, number, el("small", {}, unit));
}

/** A name that fits its place; that of the definition stands in the tooltip. */
function kpiName(kpi, names, { lang }) {
  return names[kpi.indicator] ?? kpi[lang];
}

/** Today's ratios of the cluster, each with what every figure says of itself. */
export function kpiStrip(kpis, context) {
  const { t } = context;
  return kpis.map((kpi) =>
    el(
      "article",
      { class: `tile kpi ${isOld(kpi, context) ? "old" : "plain"}`, title: kpi[context.lang] },
      el(
        "div",
        { class: "figure" },
        el("h3", {}, `${t.todays}${kpiName(kpi, t.kpis, context)}`, simulatedMark(kpi, context)),
        el("p", { class: "line" }, kpiValue(kpi, context)),
        judgement(kpi, context),
      ),
    ),
  );
}

/** The same of a factory, in one line: a dash where there is no value, its reason beside it. */
function kpiLine(kpis, context) {
  const items = kpis.map((kpi) =>
    el(
      "li",
      {
        class: `ratio${isOld(kpi, context) ? " old" : ""}`,
        title: kpi.value === null ? `${kpi[context.lang]}: ${reasonText(kpi, context)}` : kpi[context.lang],
      },
      el("span", { class: "label" }, kpiName(kpi, context.t.kpisShort, context)),
      kpiValue(kpi, context),
    ),
  );
  return el("ul", { class: "ratios", "aria-label": context.t.todaysRatios }, ...items, kpiMark(kpis, context));
}

/** What a reader must know of the small figures besides their values: once for all of them, for the worst. */
function kpiMark(kpis, { t }) {
  const known = kpis.filter((kpi) => kpi.value !== null);
  const lowest = Math.min(...known.map((kpi) => kpi.completeness ?? 1));
  const words = [];
  if (lowest < 0.9) words.push(`${t.completeness} ${t.lowest} ${shareText(lowest)}`);
  if (known.some((kpi) => kpi.lowerBound)) words.push(t.lowerTerm);
  return words.length > 0 ? el("li", { class: "ratio low" }, words.join(" · ")) : undefined;
}

/** Shape and colour of a state, always beside its word: full disc, half disc, cross, hollow dashed ring. */
export function stateShape(state) {
  const shapes = {
    online: () => [svg("circle", { cx: 8, cy: 8, r: 6.5, class: "fill" })],
    stale: () => [
      svg("circle", { cx: 8, cy: 8, r: 6, class: "stroke" }),
      svg("path", { d: "M8 2a6 6 0 0 0 0 12z", class: "fill" }),
    ],
    offline: () => [svg("path", { d: "M3 3l10 10M13 3L3 13", class: "stroke thick" })],
    never: () => [svg("circle", { cx: 8, cy: 8, r: 6, class: "stroke dashed" })],
  };
  return svg("svg", { viewBox: "0 0 16 16", class: `shape ${state}`, "aria-hidden": "true" }, ...shapes[state]());
}

const severity = { offline: 0, stale: 1, never: 2, online: 3 };

/** A state in words; what was true when the connection was lost is not told as if it were true now. */
function stateText(text, { t, lost }) {
  return lost ? t.was(text) : text;
}

function deviceRow(device, context) {
  const { t, nowMs } = context;
  const age = device.lastGoodMs === null ? t.noReading : ageText(nowMs - device.lastGoodMs, t);
  return el(
    "li",
    { class: `device ${device.state}`, title: device.id },
    stateShape(device.state),
    el("span", { class: "name" }, device.name),
    el("span", { class: "state" }, stateText(t[device.state], context)),
    el("span", { class: "age" }, age),
    device.reason === null ? undefined : el("span", { class: "reason", title: device.reason }, device.reason),
  );
}

/** Devices that need attention first; a reason takes a row of its own. What has no room is counted, not hidden. */
function deviceList(devices, context, rows) {
  const sorted = devices.toSorted((a, b) => severity[a.state] - severity[b.state]);
  let room = rows;
  const shown = [];
  for (const device of sorted) {
    const needed = device.reason === null ? 1 : 2;
    const reserve = shown.length + 1 < sorted.length ? 1 : 0;
    if (needed + reserve > room) break;
    room -= needed;
    shown.push(device);
  }
  const rest = sorted.slice(shown.length);
  const off = rest.filter((device) => device.state !== "online").length;
  const more = rest.length > 0 ? el("li", { class: "more" }, context.t.more(rest.length, off)) : undefined;
  return el("ul", { class: "devices" }, ...shown.map((device) => deviceRow(device, context)), more);
}

function gatewayRow(gateway, context) {
  const { t, nowMs } = context;
  const parts = [stateText(gateway.alive ? t.gatewayAlive : t.gatewayDead, context)];
  if (gateway.sinceMs !== null) parts.push(t.since(momentText(gateway.sinceMs, nowMs).slice(0, -3)));
  const queue =
    gateway.pendingRecords === null ? [] : [[t.backlog(gateway.pendingRecords), gateway.pendingRecords > 1000]];
  if (gateway.droppedSamples !== null) queue.push([t.dropped(gateway.droppedSamples), gateway.droppedSamples > 0]);
  if (gateway.setAsideRecords) queue.push([t.setAside(gateway.setAsideRecords), true]);
  return el(
    "li",
    { class: `gateway ${gateway.alive ? "online" : "offline"}` },
    stateShape(gateway.alive ? "online" : "offline"),
    el("span", { class: "name" }, `${t.gateway} ${gateway.name}`),
    el("span", { class: "state" }, parts.join(" · ")),
    el("span", { class: "queue" }, ...queue.map(([text, bad]) => el("span", { class: bad ? "low" : undefined }, text))),
  );
}

function bar(minute, i, height, top) {
  const step = 10;
  const x = i * step + 1;
  if (minute.value === null) return svg("path", { d: `M${x} ${height - 2}h${step - 2}`, class: "gap" });
  const size = top === 0 ? 2 : Math.max(2, (Number(minute.value) / top) * (height - 4));
  const whole = minute.completeness === null || minute.completeness >= 0.9;
  const inset = whole ? 0 : 0.75;
  const rect = svg("rect", {
    x: x + inset,
    y: height - size + inset,
    width: step - 2 - 2 * inset,
    height: Math.max(0.5, size - 2 * inset),
    class: whole ? "whole" : "part",
  });
  rect.append(svg("title", {}, `${timeText(minute.startMs)}  ${minute.value} kWh`));
  return rect;
}

/** One bar a minute: full where complete, hollow below 90 %, a dotted base line where nothing is known. Never a line across a gap. */
function series(factory, context) {
  const { t } = context;
  const minutes = factory.energyMinutes;
  const known = minutes.filter((m) => m.value !== null).map((m) => Number(m.value));
  const top = known.length > 0 ? Math.max(...known) : 0;
  const height = 72;
  const drawing = svg(
    "svg",
    {
      viewBox: `0 0 ${minutes.length * 10} ${height}`,
      preserveAspectRatio: "none",
      class: "series",
      role: "img",
      "aria-label": t.series,
    },
    ...minutes.map((minute, i) => bar(minute, i, height, top)),
  );
  return el(
    "div",
    { class: "chart" },
    el(
      "p",
      { class: "scale" },
      el("span", {}, t.series),
      el("span", {}, known.length > 0 ? `${t.max} ${valueText(top, "kWh")} kWh` : t.no_data),
    ),
    drawing,
    el(
      "p",
      { class: "scale" },
      el("span", {}, minuteText(minutes[0].startMs)),
      el("span", {}, minuteText(minutes.at(-1).startMs + 60_000)),
    ),
  );
}

/** A factory: its gateways, its devices, its energy. */
export function factoryCard(factory, context) {
  const { t } = context;
  const online = factory.devices.filter((device) => device.state === "online").length;
  return el(
    "article",
    { class: `factory${online === 0 ? " dark" : ""}` },
    el(
      "header",
      {},
      el("h2", {}, factory.name),
      el("p", {}, factory.enterprise),
      el("p", { class: "sum" }, t.onlineOf(online, factory.devices.length)),
    ),
    kpiLine(factory.kpis, context),
    el(
      "div",
      { class: "machines" },
      el("ul", { class: "gateways" }, ...factory.gateways.map((gateway) => gatewayRow(gateway, context))),
      deviceList(factory.devices, context, context.rows - factory.gateways.length + 1),
    ),
    el(
      "div",
      { class: "power" },
      series(factory, context),
      el(
        "div",
        { class: "pair" },
        figureBlock("energy", t.minute, factory.energyMinute, context),
        figureBlock("energy", t.cardToday, factory.energyDay, context),
      ),
    ),
  );
}

function barSample(kind, text) {
  const shape =
    kind === "gap"
      ? svg("path", { d: "M1 14h14", class: "gap" })
      : svg("rect", { x: 4, y: 3, width: 8, height: 12, class: kind });
  return el("span", {}, svg("svg", { viewBox: "0 0 16 16", class: "shape", "aria-hidden": "true" }, shape), text);
}

/** Alarms in one place of the head: how many, then the most pressing ones, each with its device and age. */
export function alarmItems(alarms, context) {
  const { t, lang, nowMs } = context;
  const counted = [t.alarms(alarms.active)];
  if (alarms.unknown > 0) counted.push(t.alarmsUnknown(alarms.unknown));
  if (alarms.unacknowledged > 0) counted.push(t.alarmsOpen(alarms.unacknowledged));
  const sum = el(
    "li",
    { class: alarms.active + alarms.unknown > 0 ? "sum low" : "sum" },
    stateText(counted.join(" · "), context),
  );
  const nameOf = (alarm) => (lang === "en" && alarm.en) || alarm.zh;
  const open = alarms.open.map((alarm) =>
    el(
      "li",
      { class: `priority-${alarm.priority}`, title: `${nameOf(alarm)} · ${alarm.device}` },
      el("b", {}, t.priorities[alarm.priority]),
      ` ${nameOf(alarm)} · ${alarm.device} · ${ageText(nowMs - alarm.raisedMs, t)}`,
      alarm.state.startsWith("unknown") ? ` · ${t.alarmUnknown}` : undefined,
    ),
  );
  return [sum, ...open];
}

/** The foot: what shapes mean, and what the figures were made of. */
export function legend(state, context, page) {
  const { t } = context;
  const states = ["online", "stale", "offline", "never"].map((name) =>
    el("span", { class: name }, stateShape(name), t[name]),
  );
  const facts = [`${t.registry} ${state.registryVersion}`];
  if (state.operator) facts.unshift(`${t.operator} ${state.operator}`);
  if (state.clockRate !== 1) facts.push(t.clock(state.clockRate));
  if (page) facts.unshift(page);
  return [
    el(
      "p",
      { class: "shapes" },
      ...states,
      barSample("whole", t.barFull),
      barSample("part", t.barHollow),
      barSample("gap", t.barNone),
    ),
    el("p", {}, facts.join("　")),
  ];
}
