/** An independent peer: pymodbus reads a whole plant, and Python alone puts the bytes in order. */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { expect, it } from "vitest";
import { PROFILE_NAMES } from "./profiles.ts";
import { toJson } from "./register-map.ts";
import { startSimulator } from "./simulator.ts";

const SCRIPT = `
import json, struct, sys
from pymodbus.client import ModbusTcpClient
job = json.load(sys.stdin)
client = ModbusTcpClient("127.0.0.1", port=job["port"], timeout=5)
assert client.connect()
readers = {"holding": client.read_holding_registers, "input": client.read_input_registers,
           "coil": client.read_coils, "discrete": client.read_discrete_inputs}
formats = {"uint16": "H", "int16": "h", "uint32": "I", "int32": "i", "uint64": "Q", "int64": "q",
           "float32": "f", "float64": "d"}
found = {}
for p in job["points"]:
    answer = readers[p["table"]](p["address"], count=p["quantity"], device_id=p["unitId"])
    assert not answer.isError(), p["name"]
    if p["type"] == "bool":
        found[p["name"]] = answer.bits[0]
        continue
    words = list(answer.registers)
    if p["order"] in ("CDAB", "DCBA"):
        words.reverse()
    way = "<H" if p["order"] in ("BADC", "DCBA") else ">H"
    value = struct.unpack(">" + formats[p["type"]], b"".join(struct.pack(way, w) for w in words))[0]
    found[p["name"]] = value if "float" in p["type"] else str(value)
info = client.read_device_information(read_code=1, object_id=0, device_id=1)
refused = client.write_register(0, 1, device_id=11)
print(json.dumps({"found": found, "vendor": info.information[0].decode(), "exception": refused.exception_code}))
client.close()
`;

const available = spawnSync("python3", ["-c", "import pymodbus.client"]).status === 0;
const title = available
  ? ""
  : " (skipped: python3 cannot import pymodbus; install it with python3 -m pip install pymodbus)";

it.skipIf(!available).each(PROFILE_NAMES)(`pymodbus reads the truth of %s${title}`, async (profile) => {
  const startMs = Date.UTC(2026, 0, 5);
  // A clock that stands still, so that the truth at the end is the truth of every read.
  const nowMs = startMs + 7_654_300;
  await using simulator = await startSimulator({ plants: [{ profile, seed: 11, startMs }], now: () => nowMs });
  const [plant] = simulator.plants;
  if (plant === undefined) throw new Error("no plant");
  const python = spawn("python3", ["-c", SCRIPT], { stdio: ["pipe", "pipe", "pipe"] });
  const closed = once(python, "close");
  python.stdin.end(toJson({ port: plant.port, points: plant.registerMap.points }));
  const [out, err] = await Promise.all([python.stdout.toArray(), python.stderr.toArray(), closed]);
  expect(Buffer.concat(err).toString("utf8")).toBe("");
  const { found, vendor, exception } = JSON.parse(Buffer.concat(out).toString("utf8"));
  expect(found).toEqual(JSON.parse(toJson(plant.truth().registers)));
  expect([vendor, exception]).toEqual(["Jilian Simulator", 1]);
  expect(plant.stats().writesRefused).toBe(1);
});
