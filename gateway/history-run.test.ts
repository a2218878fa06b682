import { readdirSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { type ScriptedServer, startScriptedServer } from "./cases/scripted-server.ts";
import { at, firstMs } from "./test-history.ts";
import { programs } from "./test-program.ts";

let bench: ReturnType<typeof programs>;
let plc: ScriptedServer;
beforeEach(async () => {
  bench = programs();
  const rules = [
    { when: "03", send: ["addresses"] },
    { when: "2b", send: ["TTTT 0000 0003 UU AB 01"] },
  ];
  plc = await startScriptedServer({ rules });
});
afterEach(async () => {
  await bench.end();
  await plc.close();
});

/** How long a busy machine may take for what takes a second on an idle one. */
const patienceMs = 60_000;

/** Sets the clock of the programs, at once; from there it runs as fast as the machine's. */
function setClock(ms: number): { JILIAN_CLOCK: string } {
  const file = join(bench.folder, "clock");
  writeFileSync(`${file}.new`, `1,${ms},${Date.now()}`);
  renameSync(`${file}.new`, file);
  return { JILIAN_CLOCK: `@${file}` };
}

/** Of two polls that begin from now on the first has been answered. */
async function polled(): Promise<void> {
  const already = plc.requests.length;
  await vi.waitFor(() => expect(plc.requests.length).toBeGreaterThan(already + 2), {
    timeout: patienceMs,
    interval: 20,
  });
}

function configured(lines = ""): string {
  const file = join(bench.folder, "gateway.yaml");
  writeFileSync(
    file,
    `group: factory-1
node: gateway-1
broker: { host: 127.0.0.1, port: 9, reconnectMinMs: 1000 }
outbox: { path: outbox.db }
${lines}
devices:
  - { id: meter, driver: modbus-tcp, host: 127.0.0.1, port: ${plc.port}, unitId: 1, simulated: true, pollIntervalMs: 50, heartbeatMs: 60000,
      tags: [{ name: energy, table: holding, address: 7, type: uint16, role: energy.import, carrier: electricity, unit: kWh }] }
`,
  );
  return file;
}

test("a running gateway keeps quarter hours beside its outbox, and they can be exported meanwhile and after its end", async () => {
  const file = configured();
  const gateway = bench.start(["run", "--config", file], setClock(at(0, 845_000)));
  // A register that is read more than a minute before the end is remarked on: here the machine has 55 s for it, however busy it is.
  await polled();
  setClock(at(1, 845_000));
  await polled();
  setClock(at(2, 61_000));
  const args = ["export", "--config", file, "--from", "2026-11-01", "--to", "2026-11-02", "--zone", "Asia/Shanghai"];
  let out = "";
  await vi.waitFor(
    async () => {
      const { ended, output } = bench.start(args);
      expect([await ended, output.err]).toEqual([0, ""]);
      out = output.out;
      expect(out).toMatch(/^2026-11-01T00:15[^,]*,meter,energy,kWh,7,[^,]*,0,,/m);
    },
    { timeout: patienceMs, interval: 100 },
  );
  expect(out.startsWith("\ufeff开始时间 start,")).toBe(true);
  gateway.child.kill("SIGTERM");
  expect(await gateway.ended).toBe(0);
  const { ended, output } = bench.start(args);
  expect(await ended).toBe(0);
  // The quarter hour that runs is written at the end; those that were over are what they were.
  expect(output.out).toMatch(/^2026-11-01T00:30/m);
  expect(output.out.split("2026-11-01T00:30")[0]).toBe(out.split("2026-11-01T00:30")[0]);
}, 240_000);

test("history: false keeps none; a section that is wrong is refused", async () => {
  const gateway = bench.start(["run", "--config", configured("history: false")], setClock(firstMs));
  await vi.waitFor(() => expect(gateway.output.out).toContain("device connected"), { timeout: patienceMs });
  gateway.child.kill("SIGTERM");
  await gateway.ended;
  expect(readdirSync(bench.folder).filter((name) => name.includes("history"))).toEqual([]);
  const wrong = bench.start(["check", "--config", configured("history: { keepDays: 0, days: 3 }")]);
  expect(await wrong.ended).toBe(2);
  expect(wrong.output.err).toContain("/history");
}, 240_000);
