import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Value } from "@jilian/domain/datatypes.ts";
import { nodeMetrics } from "@jilian/domain/sample.ts";
import type { Ledger } from "@jilian/store/ledger.ts";
import { openLedger } from "@jilian/store/sqlite/ledger.ts";
import type { CommitEntry } from "@jilian/store/telemetry.ts";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type CommitBook, commitBook } from "./commit-book.ts";
import { ledgerNotes } from "./ledger-notes.ts";
import { type NodeWatch, nodeWatch } from "./node-watch.ts";
import { manualClock, silent } from "./test-world.ts";

const t0 = Date.UTC(2026, 10, 22, 2, 0);
const clock = manualClock(t0);
const hex = (n: number) => n.toString(16).padStart(16, "0");
const [boxA, boxB] = [hex(0xa), hex(0xb)];

let folder: string;
let ledger: Ledger;
let watch: NodeWatch;
let book: CommitBook;

/** As a start of the platform does. */
function start(over: Partial<Ledger> = {}, committed: readonly CommitEntry[] = []): void {
  const used = { ...ledger, ...over };
  book = commitBook(committed);
  watch = nodeWatch({
    ledger: used,
    book,
    notes: ledgerNotes({ ledger: used, clock, log: silent }),
    clock,
    log: silent,
  });
}
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "watch-"));
  ledger = openLedger({ path: join(folder, "ledger.sqlite"), log: silent });
  start();
});
afterEach(() => {
  ledger.close();
  rmSync(folder, { recursive: true });
});

type Told = {
  box: string;
  starts: number;
  epoch: number;
  dropped: number;
  aside: number;
  setBacks: number;
  writable: boolean;
  clock: [offsetMs: number, uncertaintyMs?: number];
  /** Epoch, offset and time of writing of what the file knew. */
  previous: [epoch: number, offset: number, writtenAtMs: number];
};
const metricsOf = (told: Partial<Told>): Map<string, Value> => {
  const found: [string, Value | undefined][] = [
    [nodeMetrics.box, told.box],
    [nodeMetrics.starts, told.starts === undefined ? undefined : BigInt(told.starts)],
    [nodeMetrics.epoch, told.epoch === undefined ? undefined : hex(told.epoch)],
    [nodeMetrics.droppedSamples, told.dropped === undefined ? undefined : BigInt(told.dropped)],
    [nodeMetrics.setAsideRecords, told.aside === undefined ? undefined : BigInt(told.aside)],
    [nodeMetrics.setBacks, told.setBacks === undefined ? undefined : BigInt(told.setBacks)],
    [nodeMetrics.writable, told.writable],
    [nodeMetrics.clockOffsetMs, told.clock && BigInt(told.clock[0])],
    [nodeMetrics.clockUncertaintyMs, told.clock?.[1] === undefined ? undefined : BigInt(told.clock[1])],
    [nodeMetrics.previousEpoch, told.previous && hex(told.previous[0])],
    [nodeMetrics.previousOffset, told.previous && BigInt(told.previous[1])],
    [nodeMetrics.previousWrittenMs, told.previous && BigInt(told.previous[2])],
  ];
  return new Map(found.filter((pair): pair is [string, Value] => pair[1] !== undefined));
};
const usual = { dropped: 0, aside: 0, setBacks: 0, writable: true };
const born = (box: string, starts: number, epoch: number, over: Partial<Told> = {}) =>
  watch.born("f1", "gw-1", metricsOf({ ...usual, box, starts, epoch, ...over }));
const told = (over: Partial<Told>) => watch.told("f1", "gw-1", metricsOf(over));
const codes = () =>
  ledger
    .findings(50)
    .map(({ code }) => code)
    .sort();
const detailOf = (code: string) => ledger.findings(50).find((finding) => finding.code === code)?.detail;

describe("who a gateway is", () => {
  test("births again, restarts of the gateway and of the platform are nobody's concern", () => {
    born(boxA, 1, 1);
    born(boxA, 1, 1);
    born(boxA, 2, 2);
    start();
    born(boxA, 2, 2);
    born(boxA, 9, 3);
    expect(codes()).toEqual([]);
    expect(ledger.nodeBoxes("f1", "gw-1")).toMatchObject([{ box: boxA, starts: 9, epoch: hex(3) }]);
  });

  test("a new box under the name of the old one is shown, over a restart of the platform too; births of it then are not", () => {
    born(boxA, 5, 1);
    start();
    born(boxB, 1, 2);
    born(boxB, 1, 2);
    expect(ledger.findings(9)).toMatchObject([{ code: "GATEWAY_REPLACED", subject: "f1/gw-1", count: 1 }]);
    expect(detailOf("GATEWAY_REPLACED")).toContain(boxA);
  });

  test.each([
    ["its number of starts falls", 3],
    ["its number of starts comes with another epoch", 5],
  ])("an image that was brought back is shown: %s", (_, starts) => {
    born(boxA, 5, 1);
    born(boxA, starts, 2);
    born(boxA, starts, 2);
    born(boxA, starts + 1, 3);
    expect(ledger.findings(9)).toMatchObject([{ code: "GATEWAY_RESTORED", count: 1 }]);
  });

  describe("an image that was made while it ran, and never started in between", () => {
    const entry = (first: number, last: number): CommitEntry => ({
      group: "f1",
      node: "gw-1",
      epoch: hex(1),
      ranges: [[first, last]],
    });
    const store = (offset: number, writtenAtMs: number): void => {
      book.claim("f1", "gw-1", { epoch: hex(1), offset, writtenAtMs });
      book.stored([entry(offset, offset)]);
    };

    test("is shown once, when a record is stored that was written later than the file can know", () => {
      born(boxA, 5, 1, { dropped: 9 });
      store(0, t0);
      store(1, t0 + 60_000);
      born(boxA, 6, 2, { previous: [1, 1e6, t0 + 59_999], dropped: 4 });
      born(boxA, 6, 2, { previous: [1, 1e6, t0 + 59_999], dropped: 4 });
      // Started again before it had written anything.
      born(boxA, 7, 4, { previous: [1, 1e6, t0 + 59_999], dropped: 4 });
      expect(ledger.findings(9).filter(({ code }) => code !== "OUTBOX_DROPPED")).toMatchObject([
        { code: "GATEWAY_RESTORED", count: 1 },
      ]);
      expect(detailOf("GATEWAY_RESTORED")).toContain(`record 1 of its epoch ${hex(1)}`);
      // As with any image: its counters are taken as they are.
      born(boxA, 8, 3, { previous: [2, 0, t0 + 80_000], dropped: 5 });
      expect(detailOf("OUTBOX_DROPPED")).toBe("1 samples were dropped, 5 in all");
    });

    test("is shown by offsets after a restart of the platform, which knows no times of writing", () => {
      born(boxA, 5, 1);
      start({}, [entry(0, 30_001)]);
      born(boxA, 6, 2, { previous: [1, 30_000, t0] });
      expect(codes()).toEqual(["GATEWAY_RESTORED"]);
    });

    test.each<[string, [number, number, number]]>([
      ["what a power cut took is within what the file allows for", [1, 0, t0 + 60_000]],
      ["nothing is stored of that epoch", [9, 0, 0]],
    ])("is not seen where %s", (_, previous) => {
      born(boxA, 5, 1);
      store(0, t0);
      store(20, t0 + 60_000);
      born(boxA, 6, 2, { previous });
      start({}, [entry(0, 20)]);
      born(boxA, 7, 3, { previous: [previous[0], 20, 0] });
      expect(codes()).toEqual([]);
    });
  });

  test("a process that found itself set back goes on under another epoch: that is no image", () => {
    born(boxA, 5, 1);
    born(boxA, 6, 2, { setBacks: 1 });
    born(boxA, 6, 2, { setBacks: 1 });
    start();
    born(boxA, 7, 3, { setBacks: 2 });
    born(boxA, 8, 4);
    born(boxA, 9, 5, { setBacks: 1 });
    born(boxA, 10, 6, { setBacks: 1 });
    expect(ledger.findings(9)).toMatchObject([{ code: "GATEWAY_SET_BACK", count: 3 }]);
  });

  describe("a set-back that the platform saw first", () => {
    const counts = () => ledger.findings(9).map(({ code, count }) => `${code} ${count}`);

    test("is one finding, however often it is seen, also when the gateway counts it; the gateway's next one is another", () => {
      born(boxA, 5, 1);
      watch.setBack("f1", "gw-1", hex(1));
      watch.setBack("f1", "gw-1", hex(1));
      told({ setBacks: 1 });
      born(boxA, 6, 2, { setBacks: 1 });
      expect(counts()).toEqual(["GATEWAY_SET_BACK 1"]);
      told({ setBacks: 2 });
      expect(counts()).toEqual(["GATEWAY_SET_BACK 2"]);
      start();
      born(boxA, 6, 2, { setBacks: 2 });
      expect(counts()).toEqual(["GATEWAY_SET_BACK 2"]);
    });

    test("is not taken for one that another process finds, which was told of none", () => {
      born(boxA, 5, 1);
      watch.setBack("f1", "gw-1", hex(1));
      born(boxA, 6, 2);
      told({ setBacks: 1 });
      expect(counts()).toEqual(["GATEWAY_SET_BACK 2"]);
    });

    test("hides no drops that are told with it", () => {
      born(boxA, 5, 1);
      watch.setBack("f1", "gw-1", hex(1));
      told({ setBacks: 1, dropped: 3 });
      expect(counts().sort()).toEqual(["GATEWAY_SET_BACK 1", "OUTBOX_DROPPED 1"]);
    });
  });

  test("a gateway that got a name with an update has not dropped anew what it had dropped", () => {
    watch.born("f1", "gw-1", metricsOf({ dropped: 1000 }));
    born(boxA, 1, 1, { dropped: 1000 });
    born(boxA, 2, 2, { dropped: 1001 });
    expect(ledger.findings(9)).toMatchObject([{ code: "OUTBOX_DROPPED", count: 2 }]);
  });

  test.each([
    ["two boxes", boxB, 1],
    ["two processes on copies of one file", boxA, 5],
  ])("%s that push each other out are shown as that", (_, other, starts) => {
    for (let round = 0; round < 2; round += 1) {
      born(boxA, 5, 1);
      born(other, starts, 2);
    }
    born(boxA, 5, 1);
    expect(codes()).toContain("GATEWAY_CLONED");
    expect(ledger.findings(9).find(({ code }) => code === "GATEWAY_CLONED")?.count).toBe(2);
  });

  test("a box that is put back once is no clone", () => {
    born(boxA, 5, 1);
    born(boxB, 1, 2);
    born(boxA, 6, 3);
    expect(codes()).toEqual(["GATEWAY_REPLACED"]);
  });

  test("gateways from before boxes had names, and names that are none, are let be", () => {
    watch.born("f1", "gw-1", metricsOf({ dropped: 0 }));
    watch.born("f1", "gw-1", metricsOf({ ...usual, box: "box of mine", starts: 1, epoch: 1 }));
    born(boxA, 1, 1);
    watch.born("f1", "gw-1", metricsOf({ dropped: 0 }));
    expect(codes()).toEqual([]);
  });

  test("a gateway that works from memory is no other box, and its counters are not the file's", () => {
    born(boxA, 5, 1, { dropped: 2 });
    born("", 0, 2, { dropped: 9, writable: false });
    told({ dropped: 12 });
    start();
    born("", 0, 2, { dropped: 12, writable: false });
    told({ dropped: 13 });
    born(boxA, 6, 3, { dropped: 15 });
    expect(codes()).toEqual(["OUTBOX_DROPPED", "OUTBOX_UNWRITABLE"]);
    expect(detailOf("OUTBOX_DROPPED")).toBe("13 samples were dropped, 15 in all");
    born("", 0, 4);
    born(boxB, 1, 5);
    expect(codes()).toContain("GATEWAY_REPLACED");
  });
});

describe("what its outbox says", () => {
  test("what rose is told, once, over a restart of the platform", () => {
    born(boxA, 1, 1);
    expect(codes()).toEqual([]);
    told({ dropped: 7 });
    expect(detailOf("OUTBOX_DROPPED")).toBe("7 samples were dropped, 7 in all");
    start();
    born(boxA, 1, 1, { dropped: 7 });
    expect(ledger.findings(9)).toMatchObject([{ code: "OUTBOX_DROPPED", count: 1 }]);
    born(boxA, 2, 2, { dropped: 9, aside: 1 });
    expect(codes()).toEqual(["OUTBOX_DROPPED", "OUTBOX_SET_ASIDE"]);
    expect(detailOf("OUTBOX_DROPPED")).toBe("2 samples were dropped, 9 in all");
  });

  test("an outbox that drops all the time is told now and then, and nothing is left out at the next birth", () => {
    born(boxA, 1, 1);
    for (let dropped = 1; dropped <= 100; dropped += 1) told({ dropped });
    expect(ledger.findings(9)).toMatchObject([{ count: 1, detail: "1 samples were dropped, 1 in all" }]);
    born(boxA, 1, 1, { dropped: 100 });
    expect(ledger.findings(9)).toMatchObject([{ count: 2, detail: "99 samples were dropped, 100 in all" }]);
  });

  test("a new box starts from 0, whatever the old one had dropped; the old one, put back, from what it had", () => {
    born(boxA, 1, 1, { dropped: 1000 });
    born(boxB, 1, 2, { dropped: 5 });
    expect(detailOf("OUTBOX_DROPPED")).toBe("5 samples were dropped, 5 in all");
    born(boxA, 2, 3, { dropped: 1001 });
    expect(detailOf("OUTBOX_DROPPED")).toBe("1 samples were dropped, 1001 in all");
  });

  test("the counters of an image say nothing new; what rises in it from then on does", () => {
    born(boxA, 9, 1, { dropped: 100 });
    born(boxA, 4, 2, { dropped: 60 });
    const before = ledger.findings(9).find(({ code }) => code === "OUTBOX_DROPPED");
    expect(before).toMatchObject({ count: 1, detail: "100 samples were dropped, 100 in all" });
    told({ dropped: 61 });
    expect(detailOf("OUTBOX_DROPPED")).toBe("1 samples were dropped, 61 in all");
  });

  test("a medium that cannot be written is told when that begins", () => {
    born(boxA, 1, 1);
    told({ writable: true });
    expect(codes()).toEqual([]);
    told({ writable: false });
    told({ writable: false });
    expect(ledger.findings(9)).toMatchObject([{ code: "OUTBOX_UNWRITABLE", count: 1 }]);
  });

  test("a ledger that takes no note for a while loses none and holds up no birth", () => {
    let isFull = true;
    const transaction: Ledger["transaction"] = (work) =>
      ledger.transaction(() => {
        if (isFull) throw new Error("database or disk is full");
        return work();
      });
    start({ transaction });
    born(boxA, 1, 1, { dropped: 3 });
    expect([codes(), ledger.nodeBoxes("f1", "gw-1")]).toEqual([[], []]);
    isFull = false;
    born(boxA, 1, 1, { dropped: 4 });
    expect(detailOf("OUTBOX_DROPPED")).toBe("4 samples were dropped, 4 in all");
    start({
      nodeBoxes: () => {
        throw new Error("database is locked");
      },
    });
    born(boxA, 1, 1);
  });
});

describe("the clock of a gateway", () => {
  test("is told of once, when it is surely far off", () => {
    born(boxA, 1, 1, { clock: [9000, 4500] });
    expect(codes()).toEqual([]);
    told({ clock: [-9000, 200] });
    expect(detailOf("GATEWAY_CLOCK_OFF")).toContain("9000 ms behind");
    // What has not changed is not said again.
    told({ clock: [-9100] });
    expect(ledger.findings(9)).toMatchObject([{ code: "GATEWAY_CLOCK_OFF", count: 1 }]);
  });
});
