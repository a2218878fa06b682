import { noCounts } from "@jilian/domain/account.ts";
import { getOrMake } from "@jilian/domain/get-or-make.ts";
import { hourMs, isoTime, type Period, periodLengthMs, periodStart } from "@jilian/domain/periods.ts";
import { levels, share } from "@jilian/domain/result.ts";
import type { CompletenessSum } from "@jilian/store/completeness.ts";
import type { Registry } from "@jilian/store/registry.ts";
import { type Static, Type } from "typebox";
import type { ApiDeps, App } from "../app.ts";
import { badCursor, conflicts, decodeCursor, encodeCursor } from "../cursor.ts";
import type { Directory } from "../directory.ts";
import { demoNotice, levelSchema, noticeSchema, nullable, timeSchema } from "../figures.ts";
import { defaultLimit, defaultSpanMs, maxDeviceHoursPerPage, maxSpanMs } from "../limits.ts";
import { checkEntity } from "../lookup.ts";
import { cursorParameter, idParameter, limitParameter, strict, timeParameter } from "../parameters.ts";
import { invalid, type ParameterFault, problemSchema } from "../problems.ts";
import { parseTime, readRange } from "../time-range.ts";

const ledgerPeriods = ["hour", "day"] as const satisfies readonly Period[];
const ledgerPeriodSchema = Type.Enum([...ledgerPeriods], {
  description: "half-open, Asia/Shanghai, labelled by its start 周期",
});
const completenessQuery = Type.Object(
  {
    level: Type.Optional(levelSchema),
    entity: Type.Optional(idParameter),
    period: Type.Optional(ledgerPeriodSchema),
    from: Type.Optional(timeParameter),
    to: Type.Optional(timeParameter),
    limit: Type.Optional(limitParameter),
    cursor: Type.Optional(cursorParameter),
  },
  strict,
);
const questionSchema = Type.Object(
  {
    level: Type.Enum([...levels]),
    entity: Type.Optional(Type.String()),
    period: Type.Enum([...ledgerPeriods]),
    fromMs: Type.Integer({ minimum: 0 }),
    toMs: Type.Integer({ minimum: 0 }),
  },
  strict,
);
type Question = Static<typeof questionSchema>;
/** Start and entity of the last row that was given. */
const cursorSchema = Type.Object({ q: questionSchema, a: Type.Tuple([Type.Integer(), Type.String()]) }, strict);

const count = (description: string) => Type.Integer({ minimum: 0, description });
const pollsSchema = Type.Object({
  scheduled: count("polls that were due: those made, left out, and prevented by a gap"),
  answered: count("polls that the device answered"),
  skipped: count("left out because the one before took longer than the interval"),
});
const readingsSchema = Type.Object({
  polled: count("readings of tags in the answers"),
  suppressed: count("those that made no sample: within the deadband, the heartbeat not due"),
  bad: count("those of bad quality, suppressed or not"),
});
const samplesSchema = Type.Object({
  marked: count(
    "queued without a reading: of derived tags, and those that mark that the device could not be read any more",
  ),
  queued: count("handed to the gateway's outbox"),
  dropped: Type.Object({
    full: count("the outbox had no room"),
    age: count("too old for the outbox"),
    unwritable: count("the outbox could not be written"),
  }),
  missing: count("queued, not dropped and not stored: on its way, set aside, or lost"),
  uncounted: count("stored and not counted as queued: after a power cut a gateway may not know all that it had sent"),
});
const orNull = <T extends ReturnType<typeof Type.Object>>(schema: T) => Type.Union([schema, Type.Null()]);

const rowSchema = Type.Object({
  level: levelSchema,
  entity: Type.String(),
  entityName: Type.String(),
  period: ledgerPeriodSchema,
  start: timeSchema,
  end: Type.String({ description: "exclusive" }),
  deviceHours: Type.Object({
    total: count("registered devices times hours that have begun"),
    withoutAccount: count("of which no account came: nothing is counted for them, and nothing is taken for 0"),
  }),
  polls: orNull(pollsSchema),
  readings: orNull(readingsSchema),
  samples: orNull(samplesSchema),
  stored: nullable(Type.Integer({ description: "samples in the store; null where nothing is known of the period" })),
  gaps: Type.Array(
    Type.Object({
      reason: Type.String({ description: "stable code: MODBUS_TIMEOUT, GATEWAY_DOWN, CLOCK_SET_FORWARD, ..." }),
      ms: count("milliseconds of all devices together"),
    }),
    { description: "why devices were not read, longest first" },
  ),
  droppedByMetric: Type.Array(
    Type.Object({
      metric: Type.String({ description: "empty: those together that an account had no room to name" }),
      samples: count("dropped samples of it"),
    }),
    { description: "what was dropped, of devices alone, most first; empty at the other levels 按测点列出舍弃的样本" },
  ),
  collectionRate: nullable(
    Type.Number({
      description:
        "0-1, four places: good polls stored or suppressed by the deadband over polls scheduled; null where no account came or no poll was due 数据采集率",
    }),
  ),
  accountTime: nullable(Type.String({ description: "source time of the newest account" })),
});
type Row = Static<typeof rowSchema>;
const pageSchema = Type.Object({
  notice: noticeSchema,
  from: timeSchema,
  to: Type.String({ description: "exclusive; a period belongs to the range by its start" }),
  completeness: Type.Array(rowSchema),
  next: nullable(Type.String({ description: "cursor of the next page; null: nothing more in this range now" })),
});

function isWhole({ q: { period, fromMs, toMs }, a: [startMs] }: Static<typeof cursorSchema>): boolean {
  return fromMs < toMs && toMs - fromMs <= maxSpanMs[period] && periodStart(period, startMs) === startMs;
}

function readQuestion(given: Static<typeof completenessQuery>, nowMs: number) {
  const { level, entity, period, from, to } = given;
  const faults: ParameterFault[] = [];
  if (given.cursor !== undefined) {
    const held = decodeCursor(cursorSchema, given.cursor);
    if (!held || !isWhole(held)) throw invalid([badCursor]);
    const fromMs = from === undefined ? undefined : parseTime(from);
    const toMs = to === undefined ? undefined : parseTime(to);
    faults.push(...conflicts({ level, entity, period, fromMs, toMs }, held.q));
    if (faults.length > 0) throw invalid(faults);
    return { question: held.q, after: held.a };
  }
  const asked = { level: level ?? "cluster", period: period ?? "hour" } as const;
  const setting = { nowMs, defaultMs: defaultSpanMs[asked.period], maxMs: maxSpanMs[asked.period] };
  const range = readRange(given, setting, faults);
  if (faults.length > 0) throw invalid(faults);
  const question: Question = { ...asked, ...range, ...(entity !== undefined && { entity }) };
  return { question, after: undefined };
}

/** The registered devices of each entity of a level, entities in the order of their ids. */
function membersOf({ devices, file }: Registry, { level, entity }: Question): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const [key, { factoryId, enterpriseId, lineKey }] of devices) {
    const own = {
      ...{ device: key, line: lineKey, factory: factoryId, enterprise: enterpriseId },
      ...{ cluster: file.cluster.id, pilot: file.pilot.id },
    }[level];
    if (own === undefined || (entity !== undefined && own !== entity)) continue;
    getOrMake(found, own, () => []).push(key);
  }
  return new Map([...found].sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Good polls stored or suppressed over polls scheduled: answered polls, less the share of their readings that is bad or not stored. */
export function collectionRate(sum: CompletenessSum): number | null {
  const { scheduled, answered, polled, bad, droppedFull, droppedAge, droppedUnwritable, missing } = sum;
  if (scheduled === 0) return null;
  const lost = bad + droppedFull + droppedAge + droppedUnwritable + missing;
  const [kept, whole] = polled === 0 ? [1, 1] : [Math.max(0, polled - lost), polled];
  return share(BigInt(answered) * BigInt(kept), BigInt(scheduled) * BigInt(whole));
}

type Cell = { entity: string; devices: number; startMs: number };

function rowOf(
  { level, period }: Question,
  cell: Cell,
  sum: CompletenessSum | undefined,
  names: Directory,
  nowMs: number,
): Row {
  const { entity, devices, startMs } = cell;
  const endMs = startMs + periodLengthMs(period);
  const total = devices * Math.max(0, Math.ceil((Math.min(endMs, nowMs) - startMs) / hourMs));
  const { scheduled, answered, skipped, polled, suppressed, bad, marked, queued, ...drops } = sum ?? noCounts;
  const accounted = sum !== undefined && sum.accounted > 0;
  const told = <T>(value: T): T | null => (accounted ? value : null);
  const dropped = { full: drops.droppedFull, age: drops.droppedAge, unwritable: drops.droppedUnwritable };
  const gaps = Object.entries(sum?.gapMs ?? {}).map(([reason, ms]) => ({ reason, ms }));
  const byMetric = Object.entries(sum?.droppedTags ?? {}).map(([metric, samples]) => ({ metric, samples }));
  return {
    level,
    entity,
    entityName: names.entities[level].get(entity) ?? entity,
    period,
    start: isoTime(startMs),
    end: isoTime(endMs),
    // Clocks that run ahead account for hours that have not begun.
    deviceHours: { total, withoutAccount: Math.max(0, total - (sum?.accounted ?? 0)) },
    polls: told({ scheduled, answered, skipped }),
    readings: told({ polled, suppressed, bad }),
    samples: told({ marked, queued, dropped, missing: sum?.missing ?? 0, uncounted: sum?.uncounted ?? 0 }),
    stored: sum ? sum.stored : null,
    gaps: gaps.sort((a, b) => b.ms - a.ms || (a.reason < b.reason ? -1 : 1)),
    droppedByMetric: byMetric.sort((a, b) => b.samples - a.samples || (a.metric < b.metric ? -1 : 1)),
    collectionRate: accounted ? collectionRate(sum) : null,
    accountTime: accounted ? isoTime(sum.accountMs) : null,
  };
}

/** The cells of a question in order, those after a place alone: few enough that a page reads no more device hours than it may. */
function* cellsOf(question: Question, members: ReadonlyMap<string, readonly string[]>, after?: [number, string]) {
  const { period, fromMs, toMs } = question;
  const length = periodLengthMs(period);
  const first = periodStart(period, fromMs + length - 1);
  for (let startMs = Math.max(first, after?.[0] ?? 0); startMs < toMs; startMs += length) {
    for (const [entity, devices] of members) {
      if (after && startMs === after[0] && entity <= after[1]) continue;
      yield { entity, devices: devices.length, startMs };
    }
  }
}

function pageOf(
  question: Question,
  after: [number, string] | undefined,
  limit: number,
  deps: ApiDeps,
  names: Directory,
) {
  const { ledger, registry, clock } = deps;
  const members = membersOf(registry, question);
  const length = periodLengthMs(question.period);
  const cells: Cell[] = [];
  let deviceHours = 0;
  let more = false;
  for (const cell of cellsOf(question, members, after)) {
    deviceHours += cell.devices * (length / hourMs);
    more = cells.length === limit || (cells.length > 0 && deviceHours > maxDeviceHoursPerPage);
    if (more) break;
    cells.push(cell);
  }
  const [head, last] = [cells[0], cells.at(-1)];
  if (!head || !last) return { rows: [], next: undefined };
  const asked = new Set(cells.map(({ entity }) => entity));
  const sums = ledger.completeness({
    members: [...members].flatMap(([entity, own]) =>
      asked.has(entity) ? own.map((device) => ({ device, entity })) : [],
    ),
    period: question.period,
    fromMs: head.startMs,
    toMs: last.startMs + length,
    byMetric: question.level === "device",
  });
  const found = new Map(sums.map((sum) => [`${sum.startMs}/${sum.entity}`, sum]));
  const nowMs = clock.now();
  const rows = cells.map((cell) => rowOf(question, cell, found.get(`${cell.startMs}/${cell.entity}`), names, nowMs));
  return { rows, next: more ? ([last.startMs, last.entity] as const) : undefined };
}

/** The completeness ledger: what gateways say they did beside what is stored, per entity and hour or day. */
export function addCompletenessRoutes(app: App, deps: ApiDeps, directory: Directory): void {
  const schema = {
    operationId: "listCompleteness",
    tags: ["readings"],
    summary: "数据完整性台账 · What was polled, suppressed, queued, dropped and stored, and why devices were not read",
    description:
      "Per device and hour, and sums of these. Polls and gaps belong to the hour of the gateway's clock, samples to that of their source time. Where no account came, counts are null and never 0. The completeness of a figure of an hour or day takes it into account.\n\n按设备、小时统计应采、实采、抑制、入队、丢弃与入库数量及中断原因，逐级汇总。",
    querystring: completenessQuery,
    response: { 200: pageSchema, "4xx": problemSchema },
  };
  const config = { problems: ["PARAMETER_INVALID", "ENTITY_UNKNOWN"] as const };
  app.get("/completeness", { schema, config }, async ({ query: given }) => {
    const { question, after } = readQuestion(given, deps.clock.now());
    checkEntity(directory, question.level, question.entity);
    const { rows, next } = pageOf(question, after, given.limit ?? defaultLimit, deps, directory);
    return {
      notice: deps.registry.demo ? demoNotice : null,
      from: isoTime(question.fromMs),
      to: isoTime(question.toMs),
      completeness: rows,
      next: next ? encodeCursor({ q: question, a: next }) : null,
    };
  });
}
