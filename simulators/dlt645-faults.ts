/** Faults on command of meters on a line: what can be asked for, how it is checked, and which of them strikes a request. */
import { checkFault, DELAY_MS, type FaultFields, integer } from "./fault-fields.ts";

/** Without `address` a fault holds for every meter, without `dataId` for every request. `times`: it strikes so often and is spent. */
type Scope = { readonly address?: string; readonly dataId?: string; readonly times?: number };

export type Dlt645FaultSpec =
  /** Requests are never answered. */
  | (Scope & { readonly kind: "silent" })
  /** The answer's sum is wrong by one. */
  | (Scope & { readonly kind: "wrongChecksum" })
  /** The meter refuses with this error byte. */
  | (Scope & { readonly kind: "errorAnswer"; readonly error: number })
  /** Another meter's answer to the same request comes first; with `instead` it comes alone. */
  | (Scope & { readonly kind: "otherMeter"; readonly instead?: boolean })
  /** The answer is to another identifier, as a late one is. */
  | (Scope & { readonly kind: "otherData" })
  /** So many wake-up bytes (FEH) in front of the answer. */
  | (Scope & { readonly kind: "preamble"; readonly bytes: number })
  /** The answer comes byte by byte, `gapMs` apart. */
  | (Scope & { readonly kind: "slowBytes"; readonly gapMs: number })
  /** The answer comes `delayMs` later; other requests are not held up. */
  | (Scope & { readonly kind: "late"; readonly delayMs: number })
  /** The request comes back in front of the answer, as adapters do that hear themselves. */
  | (Scope & { readonly kind: "echo" })
  /** Bytes that begin like frames come first. */
  | (Scope & { readonly kind: "noise" });

export type Dlt645FaultKind = Dlt645FaultSpec["kind"];
export type ActiveDlt645Fault = { readonly id: number; readonly spec: Dlt645FaultSpec };

const digits = (pattern: RegExp, expected: string) => ({
  test: (value: unknown) => typeof value === "string" && pattern.test(value),
  expected,
});
const SCOPE = {
  address: digits(/^\d{12}$/, "12 digits"),
  dataId: digits(/^[0-9A-F]{8}$/, "8 hexadecimal digits"),
  times: integer(1, 1_000_000),
};

const FIELDS: FaultFields<Dlt645FaultKind> = {
  silent: SCOPE,
  wrongChecksum: SCOPE,
  errorAnswer: { ...SCOPE, "error!": integer(0, 255) },
  otherMeter: { ...SCOPE, instead: { test: (value) => typeof value === "boolean", expected: "true or false" } },
  otherData: SCOPE,
  preamble: { ...SCOPE, "bytes!": integer(0, 4) },
  slowBytes: { ...SCOPE, "gapMs!": integer(1, 1000) },
  late: { ...SCOPE, "delayMs!": DELAY_MS },
  echo: SCOPE,
  noise: SCOPE,
};

/** Checks a fault from outside. Gives the fault, or every complaint at once. */
export function parseDlt645Fault(input: unknown): { spec: Dlt645FaultSpec } | { errors: string[] } {
  const { given, errors } = checkFault(FIELDS, input);
  return given === undefined || errors.length > 0 ? { errors } : { spec: { ...given } as Dlt645FaultSpec };
}

export type Dlt645FaultSet = {
  add(spec: Dlt645FaultSpec): ActiveDlt645Fault;
  /** Removes one fault, or all. Gives how many. */
  remove(id?: number): number;
  list(): readonly ActiveDlt645Fault[];
  /** The first active fault of a kind that holds for a request, counting it as having struck. */
  strike<K extends Dlt645FaultKind>(
    kind: K,
    address: string,
    dataId: string,
  ): Extract<Dlt645FaultSpec, { kind: K }> | undefined;
};

const MAX_ACTIVE_FAULTS = 1000;

/** Creates an empty set. Throws a RangeError from `add` beyond 1000 active faults. */
export function createDlt645Faults(): Dlt645FaultSet {
  let active: { fault: ActiveDlt645Fault; left: number }[] = [];
  let nextId = 1;
  return {
    add(spec) {
      if (active.length >= MAX_ACTIVE_FAULTS) throw new RangeError(`no more than ${MAX_ACTIVE_FAULTS} faults at once`);
      const fault = { id: nextId++, spec };
      active.push({ fault, left: spec.times ?? Number.POSITIVE_INFINITY });
      return fault;
    },
    remove(id) {
      const before = active.length;
      active = active.filter(({ fault }) => id !== undefined && fault.id !== id);
      return before - active.length;
    },
    list: () => active.map(({ fault }) => fault),
    strike<K extends Dlt645FaultKind>(kind: K, address: string, dataId: string) {
      const entry = active.find(
        ({ fault: { spec } }) =>
          spec.kind === kind && (spec.address ?? address) === address && (spec.dataId ?? dataId) === dataId,
      );
      if (entry === undefined) return undefined;
      entry.left -= 1;
      if (entry.left === 0) active = active.filter((other) => other !== entry);
      return entry.fault.spec as Extract<Dlt645FaultSpec, { kind: K }>;
    },
  };
}
