import fc from "fast-check";
import { BinaryStream } from "node-opcua-binary-stream";
import {
  coerceNodeId,
  DataChangeNotification,
  DataType,
  MonitoredItemNotification,
  NotificationMessage,
  StatusCodes,
  setErrorLogger,
  setWarningLogger,
  VariantArrayType,
} from "node-opcua-client";
import { expect, it, vi } from "vitest";
import { type OpcuaValue, opcuaValueOf } from "./opcua-decode.ts";
import { takeChanges } from "./opcua-items.ts";
import type { OpcuaLibrary } from "./opcua-library.ts";
import { changeAt, changesOf, readChangesOurselves } from "./opcua-notification.ts";

// The library tells of every status that it does not know.
for (const silence of [setErrorLogger, setWarningLogger]) silence(() => undefined);
vi.spyOn(console, "warn").mockImplementation(() => undefined);

/** The library's class as it is, and as ours reads it. */
class Ours extends DataChangeNotification {}
Ours.prototype.decode = DataChangeNotification.prototype.decode;
let leftToLibrary = 0;
readChangesOurselves({
  DataChangeNotification: Ours,
  MonitoredItemNotification: class extends MonitoredItemNotification {
    constructor(options: null) {
      super(options as never);
      leftToLibrary += 1;
    }
  },
});

const pair = fc.tuple(fc.nat(0xffffffff), fc.nat(0xffffffff));
const date = fc.date({
  min: new Date("1601-01-01T00:00:00Z"),
  max: new Date("9999-12-31T00:00:00Z"),
  noInvalidDate: true,
});
/** Values of every built-in type that a server may send as a value, as node-opcua takes them. */
const scalars: Readonly<Record<string, fc.Arbitrary<unknown>>> = {
  Boolean: fc.boolean(),
  SByte: fc.integer({ min: -128, max: 127 }),
  Byte: fc.integer({ min: 0, max: 255 }),
  Int16: fc.integer({ min: -32_768, max: 32_767 }),
  UInt16: fc.integer({ min: 0, max: 65_535 }),
  Int32: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
  UInt32: fc.nat(0xffffffff),
  Int64: pair,
  UInt64: pair,
  Float: fc.float(),
  Double: fc.double(),
  String: fc.option(fc.string()),
  DateTime: date,
  Guid: fc.uuid(),
  ByteString: fc.uint8Array().map((bytes) => Buffer.from(bytes)),
  XmlElement: fc.string(),
  NodeId: fc.constantFrom(coerceNodeId("ns=1;i=5"), coerceNodeId("ns=2;s=text")),
  StatusCode: fc.constantFrom(StatusCodes.Good, StatusCodes.BadTimeout),
  QualifiedName: fc.string().map((name) => ({ namespaceIndex: 1, name })),
  LocalizedText: fc.string().map((text) => ({ text, locale: "en" })),
};
const numbers = [
  "Boolean",
  "SByte",
  "Byte",
  "Int16",
  "UInt16",
  "Int32",
  "UInt32",
  "Int64",
  "UInt64",
  "Float",
  "Double",
];

const variantOf = (type: string, value: unknown, arrayType = VariantArrayType.Scalar) => ({
  ...{ dataType: DataType[type as keyof typeof DataType], arrayType, value },
});
const variant = fc.constantFrom(...Object.keys(scalars)).chain((type) => {
  const scalar = scalars[type] as fc.Arbitrary<unknown>;
  return fc.oneof(
    { weight: 4, arbitrary: scalar.map((value) => variantOf(type, value)) },
    { weight: 1, arbitrary: fc.array(scalar).map((values) => variantOf(type, values, VariantArrayType.Array)) },
    {
      weight: 1,
      arbitrary: fc.tuple(scalar, scalar).map((values) => ({
        ...variantOf(type, values, VariantArrayType.Matrix),
        dimensions: [2, 1],
      })),
    },
  );
});
const item = fc.record(
  {
    clientHandle: fc.nat(0xffffffff),
    value: fc.record(
      {
        value: variant,
        statusCode: fc.constantFrom(
          StatusCodes.Good,
          StatusCodes.Good,
          StatusCodes.UncertainSubNormal,
          StatusCodes.BadTimeout,
        ),
        sourceTimestamp: fc.option(date),
        sourcePicoseconds: fc.nat(999_999_999),
        serverTimestamp: fc.option(date),
        serverPicoseconds: fc.nat(999_999_999),
      },
      { requiredKeys: [] },
    ),
  },
  { requiredKeys: ["clientHandle", "value"] },
);
const diagnosticInfos = fc.oneof(
  { weight: 4, arbitrary: fc.constant([]) },
  {
    weight: 1,
    arbitrary: fc.array(fc.record({ symbolicId: fc.nat(99), additionalInfo: fc.string() }), { minLength: 1 }),
  },
);
const notification = fc.record({ monitoredItems: fc.array(item), diagnosticInfos });

/** The bytes of a notification, after a few of something else, as it lies in a message. */
function bytesOf(options: object): Buffer {
  const stream = new BinaryStream(1_000_000);
  stream.writeUInt32(4711);
  new DataChangeNotification(options as never).encode(stream);
  return Buffer.from(stream.buffer.subarray(0, stream.length));
}

type Change = OpcuaValue & { readonly clientHandle: number };

function itemsOf({ monitoredItems }: DataChangeNotification): Change[] {
  return (monitoredItems ?? []).map(({ clientHandle, value }) => ({ clientHandle, ...opcuaValueOf(value) }));
}

function listed(notification: DataChangeNotification): Change[] {
  const columns = changesOf(notification);
  return columns.clientHandles.map((clientHandle, i) => ({ clientHandle, ...changeAt(columns, i) }));
}

/** What a notification is read as, and where the stream stands then; or that it cannot be read. */
function read(Class: typeof DataChangeNotification, bytes: Buffer): { changes: Change[]; end: number } | "unreadable" {
  const stream = new BinaryStream(bytes);
  stream.length = 4;
  const made = new Class(null);
  try {
    made.decode(stream);
  } catch {
    return "unreadable";
  }
  const { length: end } = stream;
  if (Class !== Ours) return { changes: itemsOf(made), end };
  const changes = listed(made);
  // To the library's own monitored items it is as if the library had read it.
  expect(itemsOf(made)).toEqual(changes);
  return { changes, end };
}

it("reads every notification as the library does: all types, arrays, times, picoseconds, statuses, diagnostics, broken bytes", () => {
  fc.assert(
    fc.property(notification, fc.nat(), fc.boolean(), (options, at, isCut) => {
      const whole = bytesOf(options);
      const cut = 4 + (at % Math.max(1, whole.length - 4));
      const bytes = isCut ? whole.subarray(0, cut) : whole;
      expect(read(Ours, bytes)).toEqual(read(DataChangeNotification, bytes));
    }),
    { numRuns: 500 },
  );
});

it("reads flipped bits as the library does", () => {
  fc.assert(
    fc.property(notification, fc.nat(), fc.integer({ min: 1, max: 255 }), (options, at, bits) => {
      const bytes = bytesOf(options);
      const where = 4 + (at % (bytes.length - 4));
      bytes.writeUInt8(bytes.readUInt8(where) ^ bits, where);
      expect(read(Ours, bytes)).toEqual(read(DataChangeNotification, bytes));
    }),
    { numRuns: 300 },
  );
});

it("takes the changes of a message once, whoever has read them", () => {
  const value = { value: variantOf("Double", 1.5) };
  const monitoredItems = [{ clientHandle: 1, value }];
  for (const diagnosticInfos of [[], [{ symbolicId: 1 }]]) {
    const stream = new BinaryStream(bytesOf({ monitoredItems, diagnosticInfos }));
    stream.length = 4;
    const made = new Ours(null);
    made.decode(stream);
    const message = new NotificationMessage({});
    message.notificationData = [made];
    const taken = Array.from({ length: 2 }, () =>
      takeChanges({ opcua: { DataChangeNotification } } as unknown as OpcuaLibrary, message),
    );
    expect(taken.map((lists) => lists.map(({ values }) => values))).toEqual([[[1.5]], []]);
    expect(made.monitoredItems).toEqual([]);
  }
});

it("leaves it to the library how many changes are too many", () => {
  const count = BinaryStream.maxArrayLength + 1;
  const head = Buffer.alloc(8);
  head.writeUInt32LE(count, 4);
  const truth = Buffer.from([0, 0, 0, 0, 1, DataType.Boolean, 1]);
  const bytes = Buffer.concat([head, Buffer.alloc(truth.length * count, truth), Buffer.alloc(4)]);
  const found = [DataChangeNotification, Ours].map((Class) => read(Class, bytes) === "unreadable");
  expect(found).toEqual([true, true]);
});

it("reads good numbers with their times by itself, and leaves to the library what it has to", () => {
  const sourceTimestamp = new Date(1_750_000_000_123);
  const timed = { sourceTimestamp, sourcePicoseconds: 4_560_000, serverTimestamp: sourceTimestamp };
  const items = numbers.map((type, clientHandle) => {
    const [value] = fc.sample(scalars[type] as fc.Arbitrary<unknown>, 1);
    return { clientHandle, value: { value: variantOf(type, value), ...timed } };
  });
  leftToLibrary = 0;
  const found = read(Ours, bytesOf({ monitoredItems: items })) as { changes: Change[] };
  expect(found.changes.map(({ sourceMs }) => sourceMs)).toEqual(items.map(() => 1_750_000_000_123));
  expect(found.changes.map(({ value }) => value)).toEqual(
    new DataChangeNotification({ monitoredItems: items as never }).monitoredItems?.map(({ value }) => {
      const told = opcuaValueOf(value as never);
      // As it came over the wire: a float is one, a pair no tuple.
      return told.dataType === DataType.Float ? Math.fround(told.value as number) : told.value;
    }),
  );
  expect(leftToLibrary).toBe(0);
  const text = { clientHandle: 99, value: { value: variantOf("String", "on"), ...timed } };
  const mixed = read(Ours, bytesOf({ monitoredItems: [...items, text, ...items] })) as { changes: Change[] };
  expect(mixed.changes[items.length]).toMatchObject({ clientHandle: 99, value: "on", sourceMs: 1_750_000_000_123 });
  expect([mixed.changes.length, leftToLibrary]).toEqual([2 * items.length + 1, 1]);
});
