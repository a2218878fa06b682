import { expect, it } from "vitest";
import { mosquittoAccess } from "./access-command.ts";
import { readPlatformConfig } from "./config.ts";
import { pilot } from "./test-jilian.ts";

it("prints mosquitto's access file: of each registered gateway what it may tell and hear, and of ingest", async () => {
  const bench = pilot();
  try {
    const program = bench.start(["access", "mosquitto", "--config", bench.config]);
    expect(await program.ended, program.output.err).toBe(0);
    const names = ["nanling-extrusion/gw-extrusion", "xinghua-casting/gw-casting", "xinghua-rolling/gw-rolling"];
    const users = [...program.output.out.matchAll(/^user (.*)$/gm)].map(([, name]) => name);
    expect(users).toEqual(["jilian", ...names]);
    expect(program.output.out).toBe(mosquittoAccess(names.toReversed(), "jilian"));
  } finally {
    await bench.end();
  }
  expect(mosquittoAccess(["f1/gw-1"], "jilian").split("\n").slice(1)).toEqual([
    "user jilian",
    "topic read spBv1.0/#",
    "topic write spBv1.0/STATE/jilian",
    "topic write spBv1.0/+/NCMD/+",
    "",
    "user f1/gw-1",
    "topic write spBv1.0/f1/NBIRTH/gw-1",
    "topic write spBv1.0/f1/NDEATH/gw-1",
    "topic write spBv1.0/f1/NDATA/gw-1",
    "topic write spBv1.0/f1/DBIRTH/gw-1/+",
    "topic write spBv1.0/f1/DDEATH/gw-1/+",
    "topic write spBv1.0/f1/DDATA/gw-1/+",
    "topic read spBv1.0/f1/NCMD/gw-1",
    "topic read spBv1.0/f1/DCMD/gw-1/+",
    "topic read spBv1.0/STATE/+",
    "",
  ]);
});

it.each([
  ["spBv1.0/#", true],
  ["spBv1.0/f1/#", true],
  ["spBv1.0/f1/+/gw-1/#", true],
  ["$share/ingest/spBv1.0/#", true],
  ["$share/ingest/spBv1.0/f1/#", true],
  // Of a node all or nothing; and nothing that is no node's.
  ["spBv1.0/f1/DDATA/#", false],
  ["spBv1.0/+/#", false],
  ["spBv1.0/f1", false],
  ["#", false],
  ["$share/spBv1.0/#", false],
  ["$share/+/spBv1.0/#", false],
  ["spBv1x0/#", false],
])("takes %s as a filter of ingest: %s", (filter, isTaken) => {
  const remote = `remoteBroker: { username: jilian, passwordFile: p, filters: ["${filter}"] }`;
  const text = `dataDir: .\nregistry: cluster.yaml\nbroker: {}\napi: {}\n${remote}\n`;
  const found = readPlatformConfig(text, "platform.yaml", ["ingest", "api"]);
  expect(found.ok, JSON.stringify(found)).toBe(isTaken);
});
