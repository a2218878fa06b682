import { type Account, noCounts } from "@jilian/domain/account.ts";
import { dayMs, hourMs, isoTime, periodStart } from "@jilian/domain/periods.ts";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openWorld, type World } from "./test-app.ts";
import { worldNowMs } from "./test-world.ts";

const [meter, press] = ["jinlv-1/gw-1/meter-1", "jinlv-1/gw-1/press-1"] as const;
/** 14:00, of which 32 minutes have passed. */
const hour = periodStart("hour", worldNowMs);
const day = periodStart("day", worldNowMs);

let world: World;
beforeAll(async () => {
  world = await openWorld();
  const take = (device: string, hourMs: number, counts: Partial<Account>, sourceTimeMs = hourMs + 5) => {
    const account = { ...noCounts, hourMs, part: "0000000a", gapMs: {}, ...counts };
    world.ledger.writeAccounts([{ device, sourceTimeMs, account }]);
  };
  const polled = { scheduled: 3600, answered: 3000, skipped: 5, polled: 6000, suppressed: 5000, bad: 60, marked: 2 };
  const lost = { queued: 1002, droppedFull: 100, droppedAge: 20, droppedUnwritable: 3 };
  take(
    meter,
    hour - hourMs,
    {
      ...polled,
      ...lost,
      gapMs: { MODBUS_TIMEOUT: 500_000, GATEWAY_DOWN: 100_000 },
      droppedTags: { "": 3, 电压: 20, 功率: 100 },
    },
    hour + 7,
  );
  take(press, hour - hourMs, { ...polled, queued: 1002 });
  take(press, hour - 3 * hourMs, { scheduled: 10 });
  const stored = (device: string, hourMs: number, n: number) => ({ device, hourMs, stored: n });
  world.ledger.writeStored([
    stored(meter, hour - hourMs, 800),
    stored(press, hour - hourMs, 1010),
    stored(press, hour - 3 * hourMs, 0),
    stored(meter, hour, 77),
  ]);
});
afterAll(() => world.close());

type Row = Record<string, unknown> & { start: string; entity: string };
async function ask(query: string): Promise<{ rows: Row[]; next: string | null }> {
  const { status, body } = await world.get(`/open/v1/completeness?${query}`);
  expect(status, JSON.stringify(body)).toBe(200);
  return { rows: body.completeness as Row[], next: body.next as string | null };
}
const range = `from=${hour - hourMs}&to=${hour}`;

describe("the completeness ledger", () => {
  it("tells of a device and hour everything that was counted, what is missing, and why it was not read", async () => {
    const { rows } = await ask(`level=device&entity=${encodeURIComponent(meter)}&${range}`);
    expect(rows).toEqual([
      {
        level: "device",
        entity: meter,
        entityName: "进线电表",
        period: "hour",
        start: "2026-11-22T13:00:00+08:00",
        end: "2026-11-22T14:00:00+08:00",
        deviceHours: { total: 1, withoutAccount: 0 },
        polls: { scheduled: 3600, answered: 3000, skipped: 5 },
        readings: { polled: 6000, suppressed: 5000, bad: 60 },
        samples: {
          marked: 2,
          queued: 1002,
          dropped: { full: 100, age: 20, unwritable: 3 },
          missing: 79,
          uncounted: 0,
        },
        stored: 800,
        gaps: [
          { reason: "MODBUS_TIMEOUT", ms: 500_000 },
          { reason: "GATEWAY_DOWN", ms: 100_000 },
        ],
        droppedByMetric: [
          { metric: "功率", samples: 100 },
          { metric: "电压", samples: 20 },
          { metric: "", samples: 3 },
        ],
        // 3000 of 3600 answered; of 6000 readings 60 bad, 123 dropped, 79 missing.
        collectionRate: Math.round((10_000 * 3000 * (6000 - 262)) / (3600 * 6000)) / 10_000,
        accountTime: isoTime(hour + 7),
      },
    ]);
  });

  it("has null and not 0 where no account came, and tells what is stored all the same", async () => {
    const { rows } = await ask(
      `level=device&entity=${encodeURIComponent(meter)}&from=${hour - 2 * hourMs}&to=${hour + 1}`,
    );
    const unknown = { polls: null, readings: null, samples: null, collectionRate: null, accountTime: null, gaps: [] };
    const none = { deviceHours: { total: 1, withoutAccount: 1 } };
    expect(rows[0]).toMatchObject({ ...unknown, ...none, stored: null });
    expect(rows[2]).toMatchObject({ ...unknown, ...none, stored: 77, start: isoTime(hour) });
  });

  it("adds up: a parent says how many device hours have no account, and what one lacks another does not make good", async () => {
    for (const [level, entity, devices] of [
      ["factory", "jinlv-1", 4],
      ["enterprise", "jinlv", 6],
      ["cluster", "nanhai-aluminium", 10],
    ] as const) {
      const { rows } = await ask(`level=${level}&entity=${entity}&${range}`);
      expect(rows).toMatchObject([
        {
          entity,
          deviceHours: { total: devices, withoutAccount: devices - 2 },
          polls: { scheduled: 7200, answered: 6000, skipped: 10 },
          samples: { queued: 2004, missing: 79, uncounted: 8 },
          stored: 1810,
          // Names of metrics mean something beside their device alone.
          droppedByMetric: [],
        },
      ]);
    }
    const { rows } = await ask(`level=factory&entity=jinlv-1&period=day&from=${day}&to=${day + 1}`);
    // Fifteen hours have begun.
    expect(rows).toMatchObject([
      { start: isoTime(day), deviceHours: { total: 60, withoutAccount: 57 }, polls: { scheduled: 7210 }, stored: 1887 },
    ]);
  });

  it("comes in pages that together are the whole, by start and entity", async () => {
    const query = `level=device&from=${hour - 5 * hourMs}&to=${hour}`;
    const whole = (await ask(query)).rows;
    expect(whole).toHaveLength(50);
    const keys = whole.map((row) => `${row.start} ${row.entity}`);
    expect(keys).toEqual([...keys].sort());
    const walked: Row[] = [];
    let cursor: string | null = null;
    do {
      const page: { rows: Row[]; next: string | null } = await ask(
        cursor ? `cursor=${cursor}&limit=7` : `${query}&limit=7`,
      );
      expect(page.rows.length).toBeLessThanOrEqual(7);
      walked.push(...page.rows);
      cursor = page.next;
    } while (cursor !== null);
    expect(walked).toEqual(whole);
  });

  it("cuts a page that would add up too much, and goes on from there", async () => {
    const from = hour - 360 * dayMs;
    const { rows, next } = await ask(`level=cluster&period=day&from=${from}&to=${hour}&limit=5000`);
    expect(rows.length).toBe(360);
    expect(next).toBeNull();
    const hours = await ask(`level=cluster&period=hour&from=${hour - 365 * dayMs}&to=${hour}&limit=5000`);
    expect(hours.rows.length).toBe(5000);
    expect(hours.next).not.toBeNull();
  });

  it("refuses what it does not know, all faults at once", async () => {
    const faults = async (query: string) => {
      const { status, body } = await world.get(`/open/v1/completeness?${query}`);
      return [status, body.code, ((body.faults ?? []) as { parameter: string }[]).map((fault) => fault.parameter)];
    };
    expect(await faults("period=minute&levels=device")).toEqual([
      400,
      "PARAMETER_INVALID",
      ["levels", "period"].sort(),
    ]);
    expect(await faults(`from=${hour}&to=${hour - 1}`)).toEqual([400, "PARAMETER_INVALID", ["from"]]);
    expect(await faults("level=device&entity=x/y/z")).toEqual([404, "ENTITY_UNKNOWN", []]);
    expect(await faults("cursor=bm8")).toEqual([400, "PARAMETER_INVALID", ["cursor"]]);
    const { next } = await ask(`level=device&${range}&limit=3`);
    expect(await faults(`cursor=${next}&level=factory`)).toEqual([400, "PARAMETER_INVALID", ["level"]]);
    const held = JSON.parse(Buffer.from(next ?? "", "base64url").toString()) as { a: [number, string] };
    held.a[0] += 1;
    const forged = Buffer.from(JSON.stringify(held)).toString("base64url");
    expect(await faults(`cursor=${forged}`)).toEqual([400, "PARAMETER_INVALID", ["cursor"]]);
  });
});
