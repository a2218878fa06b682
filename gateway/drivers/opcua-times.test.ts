import { type Clock, systemClock } from "@jilian/domain/clock.ts";
import { Status } from "@jilian/domain/quality.ts";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { until } from "../cases/scripted-server.ts";
import { startTestServer, type TestServer, temporaryFolder } from "../test-opcua.ts";
import { type Collected, collectOpcua, opcuaConfig, quick } from "../test-opcua-devices.ts";

/** Whose time a sample has: that of its source where it can be believed, else that of its arrival. */
const folder = temporaryFolder();
const closers: (() => Promise<unknown>)[] = [];
const hourMs = 3_600_000;
let server: TestServer;

beforeAll(async () => {
  server = await startTestServer({ pkiDir: `${folder.path}/server` });
});
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});
afterAll(async () => {
  await server.stop();
  folder.remove();
});

const set = (value: number, sourceTimeMs: number | null) =>
  server.set("v", { dataType: "Double", value }, { sourceTimeMs });

async function collect(extra = quick, clock: Clock = systemClock): Promise<Collected> {
  const tags = ["name: v, nodeId: NODE(v), type: float64"];
  const collected = collectOpcua(opcuaConfig(folder.path, [{ endpointUrl: server.endpointUrl, extra, tags }]), clock);
  closers.push(collected.close);
  await until("the first value", () => collected.of("v").length > 0);
  return collected;
}

/** The sample of a value once it is there. */
async function sampleOf({ of }: Collected, value: number) {
  await until(`value ${value}`, () => of("v").some((s) => s.value === value));
  return of("v").find((s) => s.value === value) ?? expect.fail("gone");
}

describe("source times", () => {
  it("are kept to the millisecond", async () => {
    set(0, Date.now());
    const collected = await collect();
    const sourceTimeMs = (collected.of("v")[0]?.sourceTimeMs ?? 0) + 37;
    set(1, sourceTimeMs);
    expect(await sampleOf(collected, 1)).toMatchObject({ sourceTimeMs, status: Status.Good });
  });

  it("of a first value that is days old give way to the time of observation", async () => {
    set(1, Date.now() - 72 * hourMs);
    const beforeMs = Date.now();
    const [first] = (await collect()).of("v");
    expect(first?.status).toBe(Status.Good);
    expect(first?.sourceTimeMs).toBeGreaterThanOrEqual(beforeMs);
  });

  it.each([-hourMs, hourMs])(
    "of a clock %i ms off are not taken: gateway time, uncertain, until it is right",
    async (offMs) => {
      set(0, Date.now());
      const collected = await collect();
      const beforeMs = Date.now();
      set(1, beforeMs + offMs);
      const wrong = await sampleOf(collected, 1);
      expect(wrong.status).toBe(Status.Uncertain);
      expect(wrong.sourceTimeMs).toBeGreaterThanOrEqual(beforeMs);
      expect(wrong.sourceTimeMs).toBeLessThanOrEqual(Date.now());
      await until("a heartbeat", () => collected.of("v").filter((s) => s.value === 1).length >= 2);
      expect(collected.of("v").at(-1)?.status).toBe(Status.Uncertain);
      const sourceTimeMs = Date.now() + 500;
      set(2, sourceTimeMs);
      expect(await sampleOf(collected, 2)).toMatchObject({ sourceTimeMs, status: Status.Good });
    },
  );

  it("are the server's where the source tells none", async () => {
    set(0, null);
    const collected = await collect();
    const beforeMs = Date.now();
    set(1, null);
    const sample = await sampleOf(collected, 1);
    expect(sample.status).toBe(Status.Good);
    expect(Math.abs(sample.sourceTimeMs - beforeMs)).toBeLessThan(1000);
  });

  it("count by the clock that was passed, at its own rate", async () => {
    const originMs = 1_750_000_000_000;
    const startedMs = Date.now();
    const clock: Clock = { now: () => Math.floor(originMs + (Date.now() - startedMs) * 60), rate: 60 };
    set(0, clock.now());
    const simulated = quick
      .replace("heartbeatMs: 400", "heartbeatMs: 24000")
      .replace("pollIntervalMs: 50", "pollIntervalMs: 3000");
    const collected = await collect(simulated, clock);
    const sourceTimeMs = clock.now();
    set(1, sourceTimeMs);
    const sample = await sampleOf(collected, 1);
    expect(sample.status).toBe(Status.Good);
    // Not later than the first value's observation, which was a moment ago in the plant's time.
    expect(sample.sourceTimeMs - sourceTimeMs).toBeLessThan(60_000);
    const heartbeats = () => collected.of("v").filter((s) => s.value === 1);
    await until("heartbeats", () => heartbeats().length >= 3);
    const gaps = heartbeats()
      .slice(1)
      .map((s, i) => s.sourceTimeMs - (heartbeats()[i]?.sourceTimeMs ?? 0));
    for (const gap of gaps) expect(gap).toBeGreaterThan(10_000);
  });
});

it("a quiet tag has heartbeats at the time of observation, as long as the server answers for it", async () => {
  set(7, Date.now() - hourMs);
  const collected = await collect();
  await until("heartbeats", () => collected.of("v").length >= 5);
  const samples = collected.of("v");
  expect(new Set(samples.map((s) => `${s.value} ${s.status}`))).toEqual(new Set(["7 0"]));
  const times = samples.map((s) => s.sourceTimeMs);
  const gaps = times.slice(1).map((time, i) => time - (times[i] as number));
  for (const gap of gaps) {
    expect(gap).toBeGreaterThan(150);
    expect(gap).toBeLessThan(900);
  }
  // The keep-alives end: so do the heartbeats.
  server.freeze();
  const { length } = collected.of("v");
  await until("the loss", () => collected.reasons().length > 0);
  const late = collected
    .of("v")
    .slice(length)
    .filter((s) => s.status === Status.Good);
  expect(late.length).toBeLessThanOrEqual(1);
});
