/** For tests of the engine: a world and a clock for each test, and what all of them do with an engine. */
import { indexRegistry } from "@jilian/store/registry.ts";
import type { RegistryFile } from "@jilian/store/registry-schema.ts";
import { versionOf } from "@jilian/store/registry-versions.ts";
import { afterEach, beforeEach } from "vitest";
import { type ManualClock, manualClock, openWorld, type World } from "../test-world.ts";
import type { Engine } from "./engine.ts";

export let world: World;
export let clock: ManualClock;

/** Gives each test of a file stores of its own and a clock that stands at a time. */
export function useWorld(startMs: number): void {
  beforeEach(async () => {
    world = await openWorld();
    clock = manualClock(startMs);
  });
  afterEach(() => world.end());
}

/** The same test goes on with empty stores. */
export async function startOver(): Promise<void> {
  await world.end();
  world = await openWorld();
}

/** Ticks until every figure is up to date. */
export async function settle(engine: Engine): Promise<void> {
  while (!(await engine.tick({ thorough: true })).caughtUp);
}

/** Applies a registry now, in force from a moment on. @returns its version */
export function applyRegistry(file: RegistryFile, fromMs = 0): string {
  const registry = indexRegistry(file);
  world.ledger.addRegistryVersion(versionOf(registry, { fromMs, appliedMs: clock.now() }));
  return registry.version;
}
