import { codeOf } from "@jilian/domain/errors.ts";
import { Status } from "@jilian/domain/quality.ts";
import type { Logger } from "pino";
import type { Driver, RawReading } from "../model.ts";
import { closedWhileIdle } from "./contract.ts";
import { isProbe } from "./line-probe.ts";
import type { ModbusTag, ModbusUnit } from "./modbus-config.ts";
import type { Answer, ModbusConnection } from "./modbus-connection.ts";
import { exceptionStatus, exceptionText, nothingReadable, rangeText, stopped, type Target } from "./modbus-errors.ts";
import { isUnitAway } from "./modbus-pdu.ts";
import { type Block, planByRate, splitBlock } from "./modbus-plan.ts";
import { createRates } from "./modbus-rates.ts";
import { createTogether } from "./modbus-together.ts";
import { type TagDecoder, tagDecoders } from "./modbus-values.ts";

/** How long a tag that the device does not have is left out before it is tried again, in machine time. */
const refusedRetryMs = 600_000;

/** So long a unit of which nothing is due is believed to be there, in machine time; then one short read tells. */
const unprovenMs = 60_000;

/** A block of the plan, with the exception it was last refused with: what is logged once, not at every poll. */
type Planned = Block & { readonly group: string | undefined; exception?: number };

const isAddressFault = (exception: number) => exception === 2 || exception === 3;
/** The function does not exist: it will not at the next poll. Any other refusal but one of addresses may pass. */
const illegalFunction = 1;

/** How a unit is reached: what differs between Modbus TCP and a line. */
export type ModbusAccess = {
  /** Whom it is reached at now. */
  readonly target: () => Target;
  /** @throws JilianError when there is no way to the unit */
  readonly open: (signal: AbortSignal) => Promise<ModbusConnection>;
  readonly maxReadsInFlight: number;
  /** Whether the identification failed because of the unit, so that it is not asked again. */
  readonly isRefusal: (thrown: unknown) => boolean;
  readonly log: Logger;
} & ModbusTimes;

/** Times that a reader has of its own, but for tests. */
export type ModbusTimes = {
  /** How fast the clock runs in which intervals are told, against the machine's; 1 where left out. */
  readonly clockRate?: number | undefined;
  readonly retryRefusedMs?: number | undefined;
  readonly unprovenMs?: number | undefined;
  readonly trialMs?: number | undefined;
};

/** Vendor "... Simulator" or revision "simulated" (objects 0 and 2): what our simulators say of themselves. */
function isSimulator(objects: Readonly<Record<number, string>>): boolean {
  return /simulator/i.test(objects[0] ?? "") || objects[2] === "simulated";
}

/** Ties work on a connection to a signal: an abort breaks the connection, which ends the work at once. */
async function underSignal<T>(live: ModbusConnection, signal: AbortSignal, target: Target, work: () => Promise<T>) {
  const onAbort = () => live.fail(stopped(target));
  if (signal.aborted) {
    onAbort();
    throw stopped(target);
  }
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await work();
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

/**
 * Reads the tags of one unit, in as few requests as the limits allow and at most `maxReadsInFlight` at a time.
 *
 * - A request refused for its addresses (exceptions 2, 3) is split until the tag that the device does not have is found; that tag alone
 *   turns bad and is tried again every ten minutes. The finer plan is kept until the next connect, and over that too where the device
 *   only closed a connection on which nothing was asked.
 * - Any other exception turns the tags of its request bad; the device as a whole fails when no request succeeds.
 * - Where no group is due, a unit that has told nothing for a minute is asked for its shortest block all the same,
 *   which proves it and is no reading: with slow groups alone it would else count as there for a day after its cable was pulled.
 * - A time-out, a lost connection or a frame that does not fit fails the device: the connection is gone with it.
 * - A device that twice left some of several requests at once unanswered is asked one at a time for a while (modbus-together.ts).
 * - A unit that stays silent costs one time-out at each attempt, and where it was silent before a shorter one, but for every fourth.
 */
export function createModbusReader(device: ModbusUnit, access: ModbusAccess): Driver {
  const { log, clockRate = 1, retryRefusedMs = refusedRetryMs } = access;
  const { tags } = device;
  const decoders = tagDecoders(device, log);
  let connection: ModbusConnection | undefined;
  let plan: Planned[] = [];
  /** Tag -> machine time at which it is tried again. */
  const refused = new Map<number, number>();
  /** False once a device stayed silent on the identification: some do, and some reset the connection. */
  let asksIdentity = true;
  let proven = false;
  /** By address: attempts in a row at which it was silent, and what was thrown when that had cost the whole time-out. */
  const silences = new Map<string, { attempts: number; thrown: unknown }>();
  /** What the first read of a connect gave, for the poll behind it: not older than any answer may be. */
  let looked: { block: Planned; answer: Answer; untilMs: number } | undefined;
  /** Whether the device closed the last connection while nothing was asked: behind the next one it is as it was. */
  let endedIdle = false;
  /** When it answered a read last, machine time. */
  let answeredMs = Number.NEGATIVE_INFINITY;
  const rates = createRates(device);
  const together = createTogether(access.maxReadsInFlight, access.trialMs);

  function noteHalfAnswered(): void {
    if (!together.halfAnswered()) return;
    const { maxReadsInFlight } = access;
    log.warn(
      { code: "MODBUS_ONE_AT_A_TIME", device: device.id, address: access.target().endpoint, maxReadsInFlight },
      "the device leaves requests unanswered that come together: it is asked one at a time, and together again after a while; remove maxReadsInFlight",
    );
  }

  async function open(signal: AbortSignal): Promise<ModbusConnection> {
    connection?.fail(stopped(access.target()));
    connection = await access.open(signal);
    return connection;
  }

  /** @returns what is to be thrown: of a probe what was thrown before it, since it only tells that nothing has changed */
  function noteSilence(thrown: unknown, wasProbe: boolean): unknown {
    if (codeOf(thrown) !== "MODBUS_TIMEOUT") return thrown;
    const { endpoint } = access.target();
    const before = silences.get(endpoint);
    const told = wasProbe && before !== undefined ? before.thrown : thrown;
    silences.set(endpoint, { attempts: (before?.attempts ?? 0) + 1, thrown: told });
    return told;
  }

  const shortest = (): Planned | undefined => plan.toSorted((a, b) => a.quantity - b.quantity)[0];

  /**
   * Whether the unit is there. An open connection does not tell: behind a converter and on a line it is open without it. It is a read, since
   * living units stay silent on the identification, too. A probe is as short as quick answers of late make it: it asks for the least.
   */
  async function look(live: ModbusConnection, signal: AbortSignal): Promise<void> {
    const probes = isProbe(silences.get(access.target().endpoint)?.attempts ?? 0);
    const first = probes ? shortest() : plan[0];
    if (first === undefined) return;
    const { table, address, quantity } = first;
    try {
      const read = () => live.read(table, address, quantity, probes);
      const answer = await underSignal(live, signal, access.target(), read);
      silences.clear();
      looked = { block: first, answer, untilMs: performance.now() + device.timeoutMs };
      // A converter has waited for the unit: no other read of this attempt is to wait as long again.
      if ("exception" in answer && isUnitAway(answer.exception))
        throw nothingReadable(access.target(), answer.exception);
    } catch (thrown) {
      throw noteSilence(thrown, probes);
    }
  }

  function replan(): void {
    plan = planByRate(tags, device);
    rates.reset();
    refused.clear();
    looked = undefined;
    proven = false;
  }

  function refuse(block: Planned, exception: number): void {
    const tag = block.tags[0] as number;
    plan = plan.filter((other) => other !== block);
    refused.set(tag, performance.now() + retryRefusedMs);
    const { table, address, quantity } = block;
    log.warn(
      {
        device: device.id,
        tag: tags[tag]?.name,
        address: rangeText(access.target(), table, address, quantity),
        exception,
      },
      `the device does not have this tag (${exceptionText(exception)}); it is bad until the device answers for it`,
    );
  }

  function noteException(block: Planned, exception: number): void {
    if (block.exception === exception) return;
    block.exception = exception;
    const { table, address, quantity } = block;
    log.warn(
      { device: device.id, address: rangeText(access.target(), table, address, quantity), exception },
      `read refused: ${exceptionText(exception)}`,
    );
  }

  function retryDue(): void {
    const now = performance.now();
    for (const [tag, retryAt] of refused) {
      if (retryAt > now) continue;
      refused.delete(tag);
      plan.push(...planByRate(tags, device, [tag]));
    }
  }

  /** Asks for the shortest block. Whatever it answers, but that nobody is behind its gateway, it is there. */
  async function prove(live: ModbusConnection): Promise<void> {
    const block = shortest();
    if (block === undefined) return;
    const answer = await live.read(block.table, block.address, block.quantity);
    if ("exception" in answer && isUnitAway(answer.exception)) throw nothingReadable(access.target(), answer.exception);
    answeredMs = performance.now();
  }

  async function readPlan(live: ModbusConnection): Promise<RawReading[]> {
    const readings: RawReading[] = [];
    const startedMs = performance.now();
    const due = rates.take(startedMs * clockRate);
    const isDue = (group: string | undefined) => group === undefined || due.has(group);
    const queue = plan.filter(({ group }) => isDue(group));
    const others = plan.filter(({ group }) => !isDue(group));
    const isIdle = queue.length === 0 && plan.length > 0;
    const inFlight = together.most();
    if (isIdle && startedMs - answeredMs >= (access.unprovenMs ?? unprovenMs)) await prove(live);
    let answered = 0;
    let lastException = 2;
    const known = looked !== undefined && startedMs <= looked.untilMs ? looked : undefined;
    looked = undefined;
    // What was read while nothing else was asked tells nothing of requests that come together.
    const isTogether = inFlight > 1 && queue.filter((block) => block !== known?.block).length > 1;
    let answeredNow = 0;

    async function readBlock(block: Planned): Promise<void> {
      const answer =
        block === known?.block ? known.answer : await live.read(block.table, block.address, block.quantity);
      if ("bytes" in answer) {
        answered += 1;
        if (block !== known?.block) answeredNow += 1;
        answeredMs = performance.now();
        delete block.exception;
        for (const i of block.tags) {
          const offset = (tags[i] as ModbusTag).address - block.address;
          readings.push({ tag: i, ...(decoders[i] as TagDecoder)(answer.bytes, offset) });
        }
        return;
      }
      const { exception } = answer;
      lastException = exception;
      if (!isAddressFault(exception)) {
        noteException(block, exception);
        if (block.group !== undefined && exception !== illegalFunction) rates.ask(block.group);
        const status = exceptionStatus(exception);
        for (const tag of block.tags) readings.push({ tag, value: null, status });
      } else if (block.tags.length > 1) {
        const halves = splitBlock(tags, block).map((half) => ({ ...half, group: block.group }));
        plan = plan.flatMap((other) => (other === block ? halves : [other]));
        queue.unshift(...halves);
      } else refuse(block, exception);
    }

    async function work(): Promise<void> {
      for (let block = queue.shift(); block !== undefined; block = queue.shift()) await readBlock(block);
    }

    try {
      await Promise.all(Array.from({ length: inFlight }, work));
      // Of what is due the device gives nothing: what is not due tells whether it gives anything at all.
      while (answered === 0 && !isIdle && others.length > 0 && !isUnitAway(lastException)) {
        queue.push(others.shift() as Planned);
        await work();
      }
      if (isTogether) together.answered();
    } catch (thrown) {
      if (isTogether && answeredNow > 0 && codeOf(thrown) === "MODBUS_TIMEOUT") noteHalfAnswered();
      for (const group of due) rates.ask(group);
      throw thrown;
    }
    if (answered === 0 && !isIdle) throw nothingReadable(access.target(), lastException);
    for (const tag of refused.keys()) {
      if (isDue(tags[tag]?.group)) readings.push({ tag, value: null, status: Status.BadNodeIdUnknown });
    }
    return readings;
  }

  return {
    async connect(signal) {
      const isAsItWas = endedIdle;
      endedIdle = false;
      if (!isAsItWas) replan();
      let live = await open(signal);
      if (!isAsItWas) await look(live, signal);
      if (!asksIdentity) return { simulated: device.simulated };
      try {
        return {
          simulated: device.simulated || isSimulator(await underSignal(live, signal, access.target(), live.identify)),
        };
      } catch (thrown) {
        if (signal.aborted || !access.isRefusal(thrown)) throw thrown;
        asksIdentity = false;
        live = await open(signal);
        return { simulated: device.simulated };
      }
    },
    async read(signal) {
      const live = connection;
      if (live === undefined) throw stopped(access.target());
      retryDue();
      try {
        const readings = await underSignal(live, signal, access.target(), () => readPlan(live));
        proven = true;
        silences.clear();
        return readings;
      } catch (thrown) {
        // A device that is silent altogether has told nothing about the identification by being silent on it.
        if (!proven) asksIdentity = true;
        endedIdle = codeOf(thrown) === closedWhileIdle;
        throw noteSilence(thrown, false);
      }
    },
    ask: rates.ask,
    async close() {
      connection?.fail(stopped(access.target()));
      connection = undefined;
    },
  };
}
