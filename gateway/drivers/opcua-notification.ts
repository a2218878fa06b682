import type { DataChangeNotification, MonitoredItemNotification } from "node-opcua-client";
import { type OpcuaValue, opcuaValueOf } from "./opcua-decode.ts";

/**
 * Reads notifications of changes (OPC 10000-4, 7.25.2; bytes in OPC 10000-6, 5.2.2.16 and 5.2.2.17) without the library's objects, of which
 * each change would have seven. Only the form that nearly all have is read here: one plain number, good, with times. Whatever else comes is
 * left to the library.
 */

/**
 * The changes of a notification in their order, in columns: an object for each would live just long enough to be moved to where only a large
 * collection of garbage finds it.
 */
export type Changes = {
  readonly clientHandles: number[];
  /** Built-in types of the values; those of arrays have {@link arrayBit} set. */
  readonly types: number[];
  readonly values: unknown[];
  readonly statuses: number[];
  /** Source times, UTC ms; NaN for none. */
  readonly times: number[];
};

/** Of a BinaryStream: its bytes, and where the next is read. */
type Stream = { readonly buffer: Uint8Array; length: number };
type StreamClass = new (bytes: Uint8Array) => Stream;
type Cursor = { readonly view: DataView; at: number };
type WithDecode = { decode(stream: Stream): void };
type Read = DataChangeNotification & WithDecode & { changes?: Changes | undefined };
/** What is used of the library. */
type Library = {
  readonly DataChangeNotification: { new (options: null): DataChangeNotification; readonly prototype: object };
  readonly MonitoredItemNotification: new (options: null) => MonitoredItemNotification;
};

/** Bits of the mask that a DataValue begins with (OPC 10000-6, 5.2.2.17). */
const has = { value: 0x01, sourceTime: 0x04, serverTime: 0x08, sourcePicoseconds: 0x10, serverPicoseconds: 0x20 };
const usual = has.value | has.sourceTime | has.serverTime | has.sourcePicoseconds | has.serverPicoseconds;
/** Bytes of the built-in types that are read here, by their numbers (OPC 10000-6, 5.1.2): Boolean to Double. A Variant's array bits are none. */
const sizes: readonly number[] = [0, 1, 1, 1, 2, 2, 4, 4, 8, 8, 4, 8];
/** Of the byte that a Variant begins with, as in {@link Changes.types}. */
const arrayBit = 0x80;
/** A client handle, a mask, and the type of a Variant. */
const headBytes = 6;
/** As the length of an array: there is none. */
const noArray = 0xffffffff;
/** A handle and a mask: no change is shorter. */
const leastBytes = 5;
/** Far beyond what we ask for. How many are too many in one message the library says: it reads no array that is longer. */
const mostChanges = 100_000;

/** From 1601, where OPC UA counts from, to 1970. */
const epochMs = 11_644_473_600_000;
/** Steps of 100 ns in a ms; 2^32 of them are so many whole ms, and a rest. */
const stepsPerMs = 10_000;
const highMs = Math.floor(2 ** 32 / stepsPerMs);
const highSteps = 2 ** 32 % stepsPerMs;

/** A number of built-in type 1 to 11, as the library would give it. */
function numberAt(view: DataView, at: number, dataType: number): unknown {
  switch (dataType) {
    case 1:
      return view.getUint8(at) !== 0;
    case 2:
      return view.getInt8(at);
    case 3:
      return view.getUint8(at);
    case 4:
      return view.getInt16(at, true);
    case 5:
      return view.getUint16(at, true);
    case 6:
      return view.getInt32(at, true);
    case 7:
      return view.getUint32(at, true);
    case 10:
      return view.getFloat32(at, true);
    case 11:
      return view.getFloat64(at, true);
    default:
      return [view.getUint32(at + 4, true), view.getUint32(at, true)];
  }
}

/** A DateTime, UTC ms; NaN before 1970. In two halves: the whole is beyond 2^53. */
function timeAt(view: DataView, at: number): number {
  const low = view.getUint32(at, true);
  const high = view.getUint32(at + 4, true);
  const timeMs = high * highMs + Math.floor((high * highSteps + low) / stepsPerMs) - epochMs;
  return timeMs > 0 ? timeMs : Number.NaN;
}

const noChanges = (): Changes => ({ clientHandles: [], types: [], values: [], statuses: [], times: [] });

/**
 * Reads one change into the columns.
 * @returns false where it is of another form: nothing is read then
 * @throws RangeError where the bytes end amid it
 */
function takeChange(from: Cursor, to: Changes): boolean {
  const { view } = from;
  const clientHandle = view.getUint32(from.at, true);
  const mask = view.getUint8(from.at + 4);
  if ((mask & has.value) === 0 || (mask & ~usual) !== 0) return false;
  const dataType = view.getUint8(from.at + 5);
  const bytes = sizes[dataType] ?? 0;
  if (bytes === 0) return false;
  let at = from.at + headBytes;
  const value = numberAt(view, at, dataType);
  at += bytes;
  let timeMs = Number.NaN;
  if ((mask & has.sourceTime) !== 0) {
    timeMs = timeAt(view, at);
    at += 8;
  }
  if ((mask & has.sourcePicoseconds) !== 0) at += 2;
  if ((mask & has.serverTime) !== 0) {
    if (Number.isNaN(timeMs)) timeMs = timeAt(view, at);
    at += 8;
  }
  if ((mask & has.serverPicoseconds) !== 0) at += 2;
  if (at > view.byteLength) throw new RangeError("a change ends beyond its message");
  from.at = at;
  to.clientHandles.push(clientHandle);
  to.types.push(dataType);
  to.values.push(value);
  to.statuses.push(0);
  to.times.push(timeMs);
  return true;
}

/** Adds a change that the library has read. */
function addItem(to: Changes, { clientHandle, value: read }: MonitoredItemNotification): void {
  const { dataType, isArray, value, status, sourceMs } = opcuaValueOf(read);
  to.clientHandles.push(clientHandle);
  to.types.push(isArray ? dataType | arrayBit : dataType);
  to.values.push(value);
  to.statuses.push(status);
  to.times.push(sourceMs ?? Number.NaN);
}

/** Reads a whole notification. @returns nothing where the library is to read it: the stream stands as it stood then */
function takeChanges(stream: Stream, byLibrary: () => MonitoredItemNotification): Changes | undefined {
  const { buffer, length: begin } = stream;
  const view = new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength);
  const count = view.getUint32(begin, true);
  if (count > mostChanges || count * leastBytes > view.byteLength - begin) return undefined;
  const from: Cursor = { view, at: begin + 4 };
  const changes = noChanges();
  for (let i = 0; i < count; i += 1) {
    if (takeChange(from, changes)) continue;
    stream.length = from.at;
    addItem(changes, byLibrary());
    from.at = stream.length;
  }
  const diagnostics = view.getUint32(from.at, true);
  if (diagnostics !== 0 && diagnostics !== noArray) {
    stream.length = begin;
    return undefined;
  }
  stream.length = from.at + 4;
  return changes;
}

/** Has the changes of a notification as the library's objects for who asks for them: its own monitored items do, which we do not use. */
function leaveItems(notification: DataChangeNotification, byLibrary: () => DataChangeNotification["monitoredItems"]) {
  let items: DataChangeNotification["monitoredItems"] | undefined;
  Object.defineProperty(notification, "monitoredItems", {
    get: () => {
      items ??= byLibrary();
      return items;
    },
    set: (others: DataChangeNotification["monitoredItems"]) => {
      items = others;
    },
  });
}

/**
 * Has the library's notifications of changes read by the above. In place of their own `decode`: the library offers no other way to read a
 * message of its own types.
 */
export function readChangesOurselves({ DataChangeNotification, MonitoredItemNotification }: Library): void {
  const notification = DataChangeNotification.prototype as Read;
  const decode = notification.decode;
  notification.decode = function (this: Read, stream: Stream): void {
    const begin = stream.length;
    let changes: Changes | undefined;
    try {
      changes = takeChanges(stream, () => {
        const item = new MonitoredItemNotification(null);
        (item as unknown as WithDecode).decode(stream);
        return item;
      });
    } catch {
      // Broken bytes: what that means the library says.
      stream.length = begin;
    }
    if (changes === undefined) decode.call(this, stream);
    else {
      this.changes = changes;
      leaveItems(this, () => {
        const again = new (stream.constructor as StreamClass)(stream.buffer);
        again.length = begin;
        const own = new DataChangeNotification(null);
        decode.call(own as Read, again);
        return own.monitoredItems;
      });
    }
  };
}

/** Takes the changes out of a notification that we have read, or tells those of one that the library has. */
export function changesOf(notification: DataChangeNotification): Changes {
  const ours = notification as Read;
  const read = ours.changes;
  ours.changes = undefined;
  if (read !== undefined) return read;
  const changes = noChanges();
  for (const item of notification.monitoredItems ?? []) addItem(changes, item);
  return changes;
}

/** One of them: not to be kept. */
export function changeAt({ types, values, statuses, times }: Changes, i: number): OpcuaValue {
  const type = types[i] as number;
  const timeMs = times[i] as number;
  return {
    dataType: type & ~arrayBit,
    isArray: (type & arrayBit) !== 0,
    value: values[i],
    status: statuses[i] as number,
    sourceMs: Number.isNaN(timeMs) ? undefined : timeMs,
  };
}
