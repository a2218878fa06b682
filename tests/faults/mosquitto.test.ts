import { expect, it } from "vitest";
import { hasMosquitto, noMosquitto } from "../mosquitto.ts";
import { isThorough } from "../thorough.ts";
import { allFaults, runMatrix } from "./matrix.ts";
import { isRed, tableOf } from "./tally.ts";

/** What differs with another broker: how it dies, and what becomes of those that were connected. The rest with JILIAN_TESTS=all. */
const usual = ["broker killed"];
const more = ["broker killed thrice under load", "gateway killed", "ingest killed", "network cut", "half-open TCP"];
const most = ["reconnect while the old session lives", "publishes duplicated and reordered"];

/** The fault matrix in its short form with mosquitto in place of the broker, by the documented configuration and access file. */
it.skipIf(!hasMosquitto)(
  `loses nothing and stores nothing twice on mosquitto either${noMosquitto}`,
  {
    timeout: 400_000,
    retry: 0,
  },
  async () => {
    const seed = 1 + Math.floor(Math.random() * 2 ** 31);
    const names = isThorough ? [...usual, ...more, ...most] : usual;
    const faults = allFaults.filter(({ name }) => names.includes(name));
    expect(faults).toHaveLength(names.length);
    const setting = { runs: 1, isShort: true, patienceMs: 30_000, mosquitto: true };
    const rows = await runMatrix({ ...setting, seed, faults });
    const told = `node tests/faults/run.ts --short --mosquitto --seed ${seed}\n${tableOf(rows)}`;
    process.stdout.write(`${told}\n`);
    expect(
      rows.every(({ lost, twice, samples }) => lost === 0 && twice === 0 && samples > 50),
      told,
    ).toBe(true);
    // A bound of time, or a fault that met nothing, may be the machine's.
    const red = rows.filter(isRed).map(({ fault }) => fault);
    if (red.length === 0) return;
    const again = await runMatrix({
      ...setting,
      seed: seed + 1,
      faults: faults.filter(({ name }) => red.includes(name)),
    });
    expect(again.filter(isRed), `${told}\n${tableOf(again)}`).toEqual([]);
  },
);
