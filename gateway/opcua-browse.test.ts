import { readFileSync, writeFileSync } from "node:fs";
import { pino } from "pino";
import { afterAll, beforeAll, expect, it } from "vitest";
import { readGatewayConfig } from "./config.ts";
import { openPki } from "./drivers/opcua-pki.ts";
import { browseCommand } from "./opcua-browse.ts";
import { startTestServer, type TestServer, temporaryFolder } from "./test-opcua.ts";

const folder = temporaryFolder();
let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({ pkiDir: `${folder.path}/server` });
  server.set("power", { dataType: "Double", value: 12.5 });
  server.set("温度", { dataType: "Int16", value: 21 });
  server.set("list", { dataType: "Double", arrayType: "Array", value: [1, 2] } as never);
  server.set("broken", { dataType: "Double", value: 1 }, { status: "BadSensorFailure" });
});
afterAll(async () => {
  await server.stop();
  folder.remove();
});

const browse = async (...args: string[]) => {
  const lines: string[] = [];
  return { code: await browseCommand(["--pki", `${folder.path}/pki`, ...args], (line) => lines.push(line)), lines };
};

it("prints a server's variables as tags that a gateway takes as they are, and says of others why they are none", async () => {
  const { code, lines } = await browse("--endpoint", server.endpointUrl);
  expect(code).toBe(0);
  expect(lines).toEqual([
    '- { name: "power", nodeId: "nsu=urn:test:machine;s=power", type: float64 } # 12.5',
    '- { name: "__", nodeId: "nsu=urn:test:machine;s=温度", type: int16 } # 21',
    '# list "nsu=urn:test:machine;s=list": no tag (array of Double)',
    expect.stringContaining('"broken"'),
  ]);
  const head = "group: f\nnode: g\nbroker: { host: h }\noutbox: { path: p }\ndevices:\n";
  const tags = lines.map((line) => `      ${line}\n`).join("");
  const device = `  - id: d\n    driver: opcua\n    endpointUrl: ${server.endpointUrl}\n    tags:\n${tags}`;
  const read = readGatewayConfig(head + device, "g");
  expect(read.ok ? [] : read.faults).toEqual([]);
  expect(server.sessions()).toEqual([]);
});

it("leaves the certificate of a gateway alone in whose folder it looks", async () => {
  const options = { applicationUri: "urn:jilian:gateway:f:g", pkiDir: `${folder.path}/gateway` };
  const pki = await openPki({ ...options, acceptUnknownCertificates: false }, pino({ level: "silent" }));
  await pki.close();
  const before = readFileSync(pki.certificateFile, "utf8");
  const lines: string[] = [];
  const args = ["--pki", options.pkiDir, "--endpoint", server.endpointUrl];
  expect(await browseCommand(args, (line) => lines.push(line))).toBe(0);
  expect(readFileSync(pki.certificateFile, "utf8")).toBe(before);
  writeFileSync(pki.certificateFile, "");
  expect(await browseCommand(args, () => undefined)).toBe(1);
});

it("ends with 2 on wrong arguments and with 1 where there is no server", async () => {
  expect((await browse()).code).toBe(2);
  expect((await browse("--endpoint", "http://x")).code).toBe(2);
  expect((await browse("--endpoint", server.endpointUrl, "--security", "Sign")).code).toBe(2);
  expect((await browse("--endpoint", "opc.tcp://127.0.0.1:9")).code).toBe(1);
});
