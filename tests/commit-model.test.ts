import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { type Op, runModel } from "./test-commit-run.ts";
import type { Fate, StoreMood } from "./test-commit-world.ts";

/**
 * The commit protocol from end to end in one process: the real outbox on files, sender and notice reader of the gateway; the real commit
 * book, queue and writer of the platform. Between them a bus that loses, doubles and delays, a store that fails, and kills on both sides
 * at any step. The model: what was written is stored, or pending, or set aside, at any moment; and once nothing is disturbed any more
 * everything is stored, once, but for what no store takes, which is set aside alone.
 */

/** What a run of the model comes to. */
type Seen = Awaited<ReturnType<typeof runModel>>;

const steps: { weight: number; arbitrary: fc.Arbitrary<Op> }[] = [
  {
    weight: 12,
    arbitrary: fc.record({
      op: fc.constant("write" as const),
      samples: fc.integer({ min: 1, max: 5 }),
      poison: fc.option(fc.nat(4), { freq: 12, nil: null }),
    }),
  },
  { weight: 8, arbitrary: fc.record({ op: fc.constant("pass" as const), ms: fc.constantFrom(10, 50, 300, 2500) }) },
  {
    weight: 4,
    arbitrary: fc.record({
      op: fc.constantFrom("kill gateway" as const, "kill platform", "cut", "connect", "connect", "image", "restore"),
    }),
  },
];
const op = fc.oneof(...steps);
const revert = fc.record({ op: fc.constant("revert" as const), records: fc.integer({ min: 1, max: 4 }) });
/** Most reverts are followed by a connection: what is written then goes out under numbers that were used before. */
const opOrRevert = fc.oneof(
  ...steps,
  { weight: 3, arbitrary: revert },
  { weight: 2, arbitrary: fc.constant<Op>({ op: "connect" }) },
);
const fates = fc.array(fc.constantFrom<Fate>("now", "now", "now", "now", "lost", "twice", "late", "very late"), {
  minLength: 1,
  maxLength: 12,
});
const moods = fc.array(fc.constantFrom<StoreMood>("well", "well", "well", "fails", "loses the answer", "is slow"), {
  minLength: 1,
  maxLength: 8,
});

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval", "performance", "Date"] });
});
afterEach(() => {
  vi.useRealTimers();
});

/** Fewer would say little; a machine so busy that it makes no more than these is to be noticed. */
const fewestRuns = 4;

/**
 * Draws runs of the model and looks at what each comes to.
 * @param limitMs in which as many are made as fit, 20 at most
 */
async function drawRuns(of: fc.Arbitrary<Op>, limitMs: number, look: (seen: Seen) => void): Promise<void> {
  let runs = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(of, { minLength: 10, maxLength: 60, size: "max" }),
      fates,
      fates,
      moods,
      async (ops, up, down, moods) => {
        look(await runModel({ ops, up, down, moods }));
        runs += 1;
      },
    ),
    { numRuns: 20, interruptAfterTimeLimit: limitMs, endOnFailure: true },
  );
  expect(runs).toBeGreaterThanOrEqual(fewestRuns);
}

test("stored exactly once in the end, and freed only after it is stored, whatever the bus, the store and kills on either side do", async () => {
  let stored = 0;
  await drawRuns(op, 8000, (seen) => {
    // A new epoch at every start: an old image gives no offset to two records.
    expect(seen).toMatchObject({ setBacks: 0, obeyed: 0 });
    stored += seen.stored;
  });
  expect(stored).toBeGreaterThan(50);
});

test("a running gateway that is set back, again and again and at any step, loses nothing that it writes", async () => {
  let obeyed = 0;
  await drawRuns(opOrRevert, 5000, (seen) => {
    obeyed += seen.obeyed;
  });
  expect(obeyed).toBeGreaterThan(0);
});

test("what no store takes is set aside alone; the samples that came with it are stored", async () => {
  const ops: Op[] = [
    { op: "write", samples: 5, poison: 2 },
    { op: "write", samples: 3, poison: null },
    { op: "write", samples: 1, poison: 0 },
  ];
  const seen = await runModel({ ops, up: ["now"], down: ["now"], moods: ["well"] });
  expect(seen).toMatchObject({ asides: 2, setBacks: 0, obeyed: 0 });
});

test("a metric that no store takes, in every record of the only device, stalls nothing: lost notices and kills or not", async () => {
  const write = (): Op[] => [
    { op: "write", samples: 4, poison: 1 },
    { op: "pass", ms: 300 },
  ];
  const tenRecords = Array.from({ length: 10 }, write).flat();
  const ops: Op[] = [...tenRecords, { op: "kill platform" }, ...tenRecords, { op: "kill gateway" }, ...tenRecords];
  const honest = await runModel({ ops, up: ["now"], down: ["now"], moods: ["well"] });
  expect(honest).toMatchObject({ asides: 30, setBacks: 0, obeyed: 0 });
  const rough = await runModel({
    ops,
    up: ["now", "lost", "late"],
    down: ["lost", "twice", "now"],
    moods: ["well", "fails"],
  });
  expect(rough).toMatchObject({ asides: 30, setBacks: 0, obeyed: 0 });
});

describe("a running gateway that is set back uses offsets again, and nothing that it writes is freed before it is stored", () => {
  const write = (times: number): Op[] =>
    Array.from({ length: times }, () => ({ op: "write", samples: 2, poison: null }));
  const pass = (ms: number): Op => ({ op: "pass", ms });
  const honest = { up: ["now"], down: ["now"], moods: ["well"] } as const;

  // How many records were lost with the time that was taken back, and how many it writes before it is heard again.
  test.each([
    [3, 1],
    [1, 1],
    [2, 5],
  ])("%i records were stored, %i are written under their offsets", async (records, again) => {
    const ops: Op[] = [
      ...write(3),
      pass(300),
      { op: "revert", records },
      pass(300),
      ...write(again),
      { op: "connect" },
      pass(300),
    ];
    const seen = await runModel({ ops, ...honest });
    expect(seen.obeyed).toBe(1);
  });

  test("while the records of the time taken back are still on their way to a slow store", async () => {
    const ops: Op[] = [
      ...write(3),
      pass(4000),
      { op: "revert", records: 2 },
      pass(50),
      ...write(2),
      { op: "connect" },
      pass(300),
    ];
    const seen = await runModel({ ops, ...honest, moods: ["is slow"] });
    expect(seen.setBacks).toBeGreaterThan(0);
    expect(seen.obeyed).toBeGreaterThan(0);
  });

  test("when the notice of the records of the time taken back comes after others were sent under their numbers, and lost", async () => {
    const ops: Op[] = [
      ...write(1),
      pass(300),
      { op: "revert", records: 1 },
      { op: "connect" },
      ...write(1),
      pass(4000),
    ];
    const seen = await runModel({ ops, ...honest, up: ["now", "now", "lost", "lost"], moods: ["well", "is slow"] });
    expect(seen).toMatchObject({ setBacks: 0, obeyed: 1 });
  });

  test.each([false, true])(
    "when the notice of the set-back is lost; without times of writing: %j",
    async (isWithoutTimes) => {
      const ops: Op[] = [...write(1), pass(300), { op: "revert", records: 25 }, { op: "connect" }, pass(50)];
      // The first that is written again comes, while the earlier ones are on their way to a slow store in two batches; the others are lost.
      const up: Fate[] = [...Array<Fate>(27).fill("now"), ...Array<Fate>(200).fill("lost")];
      const seen = await runModel({
        ops: [...ops, ...write(25), pass(7000)],
        ...{ isWithoutTimes, up, down: ["now", "lost"], moods: ["well", "is slow"] },
      });
      expect(seen.setBacks).toBeGreaterThan(0);
      expect(seen.obeyed).toBe(1);
    },
  );

  test("and the platform was killed in between, so that it no longer knows who wrote what", async () => {
    const ops: Op[] = [
      ...write(3),
      pass(300),
      { op: "revert", records: 2 },
      pass(300),
      { op: "kill platform" },
      ...write(2),
      { op: "connect" },
      pass(300),
    ];
    const seen = await runModel({ ops, ...honest });
    expect(seen.stored).toBeGreaterThan(0);
    expect(seen.obeyed).toBeGreaterThan(0);
  });
});
