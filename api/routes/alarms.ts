import { isoTime } from "@jilian/domain/periods.ts";
import { alarmStates, type StoredAlarm } from "@jilian/store/alarms.ts";
import { type Static, Type } from "typebox";
import { alarmSchema, alarmStateSchema, alarmView } from "../alarm-view.ts";
import type { ApiDeps, App } from "../app.ts";
import { badCursor, conflicts, decodeCursor, encodeCursor } from "../cursor.ts";
import type { Directory } from "../directory.ts";
import { demoNotice, noticeSchema, nullable, timeSchema } from "../figures.ts";
import { defaultAlarmsSpanMs, defaultLimit, maxAlarmsSpanMs } from "../limits.ts";
import { checkEntity } from "../lookup.ts";
import { cursorParameter, idParameter, limitParameter, strict, timeParameter } from "../parameters.ts";
import { invalid, type ParameterFault, problem, problemSchema } from "../problems.ts";
import type { KeyCheck } from "../security.ts";
import { parseTime, readRange } from "../time-range.ts";

const alarmsQuery = Type.Object(
  {
    from: Type.Optional(timeParameter),
    to: Type.Optional(timeParameter),
    state: Type.Optional(alarmStateSchema),
    device: Type.Optional(idParameter),
    limit: Type.Optional(limitParameter),
    cursor: Type.Optional(cursorParameter),
  },
  strict,
);
const questionSchema = Type.Object(
  {
    fromMs: Type.Integer({ minimum: 0 }),
    toMs: Type.Integer({ minimum: 0 }),
    state: Type.Optional(Type.Enum([...alarmStates])),
    device: Type.Optional(Type.String()),
  },
  strict,
);
type Question = Static<typeof questionSchema>;
const keySchema = Type.Tuple([Type.Integer(), Type.Integer()]);
const cursorSchema = Type.Object({ q: questionSchema, a: keySchema }, strict);

const pageSchema = Type.Object({
  notice: noticeSchema,
  from: timeSchema,
  to: Type.String({ description: "exclusive" }),
  counts: Type.Object(
    { active: Type.Integer(), unknown: Type.Integer(), unacknowledged: Type.Integer() },
    { description: "of all alarms, as of now" },
  ),
  dropped: Type.Object(
    {
      count: Type.Integer(),
      until: nullable(Type.String({ description: "figures of periods that begin before may lack some; null: none" })),
    },
    { description: "alarms that the platform does not keep any more" },
  ),
  alarms: Type.Array(alarmSchema, { description: "by time of raising" }),
  next: nullable(Type.String({ description: "cursor of the next page; null: nothing more in this range now" })),
});
const oneSchema = Type.Object({ notice: noticeSchema, alarm: alarmSchema });
const alarmId = Type.Object({ id: Type.Integer({ minimum: 1, description: "id of the alarm 报警编号" }) });

function readQuestion(
  given: Static<typeof alarmsQuery>,
  nowMs: number,
): { question: Question; after?: [number, number] } {
  const { from, to, state, device } = given;
  if (given.cursor !== undefined) {
    const held = decodeCursor(cursorSchema, given.cursor);
    if (!held || held.q.toMs - held.q.fromMs > maxAlarmsSpanMs) throw invalid([badCursor]);
    const fromMs = from === undefined ? undefined : parseTime(from);
    const toMs = to === undefined ? undefined : parseTime(to);
    const faults = conflicts({ state, device, fromMs, toMs }, held.q);
    if (faults.length > 0) throw invalid(faults);
    return { question: held.q, after: held.a as [number, number] };
  }
  const faults: ParameterFault[] = [];
  // A reading of a clock that runs ahead may have raised one after now.
  const range = readRange(
    given,
    { nowMs: nowMs + 60_000, defaultMs: defaultAlarmsSpanMs, maxMs: maxAlarmsSpanMs },
    faults,
  );
  if (faults.length > 0) throw invalid(faults);
  return { question: { ...range, ...(state && { state }), ...(device && { device }) } };
}

function unknownAlarm(id: number) {
  return problem({
    code: "ALARM_UNKNOWN",
    status: 404,
    detail: `there is no alarm ${id}`,
    remedy: "use an id of /open/v1/alarms; the oldest that have returned are not kept for ever",
  });
}

/** Alarms by the rules of the registry, for who reads. */
export function addAlarmRoutes(app: App, { ledger, registry, clock }: ApiDeps, directory: Directory): void {
  const notice = () => (registry.demo ? demoNotice : null);
  const list = {
    operationId: "listAlarms",
    tags: ["alarms"],
    summary: "报警记录 · Alarms of a time, by when they were raised",
    description:
      "Alarms that were raised before `to` and had not been cleared at `from`; the last 7 days if absent. Alarms are made from stored readings: late readings may move, add or withdraw one, which its `revision` and state tell. Follow them by /open/v1/stream.\n\n列出在 `to` 之前触发且在 `from` 时尚未解除的报警；由入库读数得出，迟到数据可能修订或撤销，见 `revision` 与状态。实时跟踪用 /open/v1/stream。",
    querystring: alarmsQuery,
    response: { 200: pageSchema, "4xx": problemSchema },
  };
  app.get(
    "/alarms",
    { schema: list, config: { problems: ["PARAMETER_INVALID", "ENTITY_UNKNOWN"] } },
    async (request) => {
      const { question, after } = readQuestion(request.query, clock.now());
      checkEntity(directory, "device", question.device);
      const limit = request.query.limit ?? defaultLimit;
      const rows = ledger.alarms({ ...question, after, limit: limit + 1 });
      const page = rows.slice(0, limit);
      const last = page.at(-1);
      const { count, untilMs } = ledger.droppedAlarms();
      return {
        notice: notice(),
        from: isoTime(question.fromMs),
        to: isoTime(question.toMs),
        counts: ledger.alarmCounts(),
        dropped: { count, until: count > 0 ? isoTime(untilMs) : null },
        alarms: page.map((alarm) => alarmView(alarm, directory)),
        next: rows.length > limit && last ? encodeCursor({ q: question, a: [last.raisedMs, last.id] }) : null,
      };
    },
  );

  const one = {
    operationId: "getAlarm",
    tags: ["alarms"],
    summary: "单条报警 · One alarm",
    params: alarmId,
    response: { 200: oneSchema, "4xx": problemSchema },
  };
  app.get(
    "/alarms/:id",
    { schema: one, config: { problems: ["PARAMETER_INVALID", "ALARM_UNKNOWN"] } },
    async (request) => {
      const alarm = ledger.alarm(request.params.id);
      if (!alarm) throw unknownAlarm(request.params.id);
      return { notice: notice(), alarm: alarmView(alarm, directory) };
    },
  );
}

/** Acknowledges an alarm and says so in the audit, both or neither. @throws a 404 or 409 */
function acknowledge(
  { ledger, clock }: ApiDeps,
  id: number,
  by: { name: string; ip: string; note: string },
): StoredAlarm {
  const nowMs = clock.now();
  const done = ledger.transaction(() => {
    const alarm = ledger.acknowledgeAlarm(id, by.name, by.note, nowMs);
    if (alarm) {
      const { rule, device, raisedMs } = alarm;
      const detail = JSON.stringify({ rule, device, raised: isoTime(raisedMs), note: by.note });
      ledger.addAudit({
        atMs: nowMs,
        actor: by.name,
        origin: by.ip,
        action: "alarm.acknowledge",
        subject: String(id),
        detail,
      });
    }
    return alarm;
  });
  if (done) return done;
  const known = ledger.alarm(id);
  if (!known) throw unknownAlarm(id);
  const acknowledged =
    known.acknowledgedMs === null
      ? undefined
      : `acknowledged by ${known.acknowledgedBy} at ${isoTime(known.acknowledgedMs)}`;
  throw problem({
    code: "ALARM_SETTLED",
    status: 409,
    detail: `alarm ${id} was ${acknowledged ?? "withdrawn: late readings show that it never was"}`,
    remedy: "nothing is left to be done; nothing was changed",
  });
}

/** What operators do with alarms. */
export function addAlarmOperatorRoutes(app: App, deps: ApiDeps, directory: Directory, keys: KeyCheck): void {
  const schema = {
    operationId: "acknowledgeAlarm",
    tags: ["operator"],
    security: [{ operator: [] }],
    summary: "确认报警 · Acknowledges an alarm, once",
    description: "By whom is the name of the key. It enters the audit.\n\n确认人即密钥名称，并记入审计。",
    params: alarmId,
    querystring: Type.Object(
      {
        note: Type.Optional(
          Type.String({ maxLength: 500, description: "what was found or done; kept with the alarm 备注" }),
        ),
      },
      strict,
    ),
    response: { 200: oneSchema, "4xx": problemSchema },
  };
  const config = { problems: ["PARAMETER_INVALID", "ALARM_UNKNOWN", "ALARM_SETTLED"] as const };
  app.post("/alarms/:id/acknowledge", { schema, config }, async (request) => {
    const by = { name: keys.nameOf(request), ip: request.ip, note: request.query.note ?? "" };
    const alarm = acknowledge(deps, request.params.id, by);
    return { notice: deps.registry.demo ? demoNotice : null, alarm: alarmView(alarm, directory) };
  });
}
