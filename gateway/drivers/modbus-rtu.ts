import { codeOf } from "@jilian/domain/errors.ts";
import type { Logger } from "pino";
import type { Driver } from "../model.ts";
import type { Line } from "./line.ts";
import { neverAsked } from "./line-errors.ts";
import { pause } from "./line-medium.ts";
import type { Lines } from "./line-pool.ts";
import { createShare } from "./line-share.ts";
import { createModbusReader, type ModbusTimes } from "./modbus.ts";
import type { ModbusRtuDevice, ModbusTag } from "./modbus-config.ts";
import type { Answer, ModbusConnection } from "./modbus-connection.ts";
import { rangeText, requestTimeout, stopped, type Target } from "./modbus-errors.ts";
import { tableCodes } from "./modbus-pdu.ts";
import {
  dataBytes,
  dataOf,
  exceptionOf,
  findAnswer,
  identityRequest,
  objectsOf,
  overheardIn,
  readRequest,
} from "./rtu-frame.ts";
import type { Unanswered } from "./rtu-unanswered.ts";

const identityCode = 0x2b;
/** Those by which a unit that is there tells that it does not know a request. */
const silences = new Set(["MODBUS_TIMEOUT", "LINE_GARBLED"]);

/** The line's error in the words of Modbus, with the registers that were asked for. */
function told(thrown: unknown, target: Target, address: string): unknown {
  const code = codeOf(thrown);
  if (code === "LINE_TIMEOUT") return requestTimeout(target, address);
  return code === "LINE_STOPPED" ? stopped(target) : thrown;
}

type Asked = { readonly request: Buffer; readonly code: number; readonly bytes: number; readonly address: string };

/** One unit's share in a line. @param unanswered of the unit, which outlives it */
export function openShare(line: Line, target: Target, unanswered: Unanswered): ModbusConnection {
  const { device, unitId, timeoutMs } = target;
  const { exchange: ask, fail, signal } = createShare(line);

  async function exchange({ request, code, bytes, address }: Asked, isProbe = false): Promise<Buffer> {
    const find = (received: Buffer, heard: Buffer) => findAnswer(request, received, heard);
    const answer = await ask({ device, request, timeoutMs, isProbe, find, overheard: overheardIn }, (thrown) => {
      if (!neverAsked.has(codeOf(thrown))) unanswered.note(code, bytes);
      return told(thrown, target, address);
    });
    // What it is a unit tells alike whenever it was asked.
    unanswered.answered(code === identityCode ? undefined : { code, bytes });
    return answer;
  }

  /** The time in which an answer to an earlier request may come and be thrown away. */
  async function waitForLate(): Promise<void> {
    await pause(timeoutMs, signal);
    if (!signal.aborted) unanswered.clear();
  }

  /** An exception looks like that of any earlier request of its function: where there is one, it is waited for and asked again. */
  async function certain(asked: Asked, isProbe = false): Promise<Buffer> {
    const answer = await exchange(asked, isProbe);
    if (exceptionOf(answer) === undefined || !unanswered.hasCode(asked.code)) {
      if (!unanswered.has(asked.code, asked.bytes)) unanswered.clear();
      return answer;
    }
    await waitForLate();
    return exchange(asked);
  }

  /** The least quantity whose answer no earlier one looks like; undefined where so much went unanswered that none is small. */
  function tellingQuantity(code: number): number | undefined {
    const quantities = code <= 2 ? [1, 9, 17, 25] : [1, 2, 3, 4];
    return quantities.find((quantity) => !unanswered.has(code, dataBytes(code, quantity)));
  }

  async function read(table: ModbusTag["table"], address: number, quantity: number, isProbe = false): Promise<Answer> {
    const code = tableCodes[table];
    const askedFor = (count: number): Asked => ({
      request: readRequest(unitId, code, address, count),
      code,
      bytes: dataBytes(code, count),
      address: rangeText(target, table, address, count),
    });
    const isDoubtful = unanswered.has(code, dataBytes(code, quantity));
    if (isDoubtful) {
      // Whether the unit is there at all: whatever comes is not used, and a silent unit leaves no more doubts than before.
      await exchange(askedFor(quantity), isProbe);
      const telling = tellingQuantity(code);
      await (telling === undefined ? waitForLate() : certain(askedFor(telling)));
    }
    const answer = await certain(askedFor(quantity), isProbe && !isDoubtful);
    const exception = exceptionOf(answer);
    return exception === undefined ? { bytes: dataOf(answer) } : { exception };
  }

  return {
    fail,
    read,
    async identify() {
      const address = rangeText(target, "identification", 0, 1);
      const answer = await certain({ request: identityRequest(unitId), code: identityCode, bytes: 0, address });
      return exceptionOf(answer) === undefined ? objectsOf(answer) : {};
    },
  };
}

/**
 * Reads the tags of one unit that speaks Modbus RTU on a line that it shares (modbus.ts, line-shared.ts).
 *
 * A late answer is never taken for that to another request, not even where RTU cannot tell them apart: after a request without an answer
 * the unit is asked first for something else, whose answer proves that none before it comes any more (rtu-unanswered.ts).
 * @param lines of the gateway, the unit's among them
 * @param unanswered of the unit, which outlives the driver
 */
export function createModbusRtuDriver(
  device: ModbusRtuDevice,
  options: { lines: Pick<Lines, "line" | "endpointOf">; unanswered: Unanswered; log: Logger } & ModbusTimes,
): Driver {
  const { lines, unanswered, log, ...times } = options;
  const { id, unitId, timeoutMs } = device;
  const target: Target = {
    device: id,
    // A line with a backup address is now here, now there.
    get endpoint() {
      return `line ${device.line} (${lines.endpointOf(device.line)})`;
    },
    unitId,
    timeoutMs,
  };
  return createModbusReader(device, {
    target: () => target,
    open: async () => openShare(lines.line(device.line), target, unanswered),
    // A line has one exchange at a time, whatever waits for it.
    maxReadsInFlight: 1,
    isRefusal: (thrown) => silences.has(codeOf(thrown)),
    log,
    ...times,
  });
}
