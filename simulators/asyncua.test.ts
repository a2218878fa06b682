/** An independent peer: asyncua (Python) reads and subscribes a whole plant, unsecured and secured. */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { expect, it } from "vitest";
import { until } from "./raw-client.ts";
import { toJson } from "./register-map.ts";
import { startSimulator } from "./simulator.ts";
import { testPkiDir } from "./test-opcua.ts";

const SCRIPT = `
import asyncio, json, logging, os, sys, tempfile
from pathlib import Path
from cryptography.x509.oid import ExtendedKeyUsageOID
from asyncua import Client, ua
from asyncua.crypto.cert_gen import setup_self_signed_certificate
from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256
logging.disable(logging.CRITICAL)
job = json.loads(sys.stdin.readline())
uri = "urn:jilian:test:asyncua"

def written(value):
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value

def seen(data):
    stamp = data.SourceTimestamp
    ms = round((stamp - type(stamp)(1970, 1, 1, tzinfo=stamp.tzinfo)).total_seconds() * 1000)
    return [data.Value.VariantType.name, written(data.Value.Value), ms, data.StatusCode.name]

class Handler:
    def __init__(self): self.changes = []
    def datachange_notification(self, node, value, data):
        self.changes.append([node.nodeid.Identifier, *seen(data.monitored_item.Value)])

async def visit(secured):
    client = Client(job["url"], timeout=20)
    client.application_uri = uri
    if secured:
        folder = Path(tempfile.mkdtemp())
        key, cert = folder / "key.pem", folder / "cert.der"
        await setup_self_signed_certificate(key, cert, uri, "localhost", [ExtendedKeyUsageOID.CLIENT_AUTH], {})
        await client.set_security(SecurityPolicyBasic256Sha256, str(cert), str(key),
                                  server_certificate=job["certificate"], mode=ua.MessageSecurityMode.SignAndEncrypt)
        client.set_user("gateway"); client.set_password(job["password"])
    async with client:
        index = await client.get_namespace_index("urn:jilian:simulator")
        nodes = {p["name"]: client.get_node(ua.NodeId(p["identifier"], index)) for p in job["points"]}
        found = {name: seen(await node.read_data_value()) for name, node in nodes.items()}
        unit = await client.get_node(ua.NodeId("incoming-meter.energyImport", index)).get_child("0:EngineeringUnits")
        energy = await unit.read_value()
        try:
            await nodes["machine-1/state"].write_value(ua.Variant(0, ua.VariantType.Int32)); refused = None
        except ua.UaStatusCodeError as error: refused = type(error).__name__
        handler = Handler()
        subscription = await client.create_subscription(50, handler)
        await subscription.subscribe_data_change(list(nodes.values()), sampling_interval=0, queuesize=100)
        while len(handler.changes) < len(nodes): await asyncio.sleep(0.02)
        first = len(handler.changes)
        print(json.dumps({"found": found, "unit": energy.DisplayName.Text, "refused": refused}), flush=True)
        wanted = int(await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline))
        while len(handler.changes) < first + wanted: await asyncio.sleep(0.02)
        print(json.dumps(handler.changes[first:]), flush=True)

asyncio.run(visit(job["secured"]))
`;

const available = spawnSync("python3", ["-c", "import asyncua"]).status === 0;
const title = available
  ? ""
  : " (skipped: python3 cannot import asyncua; install it with python3 -m pip install asyncua)";
const START_MS = Date.UTC(2026, 0, 5);
const user = { name: "gateway", password: "a secret" };

it.skipIf(!available).each([
  ["unsecured", "copper-rolling"],
  ["SignAndEncrypt with a user", "aluminium-extrusion"],
] as const)(`asyncua reads and subscribes the truth, %s${title}`, async (how, profile) => {
  let nowMs = START_MS + 7_654_300;
  await using simulator = await startSimulator({
    plants: [{ profile, seed: 11, startMs: START_MS, port: null, opcuaPort: 0 }],
    now: () => nowMs,
    opcua: { pkiDir: testPkiDir("asyncua"), user },
  });
  const [plant] = simulator.plants;
  const server = plant?.opcua;
  if (plant === undefined || server === undefined) throw new Error("no OPC UA server");
  const { points } = server.map;
  const python = spawn("python3", ["-c", SCRIPT], { stdio: ["pipe", "pipe", "pipe"] });
  let [out, err] = ["", ""];
  python.stdout.on("data", (chunk: Buffer) => {
    out += chunk.toString("utf8");
  });
  python.stderr.on("data", (chunk: Buffer) => {
    err += chunk.toString("utf8");
  });
  const ended = once(python, "close");
  const line = async (count: number): Promise<string> => {
    const lines = () => out.split("\n").slice(0, -1);
    await Promise.race([ended, until(`line ${count}`, () => lines().length >= count, 25_000)]);
    expect(lines().length, err).toBeGreaterThanOrEqual(count);
    return lines()[count - 1] ?? "";
  };
  const job = { url: server.endpointUrl, certificate: server.certificatePath, password: user.password };
  python.stdin.write(`${toJson({ ...job, secured: how !== "unsecured", points })}\n`);

  const { found, unit, refused } = JSON.parse(await line(1));
  const truth = plant.truth();
  const written = (value: unknown): unknown => JSON.parse(toJson(value));
  const expected = points.map(({ name, dataType }) => [name, [dataType, written(truth.variables[name])]]);
  const foundValues = Object.entries(found as Record<string, unknown[]>).map(([name, seen]) => [
    name,
    seen.slice(0, 2),
  ]);
  expect(Object.fromEntries(foundValues)).toEqual(Object.fromEntries(expected));
  expect(found["incoming-meter/energy-import"].slice(2)).toEqual([nowMs, "Good"]);
  expect([unit, refused]).toEqual(["W·h", "BadNotWritable"]);

  const before = server.held().at(-1)?.sequence ?? 0;
  nowMs += 30_000;
  await until("a scan", () => (server.held().at(-1)?.timeMs ?? 0) === nowMs);
  const held = server.held({ after: before });
  python.stdin.end(`${held.length}\n`);
  const identifiers = new Map(points.map((point) => [point.name, point]));
  const changes = held.map(({ point, raw, valuesTimeMs, status }) => {
    const { identifier, dataType } = identifiers.get(point) ?? {};
    return [identifier, dataType, written(raw), valuesTimeMs, status];
  });
  const byNode = (a: unknown[], b: unknown[]): number => String(a[0]).localeCompare(String(b[0]));
  expect((JSON.parse(await line(2)) as unknown[][]).sort(byNode)).toEqual(changes.sort(byNode));
  await ended;
  expect(server.stats().writesRefused).toBe(1);
});
