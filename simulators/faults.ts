/** Faults on command: what can be asked for, how it is checked, and which of them strikes a request. */
import { checkFault, DELAY_MS, type FaultFields, FLAG, integer, oneOf, POINT } from "./fault-fields.ts";
import type { Read } from "./image.ts";
import type { Table } from "./register-layout.ts";

/** Without `unitId` a fault holds for the whole server. `times`: it strikes that many requests and is then spent. */
type Scope = { readonly unitId?: number };
type Counted = Scope & { readonly times?: number };

export type FaultSpec =
  /** Resets all connections, then accepts and resets new ones, or closes the port (`refuse`). By unit: its requests. */
  | (Scope & { readonly kind: "cut"; readonly refuse?: boolean })
  /** Takes requests and never answers. */
  | (Counted & { readonly kind: "silent" })
  /** Answers stay at the values of the moment it began; the truth goes on. */
  | (Scope & { readonly kind: "freeze" })
  /** One answer at a time, each taking `delayMs`; values are those of the moment of answering. */
  | (Scope & { readonly kind: "slow"; readonly delayMs: number })
  /** Exception `code` for every request, or only for reads that touch the given addresses. */
  | (Counted & {
      readonly kind: "exception";
      readonly code: number;
      readonly table?: Table;
      readonly address?: number;
      readonly quantity?: number;
    })
  /** Answers with the values of the moment of the request, `delayMs` later. */
  | (Counted & { readonly kind: "lateReply"; readonly delayMs: number })
  /** Answers under the transaction id of the request plus one. */
  | (Counted & { readonly kind: "wrongTransactionId"; readonly delayMs?: number })
  /** Sends the first `bytes` of an answer (default: half), then closes the connection. */
  | (Counted & { readonly kind: "truncated"; readonly bytes?: number })
  /** Restarts a counter's register at 0, once. */
  | { readonly kind: "counterReset"; readonly point: string };

export type FaultKind = FaultSpec["kind"];
export type LastingFaultSpec = Exclude<FaultSpec, { kind: "counterReset" }>;
export type ActiveFault = { readonly id: number; readonly spec: LastingFaultSpec; readonly sinceMs: number };

const UNIT_ID = integer(0, 255);
const TIMES = integer(1, 1_000_000);

const FIELDS: FaultFields<FaultKind> = {
  cut: { unitId: UNIT_ID, refuse: FLAG },
  silent: { unitId: UNIT_ID, times: TIMES },
  freeze: { unitId: UNIT_ID },
  slow: { unitId: UNIT_ID, "delayMs!": DELAY_MS },
  exception: {
    unitId: UNIT_ID,
    times: TIMES,
    "code!": integer(1, 255),
    table: oneOf(["holding", "input", "coil", "discrete"]),
    address: integer(0, 65_535),
    quantity: integer(1, 65_536),
  },
  lateReply: { unitId: UNIT_ID, times: TIMES, "delayMs!": DELAY_MS },
  wrongTransactionId: { unitId: UNIT_ID, times: TIMES, delayMs: DELAY_MS },
  truncated: { unitId: UNIT_ID, times: TIMES, bytes: integer(1, 259) },
  counterReset: { "point!": POINT },
};

/** Checks a fault from outside. Gives the fault, or every complaint at once. */
export function parseFaultSpec(input: unknown): { spec: FaultSpec } | { errors: string[] } {
  const { given, errors } = checkFault(FIELDS, input);
  if (given === undefined) return { errors };
  const { kind } = given;
  if (
    kind === "exception" &&
    (given.table !== undefined || given.quantity !== undefined) &&
    given.address === undefined
  ) {
    errors.push("address: needed beside table or quantity");
  }
  if (kind === "cut" && given.refuse === true && given.unitId !== undefined) {
    errors.push("refuse: a port is closed for all units; leave out unitId");
  }
  return errors.length > 0 ? { errors } : { spec: { ...given } as FaultSpec };
}

export type FaultSet = {
  add(spec: LastingFaultSpec, sinceMs: number): ActiveFault;
  /** Removes one fault, or all. Gives those removed. */
  remove(id?: number): readonly ActiveFault[];
  list(): readonly ActiveFault[];
  /** The first active fault of a kind that holds for the unit (and read), counting it as having struck. */
  strike<K extends LastingFaultSpec["kind"]>(
    kind: K,
    unitId: number,
    read?: Read,
  ): Extract<LastingFaultSpec, { kind: K }> | undefined;
  /** Whether a fault of this kind holds for the whole server, or for the unit. */
  holds(kind: LastingFaultSpec["kind"], unitId?: number): boolean;
};

const MAX_ACTIVE_FAULTS = 1000;

function touches(spec: LastingFaultSpec, read: Read | undefined): boolean {
  if (spec.kind !== "exception" || spec.address === undefined) return true;
  if (read === undefined || (spec.table !== undefined && spec.table !== read.table)) return false;
  return read.address < spec.address + (spec.quantity ?? 1) && spec.address < read.address + read.quantity;
}

/** Creates an empty set. Throws a RangeError from `add` beyond 1000 active faults. */
export function createFaultSet(): FaultSet {
  let active: { fault: ActiveFault; left: number }[] = [];
  let nextId = 1;

  const inScope = ({ spec }: ActiveFault, unitId?: number) => spec.unitId === undefined || spec.unitId === unitId;

  return {
    add(spec, sinceMs) {
      if (active.length >= MAX_ACTIVE_FAULTS) throw new RangeError(`no more than ${MAX_ACTIVE_FAULTS} faults at once`);
      const fault = { id: nextId++, spec, sinceMs };
      const times = "times" in spec ? spec.times : undefined;
      active.push({ fault, left: times ?? Number.POSITIVE_INFINITY });
      return fault;
    },
    remove(id) {
      const removed = active.filter(({ fault }) => id === undefined || fault.id === id);
      active = active.filter((entry) => !removed.includes(entry));
      return removed.map(({ fault }) => fault);
    },
    list: () => active.map(({ fault }) => fault),
    strike<K extends LastingFaultSpec["kind"]>(kind: K, unitId: number, read?: Read) {
      if (active.length === 0) return undefined;
      const entry = active.find(
        ({ fault }) => fault.spec.kind === kind && inScope(fault, unitId) && touches(fault.spec, read),
      );
      if (entry === undefined) return undefined;
      entry.left -= 1;
      if (entry.left === 0) active = active.filter((other) => other !== entry);
      return entry.fault.spec as Extract<LastingFaultSpec, { kind: K }>;
    },
    holds: (kind, unitId) => active.some(({ fault }) => fault.spec.kind === kind && inScope(fault, unitId)),
  };
}
