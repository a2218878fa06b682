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
  /** Guarantees beside "nothing lost, nothing twice" that were broken, in words; asked once all has drained. */
  readonly broken?: () => readonly string[];
};

/** In the short form what lasts a minute lasts some seconds. */
export type Plan = { readonly isShort: boolean };

/** One row of the matrix. */
export type Fault = {
  readonly name: string;
  readonly needs?: readonly Need[];
  /** True when it is part of the short form. */
  readonly short: boolean;
  /** The store that it is injected on; both are not needed to prove one fault. */
  readonly store: "duckdb" | "influx";
  /** What is lost by right, as the table says it; absent where nothing may be. */
  readonly limit?: string;
  /** Injects it and lifts it; from when this resolves the product recovers. What it throws is a fault of the harness. */
  readonly inject: (world: World, draw: Draw, plan: Plan) => Promise<Outcome | undefined>;
};

export function between(draw: Draw, min: number, max: number): number {
  return min + draw(max - min + 1);
}

export function anyGateway({ gateways }: World, draw: Draw): WorldGateway {
  return gateways[draw(gateways.length)] as WorldGateway;
}
