/** A host application of other make with the gateway: it understands all that the gateway tells, and can do nothing but ask for births. */
import { DataType, type Value } from "@jilian/domain/datatypes.ts";
import { Status } from "@jilian/domain/quality.ts";
import { definition, edgeBench, sample, up } from "@jilian/gateway/test-edge.ts";
import { afterEach, beforeEach, expect, it } from "vitest";
import { runForeignHost } from "./foreign-host.ts";
import { hasForeignNode, noForeignNode } from "./foreign-node.ts";

let bench: Awaited<ReturnType<typeof edgeBench>>;
beforeEach(async () => {
  bench = await edgeBench();
});
afterEach(() => bench.close());

/**
 * Of each type that our gateways send, and how Python writes it. A negative Int16 fills int_value with its sign, as that of Eclipse Tahu does;
 * pysparkplug reads such a one at 16 bits only.
 */
const tags: [name: string, datatype: number, value: Exclude<Value, null>, written: string][] = [
  ["Int16", DataType.Int16, 32_767, "32767"],
  ["Int32", DataType.Int32, -5, "-5"],
  ["Int64", DataType.Int64, -(2n ** 62n), "-4611686018427387904"],
  ["UInt32", DataType.UInt32, 4_294_967_295, "4294967295"],
  ["UInt64", DataType.UInt64, 2n ** 63n, "9223372036854775808"],
  ["Float", DataType.Float, Math.fround(0.1), "0.10000000149011612"],
  ["Double", DataType.Double, 0.1, "0.1"],
  ["Boolean", DataType.Boolean, true, "True"],
  ["String", DataType.String, "温度", "温度"],
];

it.skipIf(!hasForeignNode)(
  `is understood, answered when it asks for births, and refused all else${noForeignNode}`,
  async () => {
    const definitions = tags.map(([name, datatype]) => definition(name, { datatype: datatype as never, unit: "kWh" }));
    const ids = bench.define("press", definitions);
    const node = bench.start();
    node.deviceConnection("press", up);
    await bench.host.until("the first births", () => bench.host.ofType("DBIRTH", "press")[0]);
    const good = tags.map(([, , value], i) => sample(ids[i] as number, value));
    const bad = tags.map((_, i) => sample(ids[i] as number, null, Status.BadTimeout));
    const { epoch } = bench.outbox;
    const { log, births } = await runForeignHost({ port: bench.host.port, epoch, messages: 2 }, () => {
      bench.write("press", good, node);
      bench.write("press", bad, node);
    });
    const data = log.filter(([type]) => type === "DDATA").map(([, , values]) => values);
    expect(data[0]).toEqual(tags.map(([name, , , written], i) => [name, written, good[i]?.sourceTimeMs, []]));
    expect(data[1]).toEqual(tags.map(([name], i) => [name, null, bad[i]?.sourceTimeMs, [0]]));
    // One rebirth of all that it commanded, with what was read last.
    expect(births).toEqual([1, 1]);
    const [, , reborn] = log.findLast(([type]) => type === "DBIRTH") ?? [];
    expect(reborn).toEqual(tags.map(([name], i) => [name, null, bad[i]?.sourceTimeMs, [0]]));
    expect(bench.host.ofType("NDEATH")).toEqual([]);
    // Nothing is freed, renamed or written; it is told.
    expect(bench.outbox.stats().pendingRecords).toBe(2);
    expect(bench.outbox.epoch).toBe(epoch);
    expect(node.stats()).toMatchObject({ connects: 1, born: true });
    expect(bench.lines.filter(({ code }) => code === "COMMAND_IGNORED").length).toBeGreaterThan(0);
  },
);
