import { describe, expect, it } from "vitest";
import { DataType } from "../datatypes.ts";
import {
  decodePayload,
  encodePayload,
  numberProperty,
  type OutPayload,
  property,
  readValue,
  textProperty,
} from "./payload.ts";

const T = 1_750_000_000_000;

/**
 * Bytes written by Google's protobuf for Python from the field numbers of Eclipse Tahu's sparkplug_b.proto (proto2): an encoder that
 * shares nothing with this product's.
 */
const golden = {
  birth:
    "0880b883a1f73212120a0562645365711880b883a1f7322004580712210a144e6f646520436f6e74726f6c2f526562697274681880b883a1f732200b700012540a06656e6572677910031880b883a1f73220094a3a0a07656e67556e69740a086465616462616e640a0973696d756c617465641207080c42036b5768120b080a31000000000000e03f1204080b380165cdcccc3d12130a047465787410041880b883a1f732200c3801180022106a696c69616e2e6f7574626f782e76312a03000102",
  data: "0881b883a1f732120f100a1880b883a1f73250ffffffff0f120f100b1880b883a1f73250feffffff0f120f100c1880b883a1f73250fdffffff0f1214100d1880b883a1f73258fbffffffffffffffff01120c100e1880b883a1f73250ff01120d100f1880b883a1f73250ffff03120f10101880b883a1f73250ffffffff0f121410111880b883a1f73258ffffffffffffffffff01121210121880b883a1f73269355800662deb41fe121110131880b883a1f7327a06e6b8a9e5baa61220101418fbb783a1f732280130014a0f0a075175616c697479120408031800500018ff01",
  death: "0880b883a1f73212130a0562645365711880b883a1f732200458ff01",
  /** What other encoders send: Int8 at its own width, Int32 in long_value, a data set, metadata, nested and contradictory properties. */
  foreign:
    "0880b883a1f732120e0a076e6172726f7738200150ff0112150a06776964653332200358f9ffffffffffffffff0112140a0a75696e7433326c6f6e6720075880d0acf30e120d0a07736d616c6c36342004500c121c0a0f666c6f617420696e20646f75626c652009699a9999999999b93f120b0a076e6f7468696e67200312190a057461626c6520108a010d0801120163180322040a02080112450a056166746572200b420512017818054a310a066e65737465640a036f64640a016e120708144a030a016b12100803420c6e6f742061206e756d62657212040803100170011809",
};
const bytesOf = (name: keyof typeof golden) => Uint8Array.from(Buffer.from(golden[name], "hex"));
const hexOf = (payload: OutPayload) => Buffer.from(encodePayload(payload)).toString("hex");

const birth: OutPayload = {
  timestampMs: T,
  seq: 0,
  uuid: "jilian.outbox.v1",
  body: new Uint8Array([0, 1, 2]),
  metrics: [
    { name: "bdSeq", timestampMs: T, datatype: DataType.Int64, declare: true, value: 7n },
    { name: "Node Control/Rebirth", timestampMs: T, datatype: DataType.Boolean, declare: true, value: false },
    {
      name: "energy",
      alias: 3,
      timestampMs: T,
      datatype: DataType.Float,
      declare: true,
      value: Math.fround(0.1),
      properties: { engUnit: property.text("kWh"), deadband: property.double(0.5), simulated: property.flag(true) },
    },
    { name: "text", alias: 4, timestampMs: T, datatype: DataType.String, declare: true, value: null },
  ],
};

const values = [
  [DataType.Int8, -1],
  [DataType.Int16, -2],
  [DataType.Int32, -3],
  [DataType.Int64, -5n],
  [DataType.UInt8, 255],
  [DataType.UInt16, 65_535],
  [DataType.UInt32, 4_294_967_295],
  [DataType.UInt64, 2n ** 64n - 1n],
  [DataType.Double, -1.5e300],
  [DataType.String, "温度"],
] as const;

const data: OutPayload = {
  timestampMs: T + 1,
  seq: 255,
  metrics: [
    ...values.map(([datatype, value], i) => ({ alias: 10 + i, timestampMs: T, datatype, value })),
    {
      alias: 20,
      timestampMs: T - 5,
      datatype: DataType.Int32,
      value: 0,
      historical: true,
      transient: true,
      properties: { Quality: property.int32(0) },
    },
  ],
};

describe("encoding", () => {
  it("writes a birth, data and a death as an independent encoder does", () => {
    expect(hexOf(birth)).toBe(golden.birth);
    expect(hexOf(data)).toBe(golden.data);
    const metrics = [{ name: "bdSeq", timestampMs: T, datatype: DataType.Int64, declare: true, value: 255n }];
    expect(hexOf({ timestampMs: T, metrics })).toBe(golden.death);
  });

  it("refuses a value that is not one of its datatype", () => {
    const metrics = [{ alias: 1, timestampMs: T, datatype: DataType.Int8, value: 128 }];
    expect(() => encodePayload({ timestampMs: T, metrics })).toThrow(expect.objectContaining({ code: "VALUE_MISFIT" }));
  });
});

describe("decoding", () => {
  it("reads a birth with its properties", () => {
    const payload = decodePayload(bytesOf("birth"));
    expect(payload).toMatchObject({ timestampMs: T, seq: 0, uuid: "jilian.outbox.v1" });
    expect(payload.body).toEqual(new Uint8Array([0, 1, 2]));
    expect(payload.metrics.map((m) => [m.name, m.alias, m.datatype, m.isNull])).toEqual([
      ["bdSeq", undefined, 4, false],
      ["Node Control/Rebirth", undefined, 11, false],
      ["energy", 3, 9, false],
      ["text", 4, 12, true],
    ]);
    expect(payload.metrics.map((m) => readValue(m, 0))).toEqual([7n, false, Math.fround(0.1), null]);
    const properties = payload.metrics[2]?.properties ?? {};
    expect([textProperty(properties, "engUnit"), numberProperty(properties, "deadband")]).toEqual(["kWh", 0.5]);
    expect([textProperty(properties, "deadband"), numberProperty(properties, "engUnit")]).toEqual([
      undefined,
      undefined,
    ]);
    expect(properties.simulated).toEqual(property.flag(true));
  });

  it("reads data by the datatypes of the birth", () => {
    const payload = decodePayload(bytesOf("data"));
    expect(payload).toMatchObject({ timestampMs: T + 1, seq: 255, uuid: undefined, body: undefined });
    const found = payload.metrics.slice(0, values.length).map((m, i) => readValue(m, values[i]?.[0] ?? 0));
    expect(found).toEqual(values.map(([, value]) => value));
    expect(payload.metrics.at(-1)).toMatchObject({ alias: 20, timestampMs: T - 5, historical: true, transient: true });
    expect(numberProperty(payload.metrics.at(-1)?.properties ?? {}, "Quality")).toBe(0);
  });

  it("reads a death, which has no seq", () => {
    const payload = decodePayload(bytesOf("death"));
    expect(payload.seq).toBeUndefined();
    expect(payload.metrics.map((m) => readValue(m, 0))).toEqual([255n]);
  });

  it("reads what other encoders send, and passes over what this product does not carry", () => {
    const { metrics } = decodePayload(bytesOf("foreign"));
    const found = Object.fromEntries(metrics.map((m) => [m.name, readValue(m, 0)]));
    expect(found).toEqual({
      narrow8: -1,
      wide32: -7,
      uint32long: 4_000_000_000,
      small64: 12n,
      "float in double": Math.fround(0.1),
      nothing: null,
      table: '{"columns":["c"],"types":["Int32"],"rows":[[1]]}',
      after: true,
    });
    expect(metrics.at(-1)?.properties).toEqual({ n: { datatype: DataType.Int32, value: null } });
  });

  it("tells a value that contradicts its datatype, and spares the rest of the payload", () => {
    const [first, second] = decodePayload(bytesOf("data")).metrics;
    expect(() => readValue(first as never, DataType.String)).toThrow(expect.objectContaining({ code: "VALUE_MISFIT" }));
    expect(readValue(second as never, DataType.Int16)).toBe(-2);
  });

  it("reads times and aliases beyond 2^53 as absent", () => {
    const metrics = [{ alias: 1, timestampMs: Number.MAX_SAFE_INTEGER, datatype: DataType.Boolean, value: true }];
    const bytes = encodePayload({ timestampMs: Number.MAX_SAFE_INTEGER, metrics });
    expect(decodePayload(bytes).timestampMs).toBe(Number.MAX_SAFE_INTEGER);
    // Field 1, varint 2^64-1.
    const hostile = Uint8Array.from(Buffer.from("08ffffffffffffffffff01", "hex"));
    expect(decodePayload(hostile).timestampMs).toBeUndefined();
  });

  it("says of every cut of a payload that it is unreadable or reads it, and never throws anything else", () => {
    for (const name of ["birth", "data", "foreign"] as const) {
      const whole = bytesOf(name);
      for (let length = 0; length < whole.length; length += 1) {
        try {
          for (const metric of decodePayload(whole.subarray(0, length)).metrics) readValue(metric, DataType.Int32);
        } catch (thrown) {
          expect(["PAYLOAD_UNREADABLE", "VALUE_MISFIT"]).toContain((thrown as { code: string }).code);
        }
      }
    }
    for (const hex of ["ff", "0a", "12ff", "1207", "22ff", "2202c328"]) {
      const bytes = Uint8Array.from(Buffer.from(hex, "hex"));
      expect(() => decodePayload(bytes), hex).toThrow(expect.objectContaining({ code: "PAYLOAD_UNREADABLE" }));
    }
  });
});
