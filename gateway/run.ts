import { codeOf, JilianError, messageOf } from "@jilian/domain/errors.ts";
import { type Assembly, assemble, type GatewayDeps } from "./assembly.ts";
import type { DeviceStats } from "./collect.ts";
import type { GatewayConfig } from "./config.ts";
import { createLineDoubts } from "./drivers/line-doubts.ts";
import type { LineStats } from "./drivers/line-shared.ts";
import type { EdgeNode } from "./edge-node.ts";
import { type HistoryStats, startHistory } from "./history.ts";
import { historySetting } from "./history-setting.ts";
import type { DeviceValues } from "./last-values.ts";
import { atMostEvery } from "./log-limit.ts";
import type { OutboxStats } from "./model.ts";
import { type OpenedOutbox, openOutbox } from "./outbox.ts";
import { type DropTeller, dropTeller } from "./outbox-drops.ts";
import { moveHeld, outboxMove } from "./outbox-move.ts";
import { type Difference, difference, isSame } from "./reload.ts";

export type Gateway = {
  readonly stats: () => {
    /** `isInMemory`: the medium fails, and readings wait in memory until it is back. */
    outbox: OutboxStats & { isWritable: boolean; isInMemory: boolean };
    edge: ReturnType<EdgeNode["stats"]>;
    devices: DeviceStats[];
    lines: LineStats[];
    /** Of the quarter hours that the box keeps itself; undefined where none are wanted. */
    history: HistoryStats | undefined;
  };
  /** What each tag was when it was read last, device by device in the order of the configuration. */
  readonly values: () => DeviceValues[];
  /** The configuration as it takes effect now, also after a reload. */
  readonly config: () => GatewayConfig;
  /** The outbox in use now: another one after a medium failed or came back. Not to be kept. */
  readonly outbox: () => OpenedOutbox;
  /** Has a group of tags read at the next poll of its device. @returns whether there is one of that name */
  readonly ask: (device: string, group: string) => boolean;
  /**
   * Goes on by another configuration: devices that are the same in it are read on without a gap, where nothing but devices and what takes
   * effect with a start is another.
   * @returns what it changed; what is in `restart` it did not
   */
  readonly reload: (config: GatewayConfig) => Promise<Difference>;
  /** Takes leave of the broker and connects again, with what the files of the configuration hold now. */
  readonly reconnect: (why: string) => Promise<void>;
  /** Whether what waited in memory is being moved to its file now. */
  readonly isMoving: () => boolean;
  /**
   * Stops collecting, takes leave of the broker, closes the outbox; within two seconds, but where a file is back and takes what waited in
   * memory: that is finished first, since it would be lost. What is pending stays on disk.
   */
  readonly close: () => Promise<void>;
  readonly [Symbol.asyncDispose]: () => Promise<void>;
};

export type GatewayOptions = GatewayDeps & {
  /** How often a medium that fails is tried again, machine time; 10 s if absent. */
  retryMs?: number;
  /** How long a file may be unwritable before it is left for memory, machine time; 3 s if absent. Until then readings are held. */
  unwritableMs?: number;
};

/** What waits in memory at most while the medium fails: a box has little. */
const memoryBytes = 16 * 1024 * 1024;
const lookMs = 250;

/** Room beside what is moved that the file must have. */
const spareBytes = 1024 * 1024;
/** A file that fails again so soon after it was had again, in waits for a retry, is waited for twice as long; up to so many times as long. */
const steadyWaits = 6;
const mostWaits = 32;

/** Faults at a start that only a person can settle. Everything else is a medium that is damaged or fails: live readings go on. */
const refusals = new Set(["OUTBOX_LOCKED", "OUTBOX_OTHER_NODE", "OUTBOX_NEWER", "OUTBOX_FOREIGN_FILE"]);

/** Opens the outboxes of one gateway: what they drop is told to the assembly that runs. */
function outboxes(config: GatewayConfig, { log, clock }: GatewayDeps, drops: DropTeller) {
  const { group, node } = config;
  const { path, maxBytes, maxAgeMs, fsyncMs, durability } = config.outbox;
  const tell = atMostEvery(60_000);
  const common = { maxAgeMs, fsyncMs, group, node, clock, log };

  function open(own: { path: string | undefined; maxBytes: number; durability: typeof durability }): OpenedOutbox {
    const opened: OpenedOutbox = openOutbox({ ...common, ...own, onDropped: (...drop) => drops.tell(opened, ...drop) });
    return opened;
  }

  function openMemory(): OpenedOutbox {
    return open({ path: undefined, maxBytes: Math.min(maxBytes, memoryBytes), durability: "process" });
  }

  /** Once a minute, for as long as it lasts. */
  function tellWhy(thrown: unknown): void {
    const remedy = thrown instanceof JilianError ? thrown.remedy : "see the cause";
    tell((heldBack) =>
      log.error(
        { code: codeOf(thrown), path, found: messageOf(thrown), remedy, heldBack },
        "the outbox has no medium: live readings go on, what is not sent waits in memory and is lost with the process",
      ),
    );
  }

  /** The file, or undefined while it cannot be had. At a start a file that is not ours, or in use, is refused. */
  function tryFile(refuses: boolean): OpenedOutbox | undefined {
    try {
      return open({ path, maxBytes, durability });
    } catch (thrown) {
      if (refuses && refusals.has(codeOf(thrown) ?? "")) throw thrown;
      tellWhy(thrown);
      return undefined;
    }
  }

  return { tryFile, openMemory };
}

/** Tells how long a condition has held, machine time, ms; 0 while it does not. */
function duration(): (holds: boolean) => number {
  let sinceMs: number | undefined;
  return (holds) => {
    sinceMs = holds ? (sinceMs ?? performance.now()) : undefined;
    return sinceMs === undefined ? 0 : performance.now() - sinceMs;
  };
}

/**
 * Runs a gateway: collector, outbox, edge node. A PLC or a broker that is not there does not stop it, nor does a medium that is full,
 * read-only or gone: readings then wait in a bounded memory, and go on from the file by themselves once that can be opened and written.
 * @param config checked; paths in it are absolute or relative to the working directory, the password is resolved
 * @throws JilianError OUTBOX_LOCKED, OUTBOX_OTHER_NODE, OUTBOX_NEWER, OUTBOX_FOREIGN_FILE: see {@link openOutbox}
 */
export function startGateway(initial: GatewayConfig, options: GatewayOptions): Gateway {
  let config = initial;
  const { log, clock, retryMs = 10_000, unwritableMs = 3000 } = options;
  const drops = dropTeller();
  const { tryFile, openMemory } = outboxes(config, options, drops);
  let file = tryFile(true);
  const kept = historySetting(initial);
  const history = kept && startHistory({ ...kept, group: initial.group, node: initial.node, clock, log, retryMs });
  const doubts = createLineDoubts(true);
  let active = begin(file ?? openMemory(), initial);
  let triedMs = performance.now();
  let returnedMs = Number.NEGATIVE_INFINITY;
  let waitMs = retryMs;
  let closing: Promise<void> | undefined;
  let isMoving = false;
  const unwritableFor = duration();

  function begin(outbox: OpenedOutbox, by: GatewayConfig): Assembly {
    const assembly = assemble(by, outbox, { log, clock, history, doubts });
    drops.listen(assembly);
    return assembly;
  }

  /** Ends what runs and goes on with another outbox, or with the same where that is what `next` gives, and by another configuration. */
  async function change(next: () => OpenedOutbox | Promise<OpenedOutbox>, by = config): Promise<void> {
    await active.close();
    drops.listen(undefined);
    const outbox = await next();
    if (outbox !== active.outbox) await active.outbox.close();
    if (closing) return outbox.close();
    // Another assembly knows nothing of what the one before has sent: what the platform has of it would look like a set-back.
    if (outbox === active.outbox) outbox.renewEpoch();
    active = begin(outbox, by);
  }

  function waitLonger(): void {
    waitMs = Math.min(2 * waitMs, mostWaits * retryMs);
  }

  async function leaveFile(): Promise<void> {
    log.error(
      { code: "OUTBOX_UNWRITABLE", path: config.outbox.path },
      "the outbox cannot be written: live readings go on from memory, what the file holds waits for its medium",
    );
    await change(async () => {
      const { outbox } = active;
      // First, because its last transaction may succeed: what that saves is not to be counted again.
      await outbox.close();
      const memory = openMemory();
      const remains = outbox.handover.remains();
      memory.handover.take({ ...remains, notes: new Map([...remains.notes, ...outbox.notes("")]) });
      moveHeld(outbox, memory);
      return memory;
    });
    file = undefined;
    triedMs = performance.now();
    if (triedMs - returnedMs < steadyWaits * waitMs) waitLonger();
    else waitMs = retryMs;
  }

  /** The file is not taken: what it holds by now goes on waiting there. */
  function leaveAgain(found: OpenedOutbox): Promise<void> {
    const pending = found.handover.pending();
    active.outbox.handover.leave(() => pending);
    waitLonger();
    return found.close();
  }

  async function returnToFile(): Promise<void> {
    const found = tryFile(false);
    if (!found) return;
    const { pendingBytes } = active.outbox.handover.pending();
    if (!found.handover.hasRoom(2 * pendingBytes + spareBytes)) return leaveAgain(found);
    const move = outboxMove(active.outbox, found);
    isMoving = true;
    active.outbox.handover.leave(found.handover.pending);
    // Most of it while readings are still taken, so that the gap is as short as what came meanwhile.
    let isMoved = await move.records();
    if (isMoved) {
      await change(async () => {
        isMoved = await move.rest();
        return isMoved ? found : active.outbox;
      });
    }
    if (!isMoved) return leaveAgain(found);
    file = found;
    returnedMs = performance.now();
    log.info(
      { code: "OUTBOX_RECOVERED", path: config.outbox.path, moved: move.moved() },
      "the outbox has its file again",
    );
  }

  async function look(): Promise<void> {
    const unwritable = unwritableFor(file !== undefined && !file.isWritable());
    // One attempt that failed, and nothing to write since, does not mean that it fails still.
    if (unwritable >= unwritableMs && !file?.handover.hasRoom(0)) return leaveFile();
    if (file !== undefined || performance.now() - triedMs < waitMs) return;
    triedMs = performance.now();
    return returnToFile();
  }

  let looking: Promise<void> | undefined;
  const timer = setInterval(() => {
    looking ??= look().finally(() => {
      looking = undefined;
      isMoving = false;
    });
  }, lookMs);

  async function apply(next: GatewayConfig): Promise<Difference> {
    const found = difference(config, next);
    const { group, node, outbox, history, ops, logLevel } = config;
    const known = Object.entries({ ops, logLevel }).filter(([, value]) => value !== undefined);
    const { ops: _, logLevel: __, ...rest } = next;
    const taken = { ...rest, ...Object.fromEntries(known), group, node, outbox, history };
    if (found.whole.length > 0) await change(() => active.outbox, taken);
    else if (!isSame({ ...found, restart: [] })) await active.setDevices(taken, found);
    // Only now: what failed amid it is a difference still, and the next attempt takes it up.
    config = taken;
    return found;
  }

  async function reload(next: GatewayConfig): Promise<Difference> {
    // One at a time with what a medium asks for.
    while (looking) await looking;
    const job = apply(next);
    looking = job.then(
      () => undefined,
      () => undefined,
    );
    return await job.finally(() => {
      looking = undefined;
    });
  }

  async function closeAll(): Promise<void> {
    clearInterval(timer);
    // First, so that nothing more comes to what is being moved.
    await active.close();
    await looking;
    await active.outbox.close();
    active.outbox.handover.giveUpHeld();
    await history?.close();
  }

  const close = (): Promise<void> => {
    closing ??= closeAll();
    return closing;
  };
  return {
    stats: () => ({
      outbox: {
        ...active.outbox.stats(),
        isWritable: active.outbox.isWritable(),
        isInMemory: active.outbox.identity.box === "",
      },
      ...active.stats(),
      history: history?.stats(),
    }),
    values: () => {
      const ofDevice = new Map(active.values().map((one) => [one.device, one]));
      return config.devices.flatMap(({ id }) => ofDevice.get(id) ?? []);
    },
    config: () => config,
    outbox: () => active.outbox,
    ask: (device, group) => active.ask(device, group),
    reload,
    reconnect: (why) => active.reconnect(why),
    isMoving: () => isMoving,
    close,
    [Symbol.asyncDispose]: close,
  };
}
