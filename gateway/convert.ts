import { DataType, type DataTypeNumber, type Value } from "@jilian/domain/datatypes.ts";
import { scaleExactly } from "@jilian/domain/decimal.ts";
import { qualityOf, Status } from "@jilian/domain/quality.ts";
import type { CommonTag } from "./drivers/tag-config.ts";
import { isIntegerType, valueTypes } from "./drivers/value-types.ts";
import { isDecimalLine, type Line, lineOfOffset, lineOfRanges } from "./linear.ts";
import { createLineScaler, createScaler, type Scaler } from "./scale.ts";

type Valued = { value: Value; status: number };

/** From a raw value to the one that is published. */
export type Converter = {
  /** Sparkplug type of what `convert` gives. */
  readonly datatype: DataTypeNumber;
  /** True where every value is the exact decimal of a count, or says that it is not. */
  readonly exact: boolean;
  readonly isEnumeration: boolean;
  readonly convert: (raw: Valued) => Valued;
};

type Bounds = { readonly min?: number | undefined; readonly max?: number | undefined };

const isNumber = (value: Value): value is number | bigint => typeof value === "number" || typeof value === "bigint";

/** How the value follows from the raw one, where that is more than a factor. */
function lineOf({ scale, rawRange, euRange }: CommonTag): Line | undefined {
  if (rawRange !== undefined && euRange !== undefined) return lineOfRanges(rawRange, euRange);
  return scale.offset === undefined ? undefined : lineOfOffset(scale, scale.offset);
}

function scalerOf(tag: CommonTag, line: Line | undefined): Scaler {
  const { datatype } = valueTypes[tag.type];
  return line === undefined ? createScaler(datatype, tag.scale) : createLineScaler(datatype, line);
}

/** Whether a value lies outside; bigints and numbers compare exactly. */
export function isOutside(value: Value, { min = Number.NEGATIVE_INFINITY, max = Number.POSITIVE_INFINITY }: Bounds) {
  return isNumber(value) && (value < min || value > max);
}

/** The status of a value that is outside of its `range`: kept as it is, and bad. */
export function checkedRange({ value, status }: Valued, range: Bounds = {}): Valued {
  const outside = isOutside(value, range) && qualityOf(status) !== "bad";
  return { value, status: outside ? Status.BadOutOfRange : status };
}

/**
 * Texts or codes for numbers. A number without an entry has none, and is bad: passed on as it is, it could be the code of another state.
 */
function enumerationOf(enumeration: NonNullable<CommonTag["enumeration"]>): Converter {
  const codes = new Map(Object.entries(enumeration));
  const isText = [...codes.values()].some((code) => typeof code === "string");
  return {
    datatype: isText ? DataType.String : DataType.Int32,
    exact: false,
    isEnumeration: true,
    convert({ value, status }) {
      if (value === null || qualityOf(status) === "bad") return { value: null, status };
      const code = codes.get(String(value));
      return code === undefined ? { value: null, status: Status.BadOutOfRange } : { value: code, status };
    },
  };
}

/**
 * The conversion of a tag: enumeration, or scale and then `range`. Nothing is clamped: beyond `rawRange` a value goes on along its line and
 * is UncertainEngineeringUnitsExceeded, outside of `range` it is BadOutOfRange. Of two reasons the worse is told; of two as bad the first.
 */
export function converterOf(tag: CommonTag): Converter {
  if (tag.enumeration !== undefined) return enumerationOf(tag.enumeration);
  const line = lineOf(tag);
  const { datatype, identity, scale } = scalerOf(tag, line);
  const decimal =
    line === undefined ? scaleExactly({ digits: 1n, scale: 0 }, tag.scale) !== undefined : isDecimalLine(line);
  return {
    datatype,
    exact: isIntegerType(tag.type) && decimal,
    isEnumeration: false,
    convert(raw) {
      if (identity && tag.range === undefined) return raw;
      let { value, status } = raw;
      const worsen = (to: number) => {
        if (to >>> 30 > status >>> 30) status = to;
      };
      if (!identity && isNumber(value)) {
        if (isOutside(value, tag.rawRange ?? {})) worsen(Status.UncertainEngineeringUnitsExceeded);
        const scaled = scale(value);
        value = scaled.value;
        worsen(scaled.status);
      }
      return checkedRange({ value, status }, tag.range);
    },
  };
}
