import { codeOf, JilianError, messageOf } from "@jilian/domain/errors.ts";
import { type Assembly, assemble, type GatewayDeps } from "./assembly.ts";
import type { DeviceStats } from "./collect.ts";
import type { GatewayConfig } from "./config.ts";
import type { EdgeNode } from "./edge-node.ts";
import { atMostEvery } from "./log-limit.ts";
import type { OutboxStats } from "./model.ts";
import { type OpenedOutbox, openOutbox } from "./outbox.ts";
import { moveOutbox } from "./outbox-move.ts";

export type Gateway = {
  readonly stats: () => {
    /** `isInMemory`: the medium fails, and readings wait in memory until it is back. */
    outbox: OutboxStats & { isWritable: boolean; isInMemory: boolean };
    edge: ReturnType<EdgeNode["stats"]>;
    devices: DeviceStats[];
  };
  /** The outbox in use now: another one after a medium failed or came back. Not to be kept. */
  readonly outbox: () => OpenedOutbox;
  /** Stops collecting, takes leave of the broker, closes the outbox; within two seconds. What is pending stays on disk. */
  readonly close: () => Promise<void>;
  readonly [Symbol.asyncDispose]: () => Promise<void>;
};

export type GatewayOptions = GatewayDeps & {
  /** How often a medium that fails is tried again, machine time; 10 s if absent. */
  retryMs?: number;
  /** How long a file may be unwritable before readings go to memory instead of being dropped, machine time; 3 s if absent. */
  unwritableMs?: number;
};

/** What waits in memory at most while the medium fails: a box has little. */
const memoryBytes = 16 * 1024 * 1024;
const lookMs = 250;

/** Opens the outboxes of one gateway: what they drop is told to the assembly that runs. */
function outboxes(config: GatewayConfig, { log, clock }: GatewayDeps, running: () => Assembly | undefined) {
  const { group, node } = config;
  const { path, maxBytes, maxAgeMs, fsyncMs, durability } = config.outbox;
  const tell = atMostEvery(60_000);
  const onDropped: Assembly["onDropped"] = (device, samples, reason) => running()?.onDropped(device, samples, reason);
  const common = { maxAgeMs, fsyncMs, durability, group, node, clock, log, onDropped };

  function openFile(): OpenedOutbox {
    return openOutbox({ ...common, path, maxBytes });
  }

  function openMemory(): OpenedOutbox {
    return openOutbox({ ...common, path: undefined, maxBytes: Math.min(maxBytes, memoryBytes), durability: "process" });
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
      return openFile();
    } catch (thrown) {
      if (refuses && codeOf(thrown) !== "OUTBOX_UNOPENABLE") throw thrown;
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
export function startGateway(config: GatewayConfig, options: GatewayOptions): Gateway {
  const { log, retryMs = 10_000, unwritableMs = 3000 } = options;
  const { tryFile, openMemory } = outboxes(config, options, () => running);
  let running: Assembly | undefined;
  let file = tryFile(true);
  let current = assemble(config, file ?? openMemory(), options);
  running = current;
  let triedMs = performance.now();
  let closing: Promise<void> | undefined;
  const unwritableFor = duration();

  /** Ends what runs and goes on with another outbox. */
  async function change(next: () => OpenedOutbox | Promise<OpenedOutbox>): Promise<void> {
    await current.close();
    running = undefined;
    const outbox = await next();
    await current.outbox.close();
    if (closing) return outbox.close();
    current = assemble(config, outbox, options);
    running = current;
  }

  async function leaveFile(): Promise<void> {
    log.error(
      { code: "OUTBOX_UNWRITABLE", path: config.outbox.path },
      "the outbox cannot be written: live readings go on from memory, what the file holds waits for its medium",
    );
    await change(async () => {
      // First, because its last transaction may succeed: what that saves is not to be counted again.
      await current.outbox.close();
      const memory = openMemory();
      const remains = current.outbox.handover.remains();
      memory.handover.take({ ...remains, notes: new Map([...remains.notes, ...current.outbox.notes("")]) });
      return memory;
    });
    file = undefined;
    triedMs = performance.now();
  }

  async function returnToFile(): Promise<void> {
    const found = tryFile(false);
    if (!found) return;
    const { pendingBytes } = current.outbox.stats();
    if (!found.handover.hasRoom(2 * pendingBytes + 1024 * 1024)) return found.close();
    let moved = 0;
    await change(() => {
      moved = moveOutbox(current.outbox, found);
      return found;
    });
    file = found;
    log.info({ code: "OUTBOX_RECOVERED", path: config.outbox.path, moved }, "the outbox has its file again");
  }

  async function look(): Promise<void> {
    const unwritable = unwritableFor(file !== undefined && !file.isWritable());
    if (unwritable >= unwritableMs) return leaveFile();
    if (file !== undefined || performance.now() - triedMs < retryMs) return;
    triedMs = performance.now();
    return returnToFile();
  }

  let looking: Promise<void> | undefined;
  const timer = setInterval(() => {
    looking ??= look().finally(() => {
      looking = undefined;
    });
  }, lookMs);

  async function closeAll(): Promise<void> {
    clearInterval(timer);
    await looking;
    await current.close();
    await current.outbox.close();
  }

  const close = (): Promise<void> => {
    closing ??= closeAll();
    return closing;
  };
  return {
    stats: () => ({
      outbox: {
        ...current.outbox.stats(),
        isWritable: current.outbox.isWritable(),
        isInMemory: current.outbox.identity.box === "",
      },
      ...current.stats(),
    }),
    outbox: () => current.outbox,
    close,
    [Symbol.asyncDispose]: close,
  };
}
