import { hourMs } from "@jilian/domain/periods.ts";
import type { StoredRow, Window } from "@jilian/store/telemetry.ts";
import { expect, it } from "vitest";
import { readTogether } from "./read-together.ts";

const row = (series: number, sourceTimeMs: number): StoredRow => ({
  ...{ series, sourceTimeMs, value: 1, status: 0, gatewayTimeMs: 0, ingestTimeMs: 0, tx: 1 },
});
const rowsOf = ({ series, fromMs, toMs }: Window) =>
  [1, 2, 3].map((n) => row(series, fromMs + n)).filter((r) => r.sourceTimeMs < toMs);

/** A store that notes its questions. */
function store(fails = false) {
  const questions: (readonly Window[] | Window)[] = [];
  return {
    questions,
    read: async (window: Window, limit: number) => {
      questions.push(window);
      return rowsOf(window).slice(0, limit);
    },
    readMany: async (windows: readonly Window[]) => {
      questions.push(windows);
      if (fails) throw new Error("away");
      return windows.map(rowsOf);
    },
  };
}

it("asks the store once for what is asked for in one turn, each answer with its own limit", async () => {
  const telemetry = store();
  const read = readTogether(telemetry);
  const windows = [1, 2, 3].map((series): Window => ({ series, fromMs: 0, toMs: hourMs }));
  const found = await Promise.all(windows.map((window, i) => read(window, i + 1)));
  expect(found.map((rows) => rows.map((r) => [r.series, r.sourceTimeMs]))).toEqual([
    [[1, 1]],
    [2, 2].map((series, i) => [series, i + 1]),
    [3, 3, 3].map((series, i) => [series, i + 1]),
  ]);
  expect(telemetry.questions).toEqual([windows]);
  await read(windows[0] as Window, 9);
  expect(telemetry.questions).toEqual([windows, [windows[0]]]);
});

it("asks by itself for what only a limit bounds", async () => {
  const telemetry = store();
  const window = { series: 7, fromMs: 0, toMs: Number.MAX_SAFE_INTEGER };
  expect(await readTogether(telemetry)(window, 2)).toHaveLength(2);
  expect(telemetry.questions).toEqual([window]);
});

it("tells everybody who asked when the store fails, and asks again the next time", async () => {
  const telemetry = store(true);
  const read = readTogether(telemetry);
  const window = { series: 1, fromMs: 0, toMs: 10 };
  const both = await Promise.allSettled([read(window, 1), read(window, 1)]);
  expect(both.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
  await expect(read(window, 1)).rejects.toThrow("away");
  expect(telemetry.questions).toHaveLength(2);
});
