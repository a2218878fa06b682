import { setImmediate as nextTurn } from "node:timers/promises";
import type { LoggedResult } from "@jilian/store/ledger.ts";
import { Type } from "typebox";
import { alarmView } from "../alarm-view.ts";
import type { App } from "../app.ts";
import type { LogStep } from "../change-feed.ts";
import type { Directory } from "../directory.ts";
import { claimPlace, type EventStream, eventText, keepAliveMs, openEventStream, retryMs } from "../event-stream.ts";
import { figureOf } from "../figures.ts";
import { checkPosition } from "../log-position.ts";
import { logParameter, positionParameter, strict } from "../parameters.ts";
import { invalid, problemSchema } from "../problems.ts";
import { checkFilter, type LogFilter, type LogParts, logFilter, logProblems, wants } from "./changes.ts";

const streamQuery = Type.Object(
  {
    lastEventId: Type.Optional(positionParameter),
    log: Type.Optional(logParameter),
    events: Type.Optional(
      Type.Enum(["change", "alarm"], {
        description:
          "figures alone, or alarms alone; both if absent, figures alone beside a filter of figures 事件种类",
      }),
    ),
    ...logFilter,
  },
  strict,
);

/** Changes that are read and sent together; with it what is held for one client is bounded. */
const stepRows = 200;

/** Where a stream begins: behind the last event the client got, as its header or the parameter says; else at the end of the log. */
function beginOf(header: unknown, parameter: number | undefined, last: number): number {
  if (header === undefined || header === "") return parameter ?? last;
  if (typeof header === "string" && /^\d{1,15}$/.test(header)) return Number(header);
  throw invalid([
    {
      parameter: "Last-Event-ID",
      found: JSON.stringify(header).slice(0, 80),
      expected: "the id of an event of this stream: a whole number",
      remedy: "leave the header out, or send the last id you were given, unchanged",
    },
  ]);
}

/** An event: of a figure, or of an alarm. */
type Told = { readonly number: number; readonly text: string; readonly figure?: LoggedResult };
type Textual = (step: LogStep) => readonly Told[];

/** Events of the newest step in the order of the log, for all clients that stand at the same place. */
function eventTexts(directory: Directory): Textual {
  let made: { step: LogStep; told: readonly Told[] } | undefined;
  const text = (id: number, event: string, data: unknown) => eventText({ id, event, data: JSON.stringify(data) });
  return (step) => {
    if (made?.step === step) return made.told;
    const figures = step.changes.map((figure): Told => {
      const { change: number } = figure;
      return { number, figure, text: text(number, "change", figureOf(figure, directory)) };
    });
    const alarms = step.alarms.map((alarm): Told => {
      const { change: number } = alarm;
      return { number, text: text(number, "alarm", alarmView(alarm, directory)) };
    });
    made = { step, told: [...figures, ...alarms].sort((a, b) => a.number - b.number) };
    return made.told;
  };
}

/** Which events are wanted. */
function wantsEvent(events: "change" | "alarm" | undefined, filter: LogFilter): (told: Told) => boolean {
  const wanted = wants(filter);
  const isFiltered = Object.values(filter).some((value) => value !== undefined);
  const takesFigures = events !== "alarm";
  const takesAlarms = events === "alarm" || (events === undefined && !isFiltered);
  return ({ figure }) => (figure ? takesFigures && wanted(figure) : takesAlarms);
}

/** Sends the log from a position until the stream ends: what there is in steps, then what comes. */
async function follow(
  stream: EventStream,
  position: number,
  wanted: (told: Told) => boolean,
  { feed, stats, stillHolds, texts }: Pick<LogParts, "feed" | "stats"> & { stillHolds: () => boolean; texts: Textual },
): Promise<void> {
  let toldMs = performance.now();
  while (!stream.signal.aborted && stillHolds()) {
    const step = feed.read(position, stepRows);
    const sent = texts(step).filter(wanted);
    position = step.next;
    if (sent.length > 0) {
      await stream.send(sent.map(({ text }) => text).join(""));
      stats.count("sentChanges", sent.length);
      toldMs = performance.now();
    } else if (performance.now() - toldMs >= keepAliveMs) {
      // A comment for those who watch the bytes, an id for those who filter: a reconnect need not read again what was passed over.
      await stream.send(`: still here\n${eventText({ id: position })}`);
      toldMs = performance.now();
    }
    if (!step.atEnd) {
      // A filter that matches little reads a long log without a pause: the broker of this process has its turn in between.
      await nextTurn();
      continue;
    }
    const timeoutMs = Math.max(1, toldMs + keepAliveMs - performance.now());
    await feed.grownBeyond(position, { timeoutMs, signal: stream.signal });
  }
}

/** Figures as they change, as server-sent events. */
export function addStreamRoutes(app: App, parts: LogParts): void {
  const { directory, feed, stats, keys, maxStreams, log } = parts;
  const texts = eventTexts(directory);
  const schema = {
    operationId: "streamChanges",
    tags: ["changes"],
    summary: "数据与报警变更推送（SSE）· Changes of figures and alarms, as server-sent events",
    description:
      "The change log as it grows: an event `change` for each change of a figure and `alarm` for each of an alarm (as it is now; changes that a later one replaced do not come), its `id` the change's number, its data the figure or alarm. The header `Last-Event-ID` (which EventSource sends on its own when it reconnects) or the parameter `lastEventId` begins behind that change, 0 at the start of the log; without either the stream begins now. The first event, `position`, names log and place. `retry` is told, a comment comes every 15 s, a client that does not read for 20 s is disconnected and resumes by its last id.\n\n变更日志的实时推送：数据每次变更一个 `change` 事件，报警每次变更一个 `alarm` 事件，`id` 为变更号，可用 `Last-Event-ID` 断点续传。",
    querystring: streamQuery,
    produces: ["text/event-stream"],
    response: {
      200: Type.String({ description: "text/event-stream" }),
      "4xx": problemSchema,
      "5xx": problemSchema,
    },
  };
  const config = { problems: logProblems };
  app.get("/stream", { schema, config, exposeHeadRoute: false }, async (request, reply) => {
    const { lastEventId, log: logId, events, ...filter } = request.query;
    checkFilter(filter, directory);
    const { id, last } = feed.log();
    const position = beginOf(request.headers["last-event-id"], lastEventId, last);
    checkPosition({ id, last }, position, logId);
    claimPlace("streams", maxStreams, stats, reply);
    const stream = openEventStream(request, reply, { stats, ended: feed.ended });
    const begun = eventText({
      id: position,
      event: "position",
      data: JSON.stringify({ log: id, after: position, last }),
    });
    stream
      .send(`retry: ${retryMs}\n\n${begun}`)
      .then(() =>
        follow(stream, position, wantsEvent(events, filter), {
          feed,
          stats,
          stillHolds: () => keys.stillHolds(request),
          texts,
        }),
      )
      .catch((error: unknown) => log.error({ code: "CHANGE_STREAM", err: error }, "a stream of changes failed"))
      .finally(() => {
        stream.end();
        stats.closed("streams");
      });
    return reply;
  });
}
