import { Status } from "@jilian/domain/quality.ts";
import type { Logger } from "pino";
import type { Driver, RawReading } from "../model.ts";
import { isBitTable, type ModbusDevice, type ModbusTag } from "./modbus-config.ts";
import { type ModbusConnection, openConnection } from "./modbus-connection.ts";
import { decodeBit, decodeRegisters } from "./modbus-decode.ts";
import { exceptionStatus, exceptionText, nothingReadable, rangeText, stopped, type Target } from "./modbus-errors.ts";
import { type Block, planReads, splitBlock } from "./modbus-plan.ts";
import { statusOfRaw } from "./raw-value.ts";

/** How long a tag that the device does not have is left out before it is tried again, in machine time. */
const refusedRetryMs = 600_000;

/** A block of the plan, with the exception it was last refused with: what is logged once, not at every poll. */
type Planned = Block & { exception?: number };

const isAddressFault = (exception: number) => exception === 2 || exception === 3;

function targetOf(device: ModbusDevice): Target {
  const { id, host, port, unitId, timeoutMs } = device;
  return { device: id, host, port, unitId, timeoutMs };
}

/** Vendor "... Simulator" or revision "simulated" (objects 0 and 2): what our simulators say of themselves. */
function isSimulator(objects: Readonly<Record<number, string>>): boolean {
  return /simulator/i.test(objects[0] ?? "") || objects[2] === "simulated";
}

function decodeTag(position: number, tag: ModbusTag, device: ModbusDevice, block: Block, bytes: Buffer): RawReading {
  const offset = tag.address - block.address;
  if (isBitTable(tag)) return { tag: position, value: decodeBit(bytes, offset), status: Status.Good };
  const value = decodeRegisters(bytes, 2 * offset, tag.type, tag.order ?? device.order, tag.bit);
  const status = statusOfRaw(value, tag.type);
  return { tag: position, value: status === Status.Good ? value : null, status };
}

/** Ties work on a connection to a signal: an abort breaks the connection, which ends the work at once. */
async function underSignal<T>(live: ModbusConnection, signal: AbortSignal, target: Target, work: () => Promise<T>) {
  const onAbort = () => live.fail(stopped(target));
  if (signal.aborted) onAbort();
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await work();
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

/**
 * Reads the tags of one unit behind Modbus TCP, in as few requests as the limits allow and at most `maxReadsInFlight` at a time.
 *
 * - A request refused for its addresses (exceptions 2, 3) is split until the tag that the device does not have is found; that tag alone
 *   turns bad and is tried again every ten minutes. The finer plan is kept until the next connect.
 * - Any other exception turns the tags of its request bad; the device as a whole fails when no request succeeds.
 * - A time-out, a lost connection or a frame that does not fit fails the device: the connection is gone with it.
 */
export function createModbusDriver(
  device: ModbusDevice,
  { log, retryRefusedMs = refusedRetryMs }: { log: Logger; retryRefusedMs?: number },
): Driver {
  const target = targetOf(device);
  const { tags } = device;
  let connection: ModbusConnection | undefined;
  let plan: Planned[] = [];
  /** Tag -> machine time at which it is tried again. */
  const refused = new Map<number, number>();
  /** False once a device stayed silent on the identification: some do, and some reset the connection. */
  let asksIdentity = true;
  let proven = false;

  async function open(signal: AbortSignal): Promise<ModbusConnection> {
    connection?.fail(stopped(target));
    connection = await openConnection(target, signal);
    return connection;
  }

  function replan(): void {
    plan = planReads(tags, device);
    refused.clear();
    proven = false;
  }

  function refuse(block: Planned, exception: number): void {
    const tag = block.tags[0] as number;
    plan = plan.filter((other) => other !== block);
    refused.set(tag, performance.now() + retryRefusedMs);
    const { table, address, quantity } = block;
    log.warn(
      { device: device.id, tag: tags[tag]?.name, address: rangeText(target, table, address, quantity), exception },
      `the device does not have this tag (${exceptionText(exception)}); it is bad until the device answers for it`,
    );
  }

  function noteException(block: Planned, exception: number): void {
    if (block.exception === exception) return;
    block.exception = exception;
    const { table, address, quantity } = block;
    log.warn(
      { device: device.id, address: rangeText(target, table, address, quantity), exception },
      `read refused: ${exceptionText(exception)}`,
    );
  }

  function retryDue(): void {
    const now = performance.now();
    for (const [tag, retryAt] of refused) {
      if (retryAt > now) continue;
      refused.delete(tag);
      plan.push(...planReads(tags, device, [tag]));
    }
  }

  async function readPlan(live: ModbusConnection): Promise<RawReading[]> {
    const readings: RawReading[] = [];
    const queue = [...plan];
    let answered = 0;
    let lastException = 2;

    async function readBlock(block: Planned): Promise<void> {
      const answer = await live.read(block.table, block.address, block.quantity);
      if ("bytes" in answer) {
        answered += 1;
        delete block.exception;
        for (const i of block.tags) readings.push(decodeTag(i, tags[i] as ModbusTag, device, block, answer.bytes));
        return;
      }
      const { exception } = answer;
      lastException = exception;
      if (!isAddressFault(exception)) {
        noteException(block, exception);
        const status = exceptionStatus(exception);
        for (const tag of block.tags) readings.push({ tag, value: null, status });
      } else if (block.tags.length > 1) {
        const halves = splitBlock(tags, block);
        plan = plan.flatMap((other) => (other === block ? halves : [other]));
        queue.unshift(...halves);
      } else refuse(block, exception);
    }

    async function work(): Promise<void> {
      for (let block = queue.shift(); block !== undefined; block = queue.shift()) await readBlock(block);
    }

    await Promise.all(Array.from({ length: device.maxReadsInFlight }, work));
    if (answered === 0) throw nothingReadable(target, lastException);
    for (const tag of refused.keys()) readings.push({ tag, value: null, status: Status.BadNodeIdUnknown });
    return readings;
  }

  return {
    async connect(signal) {
      replan();
      let live = await open(signal);
      if (!asksIdentity) return { simulated: device.simulated };
      try {
        return { simulated: device.simulated || isSimulator(await underSignal(live, signal, target, live.identify)) };
      } catch (thrown) {
        if (signal.aborted) throw thrown;
        asksIdentity = false;
        live = await open(signal);
        return { simulated: device.simulated };
      }
    },
    async read(signal) {
      const live = connection;
      if (live === undefined) throw stopped(target);
      retryDue();
      try {
        const readings = await underSignal(live, signal, target, () => readPlan(live));
        proven = true;
        return readings;
      } catch (thrown) {
        // A device that is silent altogether has told nothing about the identification by being silent on it.
        if (!proven) asksIdentity = true;
        throw thrown;
      }
    },
    async close() {
      connection?.fail(stopped(target));
      connection = undefined;
    },
  };
}
