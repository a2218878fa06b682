/** What each fault of an OPC UA server does when it begins and when it ends. */
import { setTimeout as sleep } from "node:timers/promises";
import { statusCodeOf } from "./opcua-address-space.ts";
import {
  type ActiveOpcuaFault,
  type ForgottenSessions,
  type LastingOpcuaFaultSpec,
  type OpcuaFaultSet,
  type OpcuaFaultSpec,
  parseOpcuaFaultSpec,
} from "./opcua-faults.ts";
import type { OpcuaInstances } from "./opcua-instance.ts";
import type { OpcuaMap } from "./opcua-map.ts";
import type { OpcuaMemory } from "./opcua-memory.ts";
import type { SocketWatch } from "./opcua-sockets.ts";
import type { OpcuaWire } from "./opcua-wire.ts";
import type { CounterReset, Plant } from "./plant.ts";

export type FaultActionOptions = {
  readonly plant: Plant;
  readonly map: OpcuaMap;
  readonly faults: OpcuaFaultSet;
  readonly memory: OpcuaMemory;
  readonly wire: OpcuaWire;
  readonly sockets: SocketWatch;
  readonly instances: OpcuaInstances;
};

export type OpcuaFaultActions = {
  start(spec: OpcuaFaultSpec): Promise<ActiveOpcuaFault | CounterReset | ForgottenSessions>;
  clear(id?: number): Promise<number>;
  /** Ends all faults without opening what they closed. */
  close(): Promise<void>;
};

/** A server on its way up: started early when hurried, not at all when dropped. */
type Coming = { hurry(): void; readonly up: Promise<void> };

const refuses = ({ spec }: ActiveOpcuaFault): boolean => spec.kind === "cut" && spec.refuse === true;
const cuts = ({ spec }: ActiveOpcuaFault): boolean => spec.kind === "cut";

/** Creates the actions of one server. They must not overlap: the caller runs one after the other. */
export function createOpcuaFaultActions(options: FaultActionOptions): OpcuaFaultActions {
  const { plant, map, faults, memory, wire, sockets, instances } = options;
  const goOn = new Map<number, () => void>();
  let coming: Coming | undefined;

  function check(spec: OpcuaFaultSpec): void {
    if (spec.kind === "badStatus") {
      statusCodeOf(spec.code);
      if (spec.point !== undefined && !map.points.some(({ name }) => name === spec.point)) {
        throw new RangeError(`${spec.point} is no variable of ${map.profile}`);
      }
    }
    const needsServer = ["restart", "cut", "deadSubscription", "forgetSession"].includes(spec.kind);
    if (needsServer && coming !== undefined) throw new RangeError("the server is restarting: clear that fault first");
    if (spec.kind === "restart" && faults.list().some(refuses)) {
      throw new RangeError("the port is closed by a cut: clear that fault first");
    }
  }

  async function restart(downMs: number, id: number): Promise<void> {
    sockets.reset();
    // Scans go on and find nobody to tell until the next server listens.
    memory.listen(() => undefined);
    await instances.stop();
    goOn.clear();
    const early = new AbortController();
    const due = sleep(downMs, undefined, { signal: early.signal }).catch(() => undefined);
    const up = instances
      .startAgain(memory, due)
      .finally(() => {
        coming = undefined;
      })
      .then(() => void faults.remove(id));
    // Another program may have taken the port. The fault then stays, and clearing it tries again.
    up.catch((error: Error) => process.emitWarning(`the OPC UA server did not start again: ${error.message}`));
    coming = { hurry: () => early.abort(), up };
  }

  async function begin(spec: LastingOpcuaFaultSpec, id: number): Promise<void> {
    if (spec.kind === "restart") await restart(spec.downMs, id);
    else if (spec.kind === "deadSubscription") goOn.set(id, wire.stopSubscriptions(spec.keepAlive ?? false));
    else if (spec.kind === "cut" && spec.refuse === true) {
      sockets.reset();
      await instances.suspend();
    } else if (spec.kind === "cut") sockets.setCut(true);
  }

  return {
    async start(input) {
      const parsed = parseOpcuaFaultSpec(input);
      if ("errors" in parsed) throw new TypeError(parsed.errors.join("; "));
      const { spec } = parsed;
      check(spec);
      // The values up to now are those without the fault.
      memory.scan();
      if (spec.kind === "counterReset") {
        const reset = plant.resetCounter(spec.point);
        memory.scan();
        return reset;
      }
      if (spec.kind === "forgetSession") return { sessions: wire.forgetSessions(), timeMs: plant.timeMs };
      const fault = faults.add(spec, plant.timeMs);
      await begin(spec, fault.id);
      memory.scan();
      return fault;
    },
    async clear(id) {
      const removed = faults.remove(id);
      const left = faults.list();
      sockets.setCut(left.some((fault) => cuts(fault) && !refuses(fault)));
      if (removed.some(refuses) && !left.some(refuses)) await instances.resume();
      for (const fault of removed) {
        goOn.get(fault.id)?.();
        goOn.delete(fault.id);
      }
      if (removed.some(({ spec }) => spec.kind === "restart")) {
        coming?.hurry();
        await (coming?.up ?? (instances.running ? undefined : instances.startAgain(memory, Promise.resolve())));
      }
      memory.scan();
      return removed.length;
    },
    async close() {
      faults.remove();
      coming?.hurry();
      await coming?.up.catch(() => undefined);
    },
  };
}
