import { periods } from "@jilian/domain/periods.ts";
import { afterAll, beforeAll, expect, it } from "vitest";
import { openWorld, type World } from "./test-app.ts";
import { metrics } from "./test-world.ts";

let world: World;
beforeAll(async () => {
  world = await openWorld();
});
afterAll(() => world.close());

/** What asks for a range, by the key under which `/info` tells how long it may be. Shifts are of a factory. */
const reading = `device=${encodeURIComponent("jinlv-1/gw-1/meter-1")}&metric=${encodeURIComponent(metrics.energy.name)}`;
const questions: Record<string, string[]> = {
  ...Object.fromEntries(periods.map((period) => [period, [`/metrics?level=factory&period=${period}`]])),
  readings: [`/readings?${reading}`],
  alarms: ["/alarms?"],
};
for (const period of ["hour", "day"]) questions[period]?.push(`/completeness?period=${period}`);

it("tells the longest range of each kind of question, as the routes hold it", async () => {
  const { body } = await world.get("/open/v1/info");
  const { maxSpanMs } = body.limits as { maxSpanMs: Record<string, number> };
  expect(Object.keys(maxSpanMs).sort()).toEqual(Object.keys(questions).sort());
  // A hundred years end in the middle of the next century at the earliest: ranges begin at 1970.
  const toMs = 4_000_000_000_000;
  for (const [kind, urls] of Object.entries(questions))
    for (const url of urls) {
      const spanMs = maxSpanMs[kind] ?? 0;
      const ask = (longMs: number) => world.get(`/open/v1${url}&from=${toMs - longMs}&to=${toMs}`);
      expect((await ask(spanMs)).status, url).toBe(200);
      const { status, body: refusal } = await ask(spanMs + 1);
      expect([status, JSON.stringify(refusal)], url).toEqual([
        400,
        expect.stringContaining(`at most ${spanMs} ms before`),
      ]);
    }
});

it("leaves out no question that takes a range", async () => {
  const { body } = await world.get("/open/v1/openapi.json");
  const paths = body.paths as Record<string, { get?: { parameters?: { name: string }[] } }>;
  const ranged = Object.entries(paths).flatMap(([path, { get }]) => {
    const names = get?.parameters?.map(({ name }) => name) ?? [];
    return names.includes("from") && names.includes("to") ? [path] : [];
  });
  const asked = Object.values(questions).flatMap((urls) => urls.map((url) => `/open/v1${url.split("?")[0]}`));
  expect(ranged.length).toBeGreaterThan(0);
  expect([...new Set(asked)].sort()).toEqual(ranged.sort());
});
