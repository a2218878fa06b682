import { codeOf } from "@jilian/domain/errors.ts";
import { describe, expect, it } from "vitest";
import { brief, makeSeries, readAll, sample } from "./telemetry-fixtures.ts";
import type { Harness } from "./telemetry-suite.ts";

export function portTests({ store, reopen, connect }: Harness): void {
  describe("ports", () => {
    it("two users write and read at the same time, each sample once", async () => {
      const series = (await makeSeries(store(), ["a", "b", "c"])) as [number, number, number];
      const users = [connect(await store().port()), connect(await store().port())];
      const batch = (n: number) => ({
        samples: series.map((id) => sample(id, n * 1000, n)),
        commits: [{ group: "f", node: "g", epoch: "e", ranges: [[n, n] as const] }],
      });
      const outcomes = await Promise.all(
        Array.from({ length: 40 }, (_, n) => users.map((user) => user.write(batch(n)))).flat(),
      );
      expect(outcomes.reduce((sum, { written }) => sum + written, 0)).toBe(120);
      expect(outcomes.reduce((sum, { duplicates }) => sum + duplicates, 0)).toBe(120);
      const expected = Array.from({ length: 40 }, (_, n) => [n * 1000, n]);
      const reads = await Promise.all(users.flatMap((user) => series.map((id) => readAll(user, id))));
      for (const rows of reads) expect(rows.map(brief)).toEqual(expected);
      expect(await users[0]?.committed()).toEqual([{ group: "f", node: "g", epoch: "e", ranges: [[0, 39]] }]);
    });

    it("ending one use ends no other; ending the store ends all", async () => {
      const [one, other] = [connect(await store().port()), connect(await store().port())];
      const nested = connect(await one.port());
      expect(await nested.lastTx()).toBe(0);
      await one.close();
      await expect(one.lastTx()).rejects.toMatchObject({ code: "STORE_CLOSED" });
      expect(await nested.lastTx()).toBe(0);
      expect(await other.lastTx()).toBe(0);
      const old = store();
      await reopen();
      for (const ended of [other, nested, old]) {
        await expect(ended.lastTx()).rejects.toMatchObject({ code: "STORE_CLOSED" });
      }
      expect(await store().lastTx()).toBe(0);
    });

    it("errors of a call keep code and remedy over a port", async () => {
      const user = connect(await store().port());
      const writing = user.write({ samples: [sample(12, 0, 1)], commits: [] });
      await expect(writing).rejects.toMatchObject({
        name: "JilianError",
        code: "SERIES_UNKNOWN",
        remedy: expect.stringContaining("ensureSeries"),
      });
    });
  });

  describe("closing", () => {
    it("with calls under way: each is done or rejected, and what was rejected was not done", async () => {
      const [series] = (await makeSeries(store(), ["a"])) as [number];
      await store().write({ samples: [sample(series, 0, 0)], commits: [] });
      const user = connect(await store().port());
      const writes = Array.from({ length: 200 }, (_, n) =>
        (n % 2 ? user : store()).write({ samples: [sample(series, n + 1, n + 1)], commits: [] }),
      );
      const settled = Promise.allSettled([...writes, user.latest()]);
      await reopen();
      const outcomes = await settled;
      const refused = outcomes.filter((outcome) => outcome.status === "rejected");
      expect(refused.length).toBeGreaterThan(0);
      expect(new Set(refused.map(({ reason }) => codeOf(reason)))).toEqual(new Set(["STORE_CLOSED"]));
      const done = writes.flatMap((_, n) => (outcomes[n]?.status === "fulfilled" ? [n + 1] : []));
      expect((await readAll(store(), series)).map(({ value }) => value)).toEqual([0, ...done]);
    });

    it("twice is once", async () => {
      const old = store();
      await Promise.all([old.close(), old.close()]);
      await reopen();
      await old.close();
    });
  });
}
