import { setTimeout as pause } from "node:timers/promises";
import type { Allowance } from "./compare.ts";
import type { World, WorldGateway } from "./world.ts";

/** Draws below n, from the plan's seed. */
export type Draw = (n: number) => number;

/** What a fault needs that a machine may lack. */
export type Need = "shim" | "prlimit" | "influx";

/** What came of an injection: what the README lets it cost, and what else did not hold. */
export type Outcome = {
  /** By gateway: answers of these times may be missing. */
  readonly allowances?: ReadonlyMap<string, readonly Allowance[]>;
  /** The gateway may have dropped as many samples as it counts and tells. */
  readonly countedDrops?: boolean;
  /** Resolves when nothing waits any more where the product does not even try to send it: patience begins then. Bounded. */
  readonly returned?: () => Promise<void>;
  /** Why the fault cannot be shown to have acted, in words; none when it can. Asked once all has drained: a row that met nothing proves nothing. */
  readonly unfelt: () => readonly string[] | Promise<readonly string[]>;
  /** Guarantees beside "nothing lost, nothing twice" that were broken, in words; asked once all has drained. */
  readonly broken?: () => readonly string[] | Promise<readonly string[]>;
};

/** What the platform says of a gateway that is not who it was, or whose records were set aside: a false alarm after any other fault. */
export const identityFindings: readonly string[] = [
  "GATEWAY_SET_BACK",
  "GATEWAY_RESTORED",
  "GATEWAY_REPLACED",
  "GATEWAY_CLONED",
  "OUTBOX_SET_ASIDE",
];

/** In the short form faults last half as long, and what lasts a minute lasts some seconds. */
export type Plan = { readonly isShort: boolean };

/** One row of the matrix. */
export type Fault = {
  readonly name: string;
  readonly needs?: readonly Need[];
  /** True when it is part of the short form. */
  readonly short: boolean;
  /** True where the gateways read one of their two plants over OPC UA, in a cluster of its own; else all over Modbus. */
  readonly opcua?: boolean;
  /** The store that it is injected on; both are not needed to prove one fault. */
  readonly store: "duckdb" | "influx";
  /** Findings of which one must come of it; what `identityFindings` names may come of no other fault. */
  readonly findings?: readonly string[];
  /** How long everything may take to be stored after it, where that is longer than `recoveryBoundMs` by right. */
  readonly recoveryBoundMs?: number;
  /** What is lost by right, as the table says it; absent where nothing may be. */
  readonly limit?: string;
  /** Injects it and lifts it; from when this resolves the product recovers. What it throws is a fault of the harness. */
  readonly inject: (world: World, draw: Draw, plan: Plan) => Promise<Outcome>;
};

/** How long it may take after a fault until everything read by then is stored. Some seconds do; a busy machine takes ten times as long. */
export const recoveryBoundMs = 60_000;

/** Evidence that was taken while the fault was on: what did not hold, by what that means. */
export function unless(evidence: Readonly<Record<string, boolean>>): Outcome["unfelt"] {
  return () => Object.entries(evidence).flatMap(([text, holds]) => (holds ? [] : [text]));
}

/** Waits for a condition of the fault itself, bounded; what takes errors for "not yet". @returns whether it came to hold */
export async function came(atMostMs: number, holds: () => Promise<boolean> | boolean): Promise<boolean> {
  for (const endMs = Date.now() + atMostMs; Date.now() < endMs; await pause(50)) {
    if (await Promise.resolve(holds()).catch(() => false)) return true;
  }
  return false;
}

/** The records that gateways have not been confirmed, as they say themselves. */
export async function pendingOf({ metric }: World, gateways: readonly WorldGateway[]): Promise<number> {
  const counts = await Promise.all(gateways.map(({ id }) => metric(id, "jilian_gateway_outbox_pending_records")));
  return counts.reduce((sum, n) => sum + n, 0);
}

export function between(draw: Draw, min: number, max: number): number {
  return min + draw(max - min + 1);
}

/** How long a fault is on: drawn, ms, and in the short form half of that. */
export async function lasting(draw: Draw, { isShort }: Plan, minMs: number, maxMs: number): Promise<void> {
  await pause(between(draw, minMs, maxMs) / (isShort ? 2 : 1));
}

export function anyGateway({ gateways }: World, draw: Draw): WorldGateway {
  return gateways[draw(gateways.length)] as WorldGateway;
}
