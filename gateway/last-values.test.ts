import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { type IncomingMessage, request } from "node:http";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { readExposition } from "@jilian/domain/test-prometheus.ts";
import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { startScriptedServer } from "./cases/scripted-server.ts";
import { otherKinds, withFailure } from "./failure-kinds.ts";
import { type DeviceView, type LastValue, valuesAnswer } from "./last-values.ts";
import { startOps } from "./ops.ts";
import { logLines, programs } from "./test-program.ts";

let bench: ReturnType<typeof programs>;
beforeEach(() => {
  bench = programs();
});
afterEach(() => bench.end());

const config = (plcPort: number) => `
group: factory-1
node: gateway-1
broker: { host: 127.0.0.1, port: 9, username: gw, password: hunter2 }
outbox: { path: outbox.db }
ops: { port: 0 }
devices:
  - { id: meter, driver: modbus-tcp, host: 127.0.0.1, port: ${plcPort}, unitId: 1, pollIntervalMs: 50, timeoutMs: 300,
      retryMinMs: 20, retryMaxMs: 50, tags: [
      { name: voltage, table: holding, address: 0, type: uint16, unit: V, deadband: 500, scale: { numerator: 1, denominator: 10 } },
      { name: energy, table: holding, address: 1, type: uint64, unit: kWh, role: energy.import },
      { name: hall, table: holding, address: 5, type: float32, unit: °C }],
      derived: [{ name: twice, operation: sum, of: [{ tag: voltage, weight: 2 }] }] }
  - { id: press, driver: modbus-tcp, host: 127.0.0.1, port: 9, unitId: 1, simulated: true, retryMinMs: 20, retryMaxMs: 50,
      tags: [{ name: level, table: holding, address: 0, type: uint16 }] }
`;

/** 230.1 V, then 240.1 V for good, which is within the deadband; a count beyond 2^53; not a number. */
const answer = (voltage: string) => ({
  when: "03 0000 0007",
  send: [`TTTT 0000 0011 UU 03 0e ${voltage} 0fffffffffffffff 7fc00000`],
});

async function runGateway(plcPort: number) {
  const file = join(bench.folder, "gateway.yaml");
  writeFileSync(file, config(plcPort));
  const program = bench.start(["run", "--config", file]);
  await once(program.child, "message");
  const listening = () => logLines(program.output.out).find(({ msg }) => msg === "health and metrics listen");
  await vi.waitFor(() => expect(listening()).toBeDefined(), 5000);
  return { ...program, url: `http://127.0.0.1:${listening()?.port}` };
}

async function valuesOf(url: string, query = ""): Promise<{ time: string; devices: DeviceView[]; text: string }> {
  const got = await fetch(`${url}/values${query}`);
  expect([got.status, got.headers.get("content-type"), got.headers.get("cache-control")]).toEqual([
    200,
    "application/json; charset=utf-8",
    "no-store",
  ]);
  const text = await got.text();
  return { ...JSON.parse(text), text };
}

describe("a gateway's ops address", () => {
  test("tells what each tag was last, the deadband notwithstanding, and errors by kind; no secret, no address", async () => {
    const plc = await startScriptedServer({ rules: [{ ...answer("08fd"), times: 1 }, answer("0961")] });
    try {
      const { url } = await runGateway(plc.port);
      const until = (check: (meter: DeviceView, press: DeviceView) => void, query = "") =>
        vi.waitFor(
          async () => {
            const { devices } = await valuesOf(url, query);
            check(devices[0] as DeviceView, devices[1] as DeviceView);
          },
          { timeout: 5000, interval: 30 },
        );
      await until(({ values }) => expect(values[0]?.value).toBe(240.1));
      const { devices, text, time } = await valuesOf(url);
      const seen = { time: expect.stringMatching(/^\d{4}-.*Z$/), ageMs: expect.any(Number) };
      const plainGood = { quality: "good", status: "Good", ...seen };
      expect(devices).toEqual([
        {
          device: "meter",
          connected: true,
          values: [
            { tag: "voltage", value: 240.1, unit: "V", ...plainGood },
            { tag: "energy", value: "1152921504606846975", unit: "kWh", role: "energy.import", ...plainGood },
            { tag: "hall", value: null, unit: "°C", quality: "bad", status: "BadSensorFailure", ...seen },
            { tag: "twice", value: 480.2, ...plainGood },
          ],
        },
        {
          device: "press",
          connected: false,
          simulated: true,
          values: [{ tag: "level", value: null, quality: "bad", status: "BadWaitingForInitialData" }],
        },
      ]);
      const [voltage] = devices[0]?.values ?? [];
      expect(voltage?.ageMs).toBe(Date.parse(time) - Date.parse(voltage?.time ?? ""));
      expect(voltage?.ageMs).toBeLessThan(2000);
      for (const secret of ["hunter2", "gw", "127.0.0.1", "outbox"]) expect(text).not.toContain(secret);

      expect((await valuesOf(url, "?device=press")).devices.map(({ device }) => device)).toEqual(["press"]);
      expect((await valuesOf(url, "?device=press&device=meter&x=1")).devices).toHaveLength(2);
      for (const query of ["?device=none", "?device=", "?device=press&device=%ff", "?device=__proto__"]) {
        const refused = await fetch(`${url}/values${query}`);
        expect([query, refused.status]).toEqual([query, 404]);
        expect(await refused.text()).toBe("no such device; there are meter, press\n");
      }
      expect((await fetch(`${url}/values`, { method: "DELETE" })).status).toBe(405);
      expect(await (await fetch(`${url}/`)).text()).toContain("/metrics, /values");

      await plc.close();
      // What was read is not shown as if it were now; and what is computed of it neither.
      await until(({ connected, values }) => {
        expect(connected).toBe(false);
        expect(values.map(({ value, status }) => [value, status])).toEqual(
          Array.from({ length: 4 }, () => [null, expect.stringMatching(/^Bad/)]),
        );
      }, "?device=meter");
      // A device's first poll is somewhere in its interval: the press may not have been asked yet.
      const scraped = await vi.waitFor(async () => {
        const got = readExposition(await (await fetch(`${url}/metrics`)).text());
        expect(got.value('jilian_gateway_device_failures_total{device="press"}')).toBeGreaterThan(0);
        return got;
      }, 5000);
      const of = (what: string) => scraped.value(`jilian_gateway_device_${what}`);
      expect(of('errors_total{code="MODBUS_CONNECT_REFUSED",device="press"}')).toBe(
        of('failures_total{device="press"}'),
      );
      expect(scraped.typeOf("jilian_gateway_device_errors_total")).toBe("counter");
    } finally {
      await plc.close();
    }
  });

  test("tells values to its own machine alone, whatever address it listens on", async () => {
    const source = {
      health: async () => ({}),
      metrics: async () => "",
      local: { "/values": valuesAnswer(() => [], { now: () => 0 }) },
    };
    const outer = Object.values(networkInterfaces())
      .flatMap((found) => found ?? [])
      .find(({ internal, family }) => !internal && family === "IPv4")?.address;
    const ops = await startOps({ host: "::", port: 0 }, { source, log: pino({ level: "silent" }) });
    try {
      const ask = async (host: string, path: string) => (await fetch(`http://${host}:${ops.port}${path}`)).status;
      expect([await ask("127.0.0.1", "/values"), await ask("[::1]", "/values")]).toEqual([200, 200]);
      // A machine without a network has no other address to ask it at.
      if (outer !== undefined) expect([await ask(outer, "/values"), await ask(outer, "/metrics")]).toEqual([403, 200]);
    } finally {
      await ops.close();
    }
  });
});

test("a request that only seems to come from this machine gets neither values nor the metrics of a loopback address", async () => {
  const local = { "/values": valuesAnswer(() => [], { now: () => 0 }) };
  const source = { health: async () => ({}), metrics: async () => "", local };
  const signs: Record<string, string>[] = [
    ...["Forwarded", "X-Forwarded-For", "Via"].map((name) => ({ [name]: "for=192.0.2.1" })),
    ...["evil.example", "evil.example:9465", "127.evil.example", "[::2]:9465", "192.168.1.5"].map((host) => ({ host })),
  ];
  const hosts = ["localhost", "LOCALHOST:9465", "127.0.0.1:1", "127.0.1.1", "[::1]:9465", "[::1]"];
  for (const [host, wide] of [
    ["127.0.0.1", false],
    ["0.0.0.0", true],
  ] as const) {
    const ops = await startOps({ host, port: 0 }, { source, log: pino({ level: "silent" }) });
    try {
      const ask = async (path: string, headers: Record<string, string>) => {
        const asked = request({ port: ops.port, host: "127.0.0.1", path, headers }).end();
        const [answer] = (await once(asked, "response")) as [IncomingMessage];
        return [answer.statusCode, await text(answer)] as const;
      };
      for (const headers of signs) {
        const [status, why] = await ask("/values", headers);
        expect([headers, status]).toEqual([headers, 403]);
        expect(why).toMatch(/^\/values is answered to this machine alone: ask 127\.0\.0\.1 on it/);
        expect([headers, (await ask("/metrics", headers))[0]]).toEqual([headers, wide ? 200 : 403]);
        expect((await ask("/health/live", headers))[0]).toBe(200);
      }
      for (const header of hosts) expect([header, (await ask("/values", { host: header }))[0]]).toEqual([header, 200]);
    } finally {
      await ops.close();
    }
  }
});

test("a long text is cut, and an answer says so", () => {
  const tag = (name: string) => ({ name }) as LastValue["tag"];
  const seen = (value: string) => ({ value, status: 0, timeMs: 1000 });
  const values = [
    { tag: tag("short"), seen: seen("x".repeat(256)) },
    { tag: tag("long"), seen: seen("x".repeat(100_000)) },
  ];
  const devices = [{ device: "a", connected: true, simulated: false, values }];
  // The clock ran back: nothing is younger than now.
  const { body } = valuesAnswer(() => devices, { now: () => 400 })(new URLSearchParams());
  const [short, long] = (JSON.parse(body) as { devices: DeviceView[] }).devices[0]?.values ?? [];
  expect(short).toEqual({
    tag: "short",
    value: "x".repeat(256),
    quality: "good",
    status: "Good",
    time: "1970-01-01T00:00:01.000Z",
    ageMs: 0,
  });
  expect([long?.truncated, String(long?.value).length]).toEqual([true, 256]);
});

test("failures are counted by kind, and kinds are bounded", () => {
  let kinds = {};
  for (let i = 0; i < 100; i += 1) kinds = withFailure(kinds, `CODE_${i}`);
  kinds = withFailure(withFailure(kinds, "CODE_0"), "constructor");
  expect(Object.keys(kinds)).toHaveLength(33);
  expect(kinds).toMatchObject({ CODE_0: 2, CODE_31: 1, [otherKinds]: 69 });
  expect(withFailure({}, "constructor")).toEqual({ constructor: 1 });
});
