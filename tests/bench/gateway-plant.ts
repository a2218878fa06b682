/**
 * For bench:gateway, as a process of its own: a Modbus TCP server that answers for every unit with registers that all change each second, and
 * an OPC UA server with variables that do. Notes when each unit is asked, by which the jitter of its cycle is known.
 * Usage: node gateway-plant.ts <OPC UA variables>; tells its ports over IPC, and on the message "report" the times.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createFrameReader } from "@jilian/gateway/drivers/modbus-frame.ts";

const variables = Number(process.argv[2] ?? 0);
const startMs = performance.now();
const second = (): number => Math.floor((performance.now() - startMs) / 1000);
/** Times of the first request of each cycle, ms, by unit and connection: a cycle of one unit may be several requests. */
const asked = new Map<string, number[]>();
/** When each unit was asked for the first time, ms since the epoch. */
const begunMs = new Map<string, number>();
let requests = 0;

function answer(socket: Socket, name: string, transactionId: number, unitId: number, pdu: Buffer): void {
  const code = pdu.readUInt8(0);
  const bytes = [3, 4].includes(code) ? 2 * pdu.readUInt16BE(3) : 0;
  const frame = Buffer.alloc(bytes > 0 ? 9 + bytes : 9);
  frame.writeUInt16BE(transactionId, 0);
  frame.writeUInt16BE(bytes > 0 ? 3 + bytes : 3, 4);
  frame.writeUInt8(unitId, 6);
  frame.writeUInt8(bytes > 0 ? code : code | 0x80, 7);
  frame.writeUInt8(bytes > 0 ? bytes : 1, 8);
  if (bytes > 0) {
    const [address, now] = [pdu.readUInt16BE(1), second()];
    for (let i = 0; i < bytes / 2; i += 1) frame.writeUInt16BE((address + i + now) & 0x7fff, 9 + 2 * i);
    requests += 1;
    const key = `${name}/${unitId}`;
    const times = asked.get(key) ?? [];
    asked.set(key, times);
    const atMs = performance.now();
    if (!begunMs.has(key)) begunMs.set(key, performance.timeOrigin + atMs);
    if (atMs - (times.at(-1) ?? Number.NEGATIVE_INFINITY) > 300) times.push(atMs);
  }
  socket.write(frame);
}

const modbus = createServer((socket) => {
  socket.setNoDelay(true).on("error", () => socket.destroy());
  const read = createFrameReader();
  socket.on("data", (chunk) => {
    const frames = read(chunk);
    if (typeof frames === "string") throw new Error(frames);
    for (const { transactionId, unitId, pdu } of frames) answer(socket, "modbus", transactionId, unitId, pdu);
  });
});
await new Promise<void>((done) => modbus.listen(0, "127.0.0.1", done));

async function startOpcua(): Promise<string> {
  const { OPCUAServer } = await import("node-opcua-server");
  const { OPCUACertificateManager } = await import("node-opcua-certificate-manager");
  const rootFolder = mkdtempSync(join(tmpdir(), "jilian-bench-pki-"));
  process.on("exit", () => rmSync(rootFolder, { recursive: true, force: true }));
  const manager = new OPCUACertificateManager({ rootFolder });
  const server = new OPCUAServer({
    ...{ port: 0, host: "127.0.0.1", hostname: "127.0.0.1" },
    ...{ serverCertificateManager: manager, userCertificateManager: manager },
  });
  await server.initialize();
  const space = server.engine.addressSpace;
  if (!space) throw new Error("the OPC UA server has no address space");
  const own = space.getOwnNamespace();
  const folder = own.addFolder(space.rootFolder.objects, { browseName: "Bench" });
  const made = Array.from({ length: variables }, (_, i) => {
    const [browseName, nodeId] = [`v${i}`, `s=v${i}`];
    return own.addVariable({
      componentOf: folder,
      browseName,
      nodeId,
      dataType: "Double",
      minimumSamplingInterval: 100,
    });
  });
  setInterval(() => {
    const now = second();
    for (const [i, variable] of made.entries()) variable.setValueFromSource({ dataType: "Double", value: now + i / 7 });
  }, 1000);
  await server.start();
  return server.getEndpointUrl();
}

const endpointUrl = variables > 0 ? await startOpcua() : "";
const address = modbus.address();
process.send?.({ port: typeof address === "object" && address ? address.port : 0, endpointUrl });
process.on("message", (message) => {
  if (message !== "report") return;
  process.send?.({ requests, asked: [...asked.values()], begunMs: [...begunMs.values()] });
  asked.clear();
  requests = 0;
});
process.on("disconnect", () => process.exit(0));
