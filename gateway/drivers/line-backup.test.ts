import { systemClock } from "@jilian/domain/clock.ts";
import { codeOf } from "@jilian/domain/errors.ts";
import { pino } from "pino";
import { afterEach, expect, test } from "vitest";
import { type Rule, type ScriptedServer, startScriptedServer, until } from "../cases/scripted-server.ts";
import { readGatewayConfig } from "../config.ts";
import { gatewayDrivers } from "./drivers.ts";

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});
const never = new AbortController().signal;

async function serve(...rules: Rule[]): Promise<ScriptedServer> {
  const server = await startScriptedServer({ wire: "rtu", rules });
  closers.push(server.close);
  return server;
}
/** What the meter's register holds; all others, which it may be asked for in proof, hold their address. */
const value = (digits: string): Rule[] => [
  { when: "03 0000 0001", send: [`UU 03 02 ${digits} CRC`] },
  { when: "03", send: ["addresses"] },
];

const read = (lines: string, devices: string) =>
  readGatewayConfig(
    `group: f\nnode: g\nbroker: { host: h }\noutbox: { path: p }\nlines:\n${lines}devices:\n${devices}`,
    "gateway.yaml",
  );
const line = (id: string, port: number, backup: number) =>
  `  - { id: ${id}, kind: tcp, quietMs: 1, host: 127.0.0.1, port: ${port}, backup: { host: 127.0.0.1, port: ${backup} } }\n`;
const unit = (id: string, on: string) =>
  `  - { id: ${id}, driver: modbus-rtu, line: ${on}, unitId: 1, timeoutMs: 60, tags: [{ name: a, table: holding, address: 0, type: int16 }] }\n`;

/** A meter on a line with two addresses, polled as the collector does: after a failure it closes and connects again. */
function meterAt(first: ScriptedServer, second: ScriptedServer) {
  const checked = read(line("bus", first.port, second.port), unit("meter", "bus"));
  if (!checked.ok) throw new Error(JSON.stringify(checked.faults));
  const told: { level: number; address: string }[] = [];
  const log = pino({ level: "info" }, { write: (text: string) => void told.push(JSON.parse(text)) });
  const drivers = gatewayDrivers(checked.value, { clock: systemClock, log });
  closers.push(drivers.close);
  const [driver] = checked.value.devices.map(drivers.create);
  const failures: string[] = [];
  return {
    changes: () => told.filter(({ level, address }) => level === 40 && address !== undefined).map((one) => one.address),
    failures,
    async poll(mostTries = 8): Promise<unknown> {
      for (let tries = 0; tries < mostTries; tries += 1) {
        try {
          await driver?.connect(never);
          return (await driver?.read(never))?.[0]?.value;
        } catch (thrown) {
          failures.push(`${codeOf(thrown)} ${(thrown as { address?: string }).address}`);
          await driver?.close();
        }
      }
      return undefined;
    },
  };
}

test("a line is read at the address that answers, stays there until it does not, and is never open at both", async () => {
  const [first, second] = [await serve(...value("0001")), await serve(...value("0002"))];
  const { poll, changes, failures } = meterAt(first, second);
  expect([await poll(), await poll()]).toEqual([1, 1]);
  expect(second.counts.connections).toBe(0);
  await first.close();
  expect([await poll(), await poll()]).toEqual([2, 2]);
  expect(failures.at(-1)).toContain(`line bus (127.0.0.1:${first.port})`);
  await first.listen();
  // It has no reason to leave.
  expect(await poll()).toBe(2);
  expect(first.counts.open).toBe(0);
  await second.close();
  expect(await poll()).toBe(1);
  expect(failures.at(-1)).toContain(`line bus (127.0.0.1:${second.port})`);
  expect(changes()).toEqual([second, first].map(({ port }) => `127.0.0.1:${port}`));
  await first.close();
  // Both are dead: that it tries one after the other is told once.
  expect(await poll()).toBeUndefined();
  expect(changes()).toHaveLength(3);
});

test("a connection over which the line was heard, and that breaks, is opened again where it was", async () => {
  const [reading] = value("0001");
  const first = await serve({ ...(reading as Rule), times: 3, end: "close" }, ...value("0001"));
  const second = await serve(...value("0002"));
  const { poll } = meterAt(first, second);
  expect([await poll(), await poll(), await poll(), await poll()]).toEqual([1, 1, 1, 1]);
  expect(first.counts.connections).toBeGreaterThan(1);
  expect(second.counts.connections).toBe(0);
});

test("a converter that takes connections and tells nothing of its line is left, too", async () => {
  const [first, second] = [await serve({}), await serve(...value("0002"))];
  const { poll, failures } = meterAt(first, second);
  expect(await poll()).toBe(2);
  // Some time-outs may be those of the meter.
  expect(failures).toEqual(Array(3).fill(`MODBUS_TIMEOUT line bus (127.0.0.1:${first.port}) unit 1 holding 0`));
  await until("it is let go", () => first.counts.open === 0);
});

test("a backup address that is a line's already is refused", () => {
  const checked = read(
    line("a", 1, 2) + line("b", 2, 3) + line("c", 4, 3) + line("d", 5, 5),
    ["a", "b", "c", "d"].map((id) => unit(`on-${id}`, id)).join(""),
  );
  const paths = checked.ok ? [] : checked.faults.map(({ path }) => path);
  expect(paths).toEqual(["/lines/0/backup", "/lines/2/backup", "/lines/3/backup"]);
});
