import { readdirSync, readlinkSync, realpathSync } from "node:fs";
import { pino } from "pino";
import type { Exchange } from "../drivers/line.ts";
import type { SerialLine } from "../drivers/line-config.ts";
import { settingText } from "../drivers/line-facts.ts";
import { serialMedium } from "../drivers/line-serial.ts";
import { createLine } from "../drivers/line-shared.ts";
import type { Target } from "../drivers/modbus-errors.ts";
import { openShare } from "../drivers/modbus-rtu.ts";
import { answerBytes } from "../drivers/rtu-frame.ts";
import { createUnanswered, type Unanswered } from "../drivers/rtu-unanswered.ts";
import { type OpenUnit, pacer } from "./session.ts";

/** A serial port as `probe` is told of it. */
export type SerialPlace = Pick<SerialLine, "path" | "baudRate" | "parity" | "stopBits">;

/** `/dev/ttyUSB0, 9600 baud 8N1`. */
export function placeText(place: SerialPlace): string {
  return `${place.path}, ${settingText(place)}`;
}

/**
 * Processes that have the port open, this one not among them: a second master on the line would take answers to them for its own, and they
 * those to it. Empty where the system does not tell (it is no Linux, or they belong to another user and this one may not look), and of a
 * pseudo-terminal, which is no line: the program that made it has both its ends.
 */
export function usersOf(path: string): number[] {
  try {
    const port = realpathSync(path);
    if (port.startsWith("/dev/pts/")) return [];
    return readdirSync("/proc")
      .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
      .filter((pid) => hasOpen(pid, port))
      .map(Number);
  } catch {
    return [];
  }
}

function hasOpen(pid: string, port: string): boolean {
  try {
    return readdirSync(`/proc/${pid}/fd`).some((fd) => linkOf(`/proc/${pid}/fd/${fd}`) === port);
  } catch {
    return false;
  }
}

/** A descriptor may be closed while it is looked at. */
function linkOf(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}

/**
 * The units on a serial port, for a probe session: read as the gateway does (modbus-rtu.ts), on a line that is opened by the first request.
 * Every frame counts and keeps to the rate, those included by which late answers are told from others.
 * @param timeoutMs how long a unit may be silent; what an answer takes on the wire comes on top of it
 */
export function serialUnits(
  place: SerialPlace,
  { timeoutMs, requestsPerSecond }: { timeoutMs: number; requestsPerSecond: number },
  signal: AbortSignal,
): { readonly open: OpenUnit; readonly sent: () => number; readonly close: () => Promise<void> } {
  const medium = serialMedium({ id: "probe", kind: "serial", dataBits: 8, turnaroundMs: 0, ...place });
  const line = createLine("probe", medium, pino({ level: "silent" }));
  const pace = pacer(requestsPerSecond, signal);
  const doubts = new Map<number, Unanswered>();

  async function exchange(asked: Exchange): Promise<Buffer> {
    await pace();
    const wireMs = answerBytes(asked.request) * medium.characterMs;
    return line.exchange({ ...asked, timeoutMs: asked.timeoutMs + wireMs });
  }

  return {
    async open(unitId) {
      const target: Target = { device: "probe", endpoint: place.path, unitId, timeoutMs };
      const doubt = doubts.get(unitId) ?? createUnanswered();
      doubts.set(unitId, doubt);
      return openShare({ ...line, exchange }, target, doubt);
    },
    sent: () => line.stats().exchanges,
    close: line.close,
  };
}
