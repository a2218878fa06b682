import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { until } from "../cases/scripted-server.ts";
import { startTestServer, type TestServer, temporaryFolder } from "../test-opcua.ts";
import { collectOpcua, opcuaConfig, quick, show } from "../test-opcua-devices.ts";

/** What is made of values before they are told is the same behind every protocol: here from a real OPC UA server. */
const folder = temporaryFolder();
const closers: (() => Promise<unknown>)[] = [];
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

it("derived tags follow changes with the latest source time; sentinels of the device turn tag and sum bad", async () => {
  const set = (name: string, value: number, sourceTimeMs: number) =>
    server.set(name, { dataType: "Int16", value }, { sourceTimeMs });
  const startMs = Date.now();
  set("a", 1, startMs);
  set("b", 2, startMs);
  const extra = `${quick.replace("heartbeatMs: 400", "heartbeatMs: 60000")}, sentinels: ["0x8000"], derived: [{ name: sum; operation: sum; of: [{ tag: a }; { tag: b }] }]`;
  const tags = [
    "name: a, nodeId: NODE(a), type: int16, scale: { denominator: 10 }",
    "name: b, nodeId: NODE(b), type: int16, scale: { denominator: 10 }",
    "name: mode, nodeId: NODE(b), type: int16, enumeration: { 2: auto, 3: manual }",
  ];
  const { of, close } = collectOpcua(opcuaConfig(folder.path, [{ endpointUrl: server.endpointUrl, extra, tags }]));
  closers.push(close);
  await until("the first sum", () => of("sum").length === 1);
  const changedMs = Date.now();
  set("b", 3, changedMs);
  await until("the second sum", () => of("sum").length === 2);
  // The other input may be known to be as it was at a later time.
  const [, second] = of("sum");
  expect(second?.sourceTimeMs).toBeGreaterThanOrEqual(changedMs);
  expect(second?.sourceTimeMs).toBeLessThanOrEqual(second?.gatewayTimeMs as number);
  set("a", -32_768, Date.now());
  await until("the third sum", () => of("sum").length === 3);
  expect(show(of("sum"))).toEqual([0.3, 0.4, "null BadSensorFailure"]);
  expect(show(of("a"))).toEqual([0.1, "null BadSensorFailure"]);
  expect(show(of("mode"))).toEqual(["auto", "manual"]);
});
