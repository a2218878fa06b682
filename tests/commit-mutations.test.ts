import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { mutated, mutationOf } from "./faults/mutations.ts";
import type { Op, Plan } from "./test-commit-run.ts";

/**
 * The mutations of the fault matrix (faults/mutations.ts) that one process is enough for: the same edits of the product's source, made as
 * its modules are loaded into the commit protocol's model, or into the receiver. Each has a plan that is green without it.
 */

const root = resolve(fileURLToPath(import.meta.url), "../..");
const mocked: string[] = [];
const folder = mkdtempSync(join(tmpdir(), "commit-mutations-"));

/** From here on, modules that are imported anew are broken so. Their own imports are the real ones. */
function breakWith(name: string): void {
  const files = Map.groupBy(mutationOf(name).edits, ({ file }) => file);
  const broken = join(folder, name.replaceAll(" ", "-"));
  mkdirSync(broken);
  for (const [file, edits] of files) {
    const path = join(root, file);
    const specifier = (from: string) =>
      fileURLToPath(import.meta.resolve(from, new URL(`../${file}`, import.meta.url)));
    const source = mutated(readFileSync(path, "utf8"), edits).replaceAll(
      /(?<=\bfrom )"([.@][^"]+)"/g,
      (_, from: string) => JSON.stringify(specifier(from)),
    );
    const copy = join(broken, basename(file));
    writeFileSync(copy, source);
    vi.doMock(path, () => import(copy));
    mocked.push(path);
  }
}

beforeEach(() => {
  vi.resetModules();
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval", "performance", "Date"] });
});
afterEach(() => {
  vi.useRealTimers();
  for (const path of mocked.splice(0)) vi.doUnmock(path);
});
afterAll(() => rmSync(folder, { recursive: true }));

const write: Op = { op: "write", samples: 2, poison: null };
const pass = (ms: number): Op => ({ op: "pass", ms });
const honest = { up: ["now"], down: ["now"], moods: ["well"] } as const;

const plans: Readonly<Record<string, Plan>> = {
  // The platform is killed after its notice, while the store fails.
  "commit before store": {
    ...honest,
    moods: ["fails"],
    ops: [write, pass(300), { op: "kill platform" }, pass(300)],
  },
  // The second of three is lost on its way, and the notice for the third names it too.
  "cumulative watermark": { ...honest, up: ["now", "lost", "now"], ops: [write, write, write, pass(300)] },
  // Lost on its way, and nowhere else.
  "publish without write": { ...honest, up: ["lost"], ops: [write, pass(300)] },
  "freed on publish": { ...honest, up: ["lost"], ops: [write, pass(300)] },
  // The process after the kill gives the numbers of stored records to others.
  "reused offsets": { ...honest, ops: [write, write, pass(300), { op: "kill gateway" }, write, write, pass(300)] },
};

async function runPlan(plan: Plan): Promise<string> {
  const { runModel } = await import("./test-commit-run.ts");
  return await runModel(plan).then(
    () => "nothing lost",
    (error: Error) => error.message,
  );
}

/** A node with its births in a receiver of which the queue is nearly full, some data while it is, and some when it has been emptied. */
async function birthsAskedFor(): Promise<number> {
  const { bear, data, host, reorderMs, start } = await import("@jilian/ingest/test-node.ts");
  const { openLedger } = await import("@jilian/store/sqlite/ledger.ts");
  const { silent } = await import("@jilian/ingest/test-world.ts");
  host.ledger = openLedger({ path: join(mkdtempSync(join(folder, "receiver-")), "ledger.sqlite"), log: silent });
  start({ bound: 1000 });
  let offset = -1;
  const send = (times: number) => {
    for (let i = 0; i < times; i += 1) {
      offset += 1;
      data([{ alias: 1 }], { seq: (2 + offset) % 256, offset });
    }
  };
  bear();
  // More than the queue takes: what is shed is followed all the same.
  send(1050);
  host.queue.take(1e9);
  send(5);
  await vi.advanceTimersByTimeAsync(3 * reorderMs);
  host.receiver.close();
  host.ledger.close();
  return host.rebirths.length;
}

describe("the model would notice", () => {
  test.each(Object.entries(plans))("%s", async (name, plan) => {
    expect(await runPlan(plan)).toBe("nothing lost");
    vi.resetModules();
    breakWith(name);
    expect(await runPlan(plan)).toMatch(/^lost: /);
  });
});

test("the receiver's test would notice: seq after the queue", async () => {
  expect(await birthsAskedFor()).toBe(0);
  vi.resetModules();
  breakWith("seq after the queue");
  expect(await birthsAskedFor()).toBeGreaterThan(0);
});
