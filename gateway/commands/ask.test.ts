import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type ScriptedServer, startScriptedServer } from "../cases/scripted-server.ts";
import { type Host, startHost } from "../test-host.ts";
import { programs } from "../test-program.ts";

let bench: ReturnType<typeof programs>;
let host: Host;
let plc: ScriptedServer;
beforeEach(async () => {
  bench = programs();
  host = await startHost();
  plc = await startScriptedServer({ rules: [{ when: "03", send: ["addresses"] }] });
});
afterEach(async () => {
  await bench.end();
  await host.close();
  await plc.close();
});

test("a group that is read once a day is read when it is asked for; others and strangers are not", async () => {
  const file = join(bench.folder, "gateway.yaml");
  writeFileSync(
    file,
    `group: factory-1
node: gateway-1
broker: { host: 127.0.0.1, port: ${host.port} }
outbox: { path: outbox.db }
devices:
  - { id: meter, driver: modbus-tcp, host: 127.0.0.1, port: ${plc.port}, unitId: 1, pollIntervalMs: 50, groups: { plate: {} },
      tags: [{ name: level, table: holding, address: 0, type: uint16 },
             { name: serial, table: holding, address: 9, type: uint16, group: plate }] }
`,
  );
  const ask = async (...args: string[]) => {
    const { ended, output } = bench.start(["ask", ...args, "--config", file]);
    return { code: await ended, ...output };
  };
  expect(await ask("meter", "plate")).toMatchObject({ code: 1, err: expect.stringContaining("no gateway runs") });
  bench.start(["run", "--config", file]);
  const reads = () => plc.requests.filter(({ pdu }) => pdu === "0300090001").length;
  await host.until("read", () => host.ofType("DDATA", "meter")[0], 20_000);
  expect(reads()).toBe(1);
  expect(await ask("meter", "plate")).toMatchObject({ code: 0, out: "asked: meter reads plate with its next poll\n" });
  await host.until("read again", () => reads() === 2);
  expect(await ask("meter", "level")).toMatchObject({ code: 1, err: expect.stringContaining("meter: plate") });
  expect(await ask("meter")).toMatchObject({ code: 2 });
  expect(reads()).toBe(2);
});
