/** Faults of an OPC UA server on command: what can be asked for, and how it is checked. */
import { checkFault, DELAY_MS, type FaultFields, FLAG, integer, oneOf, POINT } from "./fault-fields.ts";
import { DEVICE_NAMES, type DeviceName } from "./register-layout.ts";

/** Without `device` a fault holds for the whole plant. */
type Scope = { readonly device?: DeviceName };

export type LastingOpcuaFaultSpec =
  /** Resets every connection, ends the server with all its sessions, and starts it on the same port after `downMs`. */
  | { readonly kind: "restart"; readonly downMs: number }
  /** Resets all connections, then accepts and resets new ones, or closes the port (`refuse`). */
  | { readonly kind: "cut"; readonly refuse?: boolean }
  /** Takes requests and never answers; connections stay open. */
  | { readonly kind: "silent" }
  /** One request at a time on a connection, each waiting `delayMs`; values are those of the moment of answering. */
  | { readonly kind: "slow"; readonly delayMs: number }
  /** Values and their source timestamps stand still; the truth goes on. */
  | (Scope & { readonly kind: "freeze" })
  /**
   * The subscriptions that exist stop, while connection and session live and reads are answered. With `keepAlive` they go on saying that
   * there is nothing new. New subscriptions work.
   */
  | { readonly kind: "deadSubscription"; readonly keepAlive?: boolean }
  /** Values get the StatusCode of this name: null under a bad one; standing still under UncertainLastUsableValue. */
  | (Scope & { readonly kind: "badStatus"; readonly code: string; readonly point?: string })
  /** Source timestamps of changes are this much later than plant time (negative: earlier). */
  | (Scope & { readonly kind: "wrongClock"; readonly offsetMs: number });

export type OpcuaFaultSpec =
  | LastingOpcuaFaultSpec
  /** Drops all sessions and their subscriptions, once; connections stay open. */
  | { readonly kind: "forgetSession" }
  /** Restarts a counter at 0, once, on every protocol that serves it. */
  | { readonly kind: "counterReset"; readonly point: string };
export type OpcuaFaultKind = OpcuaFaultSpec["kind"];

export type ActiveOpcuaFault = {
  readonly id: number;
  readonly spec: LastingOpcuaFaultSpec;
  /** Plant time at which it began. */
  readonly sinceMs: number;
};

/** What a `forgetSession` did. */
export type ForgottenSessions = { readonly sessions: number; readonly timeMs: number };

const DEVICE = oneOf(DEVICE_NAMES);
const DAY_MS = 86_400_000;

const FIELDS: FaultFields<OpcuaFaultKind> = {
  restart: { "downMs!": DELAY_MS },
  cut: { refuse: FLAG },
  silent: {},
  slow: { "delayMs!": DELAY_MS },
  freeze: { device: DEVICE },
  deadSubscription: { keepAlive: FLAG },
  badStatus: {
    device: DEVICE,
    point: POINT,
    "code!": {
      test: (value) => typeof value === "string" && /^(?:Bad|Uncertain)[A-Za-z]*$/.test(value),
      expected: "the name of a StatusCode that is bad or uncertain, such as BadSensorFailure",
    },
  },
  wrongClock: { device: DEVICE, "offsetMs!": integer(-366 * DAY_MS, 366 * DAY_MS) },
  forgetSession: {},
  counterReset: { "point!": POINT },
};

/** Checks a fault from outside. Gives the fault, or every complaint at once. */
export function parseOpcuaFaultSpec(input: unknown): { spec: OpcuaFaultSpec } | { errors: string[] } {
  const { given, errors } = checkFault(FIELDS, input);
  if (given === undefined) return { errors };
  if (given.kind === "badStatus" && given.device !== undefined && given.point !== undefined) {
    errors.push("device: a point has its own; leave one of the two out");
  }
  return errors.length > 0 ? { errors } : { spec: { ...given } as OpcuaFaultSpec };
}

type KindOf<K extends LastingOpcuaFaultSpec["kind"]> = Extract<LastingOpcuaFaultSpec, { kind: K }>;

export type OpcuaFaultSet = {
  add(spec: LastingOpcuaFaultSpec, sinceMs: number): ActiveOpcuaFault;
  /** Removes one fault, or all. Gives those removed. */
  remove(id?: number): readonly ActiveOpcuaFault[];
  list(): readonly ActiveOpcuaFault[];
  /** The first active fault of a kind that holds for the device, or for anything. */
  find<K extends LastingOpcuaFaultSpec["kind"]>(kind: K, device?: DeviceName, point?: string): KindOf<K> | undefined;
};

const MAX_ACTIVE_FAULTS = 1000;

/** Creates an empty set. Throws a RangeError from `add` beyond 1000 active faults. */
export function createOpcuaFaultSet(): OpcuaFaultSet {
  let active: ActiveOpcuaFault[] = [];
  let nextId = 1;
  return {
    add(spec, sinceMs) {
      if (active.length >= MAX_ACTIVE_FAULTS) throw new RangeError(`no more than ${MAX_ACTIVE_FAULTS} faults at once`);
      const fault = { id: nextId++, spec, sinceMs };
      active.push(fault);
      return fault;
    },
    remove(id) {
      const removed = active.filter((fault) => id === undefined || fault.id === id);
      active = active.filter((fault) => !removed.includes(fault));
      return removed;
    },
    list: () => [...active],
    find<K extends LastingOpcuaFaultSpec["kind"]>(kind: K, device?: DeviceName, point?: string) {
      const holds = ({ spec }: ActiveOpcuaFault): boolean => {
        const ofDevice = "device" in spec ? spec.device : undefined;
        const ofPoint = "point" in spec ? spec.point : undefined;
        return spec.kind === kind && (ofDevice ?? device) === device && (ofPoint ?? point) === point;
      };
      return active.find(holds)?.spec as KindOf<K> | undefined;
    },
  };
}
