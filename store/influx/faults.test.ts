import { describe, expect, it } from "vitest";
import { packSamples } from "../columns/columns.ts";
import { sample } from "../telemetry-fixtures.ts";
import { type Answer, queryFault, queryWordsFault, retryAfterMs, seriesOfLine, writeFault } from "./faults.ts";
import { sampleLine } from "./samples.ts";
import { lineTag } from "./text.ts";

const place = { action: "write to InfluxDB", address: "http://influx:8086, database jilian" };
const answer = (status: number, body: unknown, retryAfter?: string): Answer => ({
  status,
  version: undefined,
  retryAfter,
  body: typeof body === "string" ? body : JSON.stringify(body),
});

const line = 'sample,device=press-1,group=f1,metric=state,node=gw-1 vt="x",status=0i 1767225600000';

/** Answers to writes: of 1.6.7 as recorded, of 2.x and 3.x as their documentation and sources have them. */
const writes: [what: string, answer: Answer, expected: Record<string, unknown>][] = [
  [
    "1.x, a field that has another type",
    answer(400, {
      error:
        'partial write: field type conflict: input field "vt" on measurement "sample" is type string, already exists as type integer dropped=1',
    }),
    { code: "VALUE_MISFIT", message: expect.stringContaining('field "vt"') },
  ],
  [
    "1.x, a line that it cannot parse",
    answer(400, { error: `unable to parse '${line.replace("0i", "0x")}': invalid number` }),
    { code: "VALUE_MISFIT", device: "f1/gw-1/press-1/state" },
  ],
  [
    "1.x, a limit",
    answer(400, {
      error: 'partial write: max-values-per-tag limit exceeded (100001/100000): measurement="sample" dropped=1',
    }),
    { code: "STORE_LIMIT", remedy: expect.stringContaining("raise max-values-per-tag in section [data]") },
  ],
  [
    "1.x, a limit, reached by a metric that is called like another fault",
    answer(400, {
      error:
        'partial write: max-values-per-tag limit exceeded (5/5): measurement="sample" tag="metric" value="retention" dropped=1',
    }),
    { code: "STORE_LIMIT" },
  ],
  [
    "1.x, the other limit",
    answer(400, { error: "partial write: max-series-per-database limit exceeded: (1000000) dropped=12" }),
    { code: "STORE_LIMIT", remedy: expect.stringContaining("raise max-series-per-database") },
  ],
  [
    "1.x, a line that it cannot parse, of a metric that is called like a limit",
    answer(400, {
      error:
        "unable to parse 'sample,metric=partial\\ write:\\ max-values-per-tag\\ limit\\ exceeded vt=x': invalid number",
    }),
    { code: "VALUE_MISFIT" },
  ],
  [
    "1.x, too late",
    answer(400, { error: "partial write: points beyond retention policy dropped=1" }),
    { code: "SAMPLE_TOO_LATE", remedy: expect.stringContaining("retention") },
  ],
  [
    "2.x, a field that has another type",
    answer(422, {
      code: "unprocessable entity",
      message:
        'failure writing points to database: partial write: field type conflict: input field "vt" on measurement "sample" is type string, already exists as type integer dropped=1',
    }),
    { code: "VALUE_MISFIT" },
  ],
  [
    "2.x, too late",
    answer(422, {
      code: "unprocessable entity",
      message:
        "failure writing points to database: partial write: dropped 1 points outside retention policy of duration 720h0m0s",
    }),
    { code: "SAMPLE_TOO_LATE" },
  ],
  [
    "2.x, too large",
    answer(413, { code: "request too large", message: "request too large" }),
    { code: "VALUE_MISFIT" },
  ],
  [
    "2.x, too many writes",
    answer(429, { code: "too many requests", message: "rate limit" }, "7"),
    { code: "STORE_BUSY_REMOTE", retryAfterMs: 7000 },
  ],
  [
    "2.x, unavailable",
    answer(503, { code: "unavailable", message: "unable to process" }, "120"),
    { code: "STORE_BUSY_REMOTE", retryAfterMs: 120_000 },
  ],
  ["any, unavailable, without a word", answer(503, ""), { code: "STORE_BUSY_REMOTE", retryAfterMs: undefined }],
  [
    "1.x, its memory is full",
    answer(500, { error: "engine: cache-max-memory-size exceeded: (1073741911/1073741824)" }),
    { code: "STORE_BUSY_REMOTE" },
  ],
  ["1.x, it took too long", answer(500, { error: "timeout" }), { code: "STORE_BUSY_REMOTE" }],
  [
    "1.x, its disk is full",
    answer(500, { error: "write /wal/_00001.wal: no space left on device" }),
    { code: "STORE_FAILED" },
  ],
  ...([400, 201] as const).map((status): [string, Answer, Record<string, unknown>] => [
    `3.x by ${status}, lines that it names`,
    answer(status, {
      error: "partial write of line protocol occurred",
      data: [
        { original_line: "series,device=x", line_number: 1, error_message: "cut" },
        {
          original_line: line,
          line_number: 2,
          error_message: "invalid column type for column 'vt', expected iox::column_type::field::integer",
        },
      ],
    }),
    { code: "VALUE_MISFIT", device: "f1/gw-1/press-1/state", message: expect.stringContaining('"line_number":2') },
  ]),
  ["any, no right", answer(403, { error: "forbidden" }), { code: "STORE_UNAUTHORISED" }],
  ["any, no database", answer(404, { error: 'database not found: "x"' }), { code: "STORE_DATABASE_MISSING" }],
  [
    "a proxy's page",
    answer(502, "<html>bad gateway</html>"),
    { code: "STORE_FAILED", message: expect.stringContaining("502") },
  ],
];

it.each(writes)("a write: %s", (_, told, expected) => {
  expect(writeFault(told, place)).toMatchObject({ ...place, ...expected });
});

it("a query: busy, gone or wrong", () => {
  expect(queryFault(answer(503, "", "3"), place)).toMatchObject({ code: "STORE_BUSY_REMOTE", retryAfterMs: 3000 });
  expect(queryFault(answer(401, { error: "unable to parse authentication" }), place)).toMatchObject({
    code: "STORE_UNAUTHORISED",
  });
  expect(queryFault(answer(400, { error: "error parsing query" }), place)).toMatchObject({ code: "STORE_FAILED" });
  expect(queryWordsFault("timeout", place)).toMatchObject({ code: "STORE_BUSY_REMOTE" });
  expect(queryWordsFault("database not found: x", place)).toMatchObject({ code: "STORE_DATABASE_MISSING" });
});

describe("Retry-After", () => {
  const nowMs = Date.UTC(2026, 10, 22, 2, 0);
  it.each([
    ["0", 0],
    [" 30 ", 30_000],
    ["Sun, 22 Nov 2026 02:01:30 GMT", 90_000],
    ["Sunday, 22-Nov-26 02:00:10 GMT", 10_000],
    ["Sun, 22 Nov 2026 01:00:00 GMT", 0],
    ["", undefined],
    ["-5", undefined],
    ["1.5", undefined],
    ["soon", undefined],
    ["99999999999999999999", undefined],
    [undefined, undefined],
  ])("%j is %s ms", (header, expected) => {
    expect(retryAfterMs(header, nowMs)).toBe(expected);
  });
});

it("the series of a line is read back, whatever its names hold; no other line has one", () => {
  for (const name of ["state", "运行 1", "a,b=c d", "end\\", "␛5c", ""]) {
    const tags = (["device", "group", "metric", "node"] as const)
      .map((tag) => lineTag(tag, tag === "metric" ? name : tag))
      .join("");
    expect(seriesOfLine(sampleLine(packSamples([sample(1, 0, "x y")]), 0, tags, 1))).toBe(`group/node/device/${name}`);
  }
  for (const other of ["", "sample", "sample,device=press-1", "series,device=a id=1i", "samples,device=a v=1"]) {
    expect(seriesOfLine(other)).toBeUndefined();
  }
});
