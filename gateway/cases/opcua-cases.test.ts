import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { VariantOptions } from "node-opcua-client";
import { afterAll, beforeAll, expect, it } from "vitest";
import { parse } from "yaml";
import { startTestServer, type TestServer, temporaryFolder } from "../test-opcua.ts";
import { collectOpcua, opcuaConfig, quick, show } from "../test-opcua-devices.ts";
import { until } from "./scripted-server.ts";

/**
 * Folders `opcua-*` are one trap each: `config.yaml` with the tags of a device (the node has the tag's name unless it says otherwise),
 * `server.yaml` with what a real server holds and then sets, `expected.yaml` with every sample of every tag, as `value status`.
 */
type Value = { dataType: string; arrayType?: string; value?: unknown; time?: string; status?: string };
type Script = { nodes: Record<string, Value>; then?: (Value & { node: string; atMs: number })[] };
type Tag = { name: string; type: string; nodeId?: string };
type Expected = Record<string, unknown[]> & { timesOf?: Record<string, number[]> };

const folder = temporaryFolder();
let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({ pkiDir: `${folder.path}/server` });
});
afterAll(async () => {
  await server.stop();
  folder.remove();
});

const names = readdirSync(import.meta.dirname).filter((name) => /^opcua-\w+$/.test(name));
const read = (name: string, file: string) => parse(readFileSync(join(import.meta.dirname, name, file), "utf8"));

/** What YAML cannot write: times. */
function variantOf({ dataType, arrayType, value, time }: Value): VariantOptions {
  const content = time === undefined ? value : new Date(time);
  return {
    dataType,
    ...(arrayType ? { arrayType } : {}),
    ...(content === undefined ? {} : { value: content }),
  } as VariantOptions;
}

function textOf(tag: Tag & Record<string, unknown>): string {
  const { nodeId = `nsu=urn:test:machine;s=${tag.name}`, ...rest } = tag;
  return JSON.stringify({ ...rest, nodeId }).slice(1, -1);
}

it.each(names)("%s", async (name) => {
  const script = read(name, "server.yaml") as Script;
  const { tags, pollIntervalMs } = read(name, "config.yaml") as {
    tags: (Tag & Record<string, unknown>)[];
    pollIntervalMs?: number;
  };
  const { timesOf = {}, ...expected } = read(name, "expected.yaml") as Expected;
  const startMs = Date.now();
  for (const [node, value] of Object.entries(script.nodes)) {
    server.set(node, variantOf(value), { status: value.status ?? "Good", sourceTimeMs: startMs });
  }
  const slow = quick.replace("heartbeatMs: 400", "heartbeatMs: 60000");
  const extra =
    pollIntervalMs === undefined ? slow : slow.replace("pollIntervalMs: 50", `pollIntervalMs: ${pollIntervalMs}`);
  const device = { endpointUrl: server.endpointUrl, extra, tags: tags.map(textOf) };
  const { of, close, reasons } = collectOpcua(opcuaConfig(folder.path, [device]));
  try {
    await until("the first values", () => tags.every((tag) => of(tag.name).length > 0));
    const firstMs = Math.max(...tags.map((tag) => of(tag.name)[0]?.sourceTimeMs ?? 0));
    for (const { node, atMs, ...value } of script.then ?? []) {
      server.set(node, variantOf(value), { status: value.status ?? "Good", sourceTimeMs: firstMs + atMs });
    }
    await until("all samples", () => tags.every((tag) => of(tag.name).length >= (expected[tag.name]?.length ?? 0)));
    const shown = tags.map((tag) => [tag.name, show(of(tag.name)).map((v) => (typeof v === "bigint" ? `${v}n` : v))]);
    expect(Object.fromEntries(shown)).toEqual(expected);
    for (const [metric, times] of Object.entries(timesOf)) {
      expect(
        of(metric)
          .slice(1)
          .map((s) => s.sourceTimeMs - firstMs),
      ).toEqual(times);
    }
    expect(reasons()).toEqual([]);
  } finally {
    await close();
    for (const node of Object.keys(script.nodes)) server.remove(node);
  }
});
