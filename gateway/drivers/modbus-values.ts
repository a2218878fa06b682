import type { Value } from "@jilian/domain/datatypes.ts";
import { Status } from "@jilian/domain/quality.ts";
import type { Logger } from "pino";
import type { ModbusTag, ModbusUnit } from "./modbus-config.ts";
import { bcdBits, decodeBcd, decodeBit, decodeRegisters, decodeText } from "./modbus-decode.ts";
import { isBitTable } from "./modbus-facts.ts";
import { usableValue } from "./raw-value.ts";
import { sentinelTest } from "./sentinels.ts";
import { isBcd } from "./value-types.ts";

/** What was read for a tag: a value, or null with the reason. */
type Read = { readonly value: Value; readonly status: number };

/** @param offset register of the answer at which the tag begins; of coils and discrete inputs its bit */
export type TagDecoder = (bytes: Buffer, offset: number) => Read;

const undecodable: Read = { value: null, status: Status.BadDecodingError };

/** How one tag's value is found in an answer. Bytes that are no digits, or no text, turn it bad (BadDecodingError). */
export function tagDecoder(tag: ModbusTag, device: ModbusUnit): TagDecoder {
  const { type, bit, sign, lengthRegisters = 1, encoding = "ascii" } = tag;
  if (isBitTable(tag)) return (bytes, offset) => ({ value: decodeBit(bytes, offset), status: Status.Good });
  const order = tag.order ?? device.order;
  if (type === "string") {
    return (bytes, offset) => {
      const text = decodeText(bytes, 2 * offset, lengthRegisters, order, encoding);
      return text === undefined ? undecodable : { value: text, status: Status.Good };
    };
  }
  const sentinels = sentinelTest(tag, device);
  if (!isBcd(type))
    return (bytes, offset) => usableValue(decodeRegisters(bytes, 2 * offset, type, order, bit), type, sentinels);
  return (bytes, offset) => {
    const bits = bcdBits(bytes, 2 * offset, type, order);
    if (sentinels?.isPattern(bits)) return { value: null, status: Status.BadSensorFailure };
    const value = decodeBcd(bits, type, sign);
    return value === undefined ? undecodable : usableValue(value, type, sentinels);
  };
}

/** The decoders of a device's tags, by position. A tag whose bytes cannot be decoded is logged once, until they can. */
export function tagDecoders(device: ModbusUnit, log: Logger): TagDecoder[] {
  return device.tags.map((tag) => {
    const decode = tagDecoder(tag, device);
    let told = false;
    return (bytes, offset) => {
      const read = decode(bytes, offset);
      const fails = read.status === Status.BadDecodingError;
      if (fails && !told) {
        const what = tag.type === "string" ? `text in ${tag.encoding ?? "ascii"}` : `digits of ${tag.type}`;
        const { name, table, address } = tag;
        log.warn({ device: device.id, tag: name, table, address }, `no ${what}: check address, type and order`);
      }
      told = fails;
      return read;
    };
  });
}
