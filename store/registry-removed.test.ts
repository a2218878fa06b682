import { expect, it } from "vitest";
import { indexRegistry } from "./registry.ts";
import { removedGateways } from "./registry-removed.ts";
import type { RegistryFile } from "./registry-schema.ts";
import { type RegistryVersions, registryVersions, type StoredRegistryVersion, versionOf } from "./registry-versions.ts";

function fileWith(...ids: string[]): RegistryFile {
  const gateways = ids.map((id) => ({
    id,
    devices: [{ id: "m", name: "表", kind: "meter" as const, meteringPoint: "feeder" as const }],
  }));
  return {
    cluster: { id: "c", name: "群" },
    pilot: { id: "p", name: "试点", demo: true },
    enterprises: [
      { id: "e", name: "甲", creditCode: "91350100M000100Y43", factories: [{ id: "f", name: "厂", gateways }] },
    ],
  };
}

/** A ledger's versions that grow, a clock, and who of `f/a` to `f/d` is told removed. */
function world() {
  const stored: StoredRegistryVersion[] = [];
  const failures: unknown[] = [];
  let nowMs = 0;
  let read: () => RegistryVersions | undefined = () => (stored.length === 0 ? undefined : registryVersions(stored));
  const isRemoved = removedGateways(
    () => read(),
    { now: () => nowMs },
    { failed: (thrown) => failures.push(thrown), well: () => {} },
    0,
  );
  return {
    failures,
    apply: (appliedMs: number, fromMs: number, ...ids: string[]) => {
      nowMs = appliedMs;
      const applied = { appliedMs, fromMs };
      stored.push({ number: stored.length + 1, ...versionOf(indexRegistry(fileWith(...ids)), applied) });
    },
    fail: (error: Error | undefined) => {
      read = () => {
        if (error) throw error;
        return registryVersions(stored);
      };
    },
    at: (timeMs: number) => {
      nowMs = timeMs;
      return ["a", "b", "c", "d"].filter((id) => isRemoved(`f/${id}`)).join("");
    },
  };
}

it("tells who was registered and is not any more; never who was not registered, and nobody without a registry", () => {
  const { apply, at } = world();
  expect(at(50)).toBe("");
  apply(100, 0, "a", "b");
  expect(at(100)).toBe("");
  apply(200, 200, "a");
  expect(at(200)).toBe("b");
  apply(300, 300, "a", "b", "c");
  expect(at(300), "put back").toBe("");
  apply(400, 0, "a");
  expect(at(400), "corrected since ever: they were registered all the same").toBe("bc");
});

it("follows dates: a removal that is planned holds from its day on, and what was planned and taken back never was", () => {
  const { apply, at } = world();
  apply(100, 0, "a", "b");
  apply(200, 1000, "a");
  expect([at(999), at(1000)]).toEqual(["", "b"]);
  const other = world();
  other.apply(100, 0, "a");
  other.apply(200, 1000, "a", "b");
  expect(other.at(200)).toBe("");
  other.apply(300, 300, "a");
  expect([other.at(300), other.at(2000)]).toEqual(["", ""]);
});

it("keeps what it knew while the ledger cannot be read, and tells that", () => {
  const { apply, at, fail, failures } = world();
  apply(100, 0, "a", "b");
  apply(200, 200, "a");
  expect(at(200)).toBe("b");
  fail(new Error("locked"));
  expect(at(201)).toBe("b");
  expect(failures).toHaveLength(4);
  fail(undefined);
  apply(300, 300, "b");
  expect(at(300)).toBe("a");
});

it("reads many versions of a large registry without building an index of each: the broker's thread waits for it", () => {
  const many = (round: number) => fileWith(...Array.from({ length: 400 }, (_, i) => `g${i + round}`));
  const stored = Array.from({ length: 60 }, (_, i) => {
    const applied = { fromMs: 100 * i, appliedMs: 100 * i };
    return { number: i + 1, ...versionOf(indexRegistry(many(i)), applied) };
  });
  const clock = { now: () => 100_000 };
  /** How long each of two ways takes at the first time, the least of some: the machine has other work. */
  const tookMs = { looked: Number.POSITIVE_INFINITY, indexed: Number.POSITIVE_INFINITY };
  const least = (way: keyof typeof tookMs, work: () => void) => {
    const fromMs = performance.now();
    work();
    tookMs[way] = Math.min(tookMs[way], performance.now() - fromMs);
  };
  for (let round = 0; round < 8; round += 1) {
    const versions = registryVersions(stored);
    versions.at(clock.now());
    const isRemoved = removedGateways(() => versions, clock, { failed: () => {}, well: () => {} }, 0);
    least("looked", () => expect(["f/g0", "f/g58", "f/g59"].map(isRemoved)).toEqual([true, true, false]));
    least("indexed", () =>
      versions.visit(
        () => true,
        () => {},
      ),
    );
  }
  expect(tookMs.looked).toBeLessThan(tookMs.indexed / 2);
});
