/** For tests: servers of other make (pymodbus), and pairs of serial ports (socat), where they are installed. */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { until } from "../cases/scripted-server.ts";

type Closing = { readonly close: () => Promise<void> };

const has = (command: string, ...args: string[]) => spawnSync(command, args).status === 0;
export const hasSocat = has("socat", "-V");
export const hasPymodbus = has("python3", "-c", "from pymodbus.simulator import SimDevice");
export const hasSerialPymodbus = hasPymodbus && hasSocat && has("python3", "-c", "import serial");
/** What a title says behind the name of a test that is left out. */
export const skipped = (isThere: boolean, why: string): string => (isThere ? "" : ` (skipped: ${why})`);
export const noPymodbus = "python3 has no pymodbus with SimDevice";
export const noSerialPymodbus = "needs socat and python3 with pymodbus and pyserial";

/** A server of pymodbus, on a serial port or on TCP: registers hold 1000 plus their address, bits are 1 where even. */
export const plainPeer = `
import asyncio, sys
from pymodbus import FramerType, ModbusDeviceIdentification
from pymodbus.server import ModbusSerialServer, ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice
kind, place = sys.argv[1:3]
words = [SimData(0, values=list(range(1000, 1200)), datatype=DataType.REGISTERS)]
bits = [SimData(0, values=[True, False] * 40, datatype=DataType.BITS)]
devices = [SimDevice(unit, simdata=(bits, bits, words, words)) for unit in (1, 2)]
identity = ModbusDeviceIdentification(info_name={"VendorName": "pymodbus Simulator"})
async def main():
    if kind == "serial":
        server = ModbusSerialServer(devices, identity=identity, port=place, baudrate=115200)
    else:
        server = ModbusTcpServer(devices, framer=FramerType.RTU, identity=identity, address=("127.0.0.1", int(place)))
    await server.serve_forever(background=True)
    print("ready", flush=True)
    await asyncio.get_running_loop().create_future()
asyncio.run(main())
`;

/** Runs a script of Python that prints "ready" once it serves. */
export async function startPeer(script: string, ...args: string[]): Promise<Closing & { readonly pid: number }> {
  const python = spawn("python3", ["-c", script, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  const closed = once(python, "close");
  let said = "";
  let complained = "";
  python.stdout.on("data", (text: Buffer) => {
    said += text.toString("utf8");
  });
  python.stderr.on("data", (text: Buffer) => {
    complained = (complained + text.toString("utf8")).slice(-2000);
  });
  const close = async (): Promise<void> => {
    python.kill("SIGKILL");
    await closed;
  };
  try {
    await until("pymodbus serves", () => said.includes("ready"));
  } catch (thrown) {
    await close();
    throw new Error(`${String(thrown)}: ${complained}`);
  }
  return { pid: python.pid as number, close };
}

/** A serial port whose other end is another one, or what socat is told (`tcp:127.0.0.1:502`). */
export async function startSerialPair(other?: string): Promise<Closing & { ours: string; theirs: string }> {
  const folder = mkdtempSync(join(tmpdir(), "jilian-serial-"));
  const [ours, theirs] = [join(folder, "ours"), join(folder, "theirs")] as const;
  const terminal = (path: string) => `pty,raw,echo=0,link=${path}`;
  const ends = [terminal(ours), other ?? terminal(theirs)];
  const socat = spawn("socat", ["-d", "-d", ...ends], { stdio: ["ignore", "ignore", "pipe"] });
  const closed = once(socat, "close");
  let said = "";
  socat.stderr.on("data", (text: Buffer) => {
    said += text.toString("utf8");
  });
  const close = async (): Promise<void> => {
    socat.kill("SIGKILL");
    await closed;
    rmSync(folder, { recursive: true });
  };
  try {
    await until("socat has both ends", () => said.includes("starting data transfer"));
  } catch (thrown) {
    await close();
    throw thrown;
  }
  return { ours, theirs, close };
}
