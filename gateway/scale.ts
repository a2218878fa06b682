import { DataType, type DataTypeNumber, isInteger, type Value } from "@jilian/domain/datatypes.ts";
import { type Decimal, decimalOf, formatDecimal, type Rational, scaleExactly } from "@jilian/domain/decimal.ts";
import { Status } from "@jilian/domain/quality.ts";
import { isWholeLine, type Line, valueOnLine } from "./linear.ts";

/** A scaled value; the status is Good, or says what scaling did to it. */
export type Scaled = { value: Value; status: number };

export type Scaler = {
  /** Sparkplug type of what `scale` gives. */
  readonly datatype: DataTypeNumber;
  /** True when values pass unchanged. */
  readonly identity: boolean;
  readonly scale: (raw: number | bigint) => Scaled;
};

/** A double reads back every decimal of up to 15 digits as that decimal: below this, no check is needed. */
const exactDigits = 1e15;
const one: Decimal = { digits: 1n, scale: 0 };

function good(value: Value): Scaled {
  return { value, status: Status.Good };
}

export function outOfRange(): Scaled {
  return { value: null, status: Status.BadOutOfRange };
}

/** The number nearest to a decimal; uncertain when its shortest form is not that decimal. */
export function nearest(decimal: Decimal): Scaled {
  const text = formatDecimal(decimal);
  const value = Number(text);
  if (!Number.isFinite(value)) return outOfRange();
  const exact = formatDecimal(decimalOf(value)) === text;
  return { value, status: exact ? Status.Good : Status.UncertainDataSubNormal };
}

function wholeScaler(factor: bigint): Scaler["scale"] {
  return (raw) => wholeNumber(BigInt(raw) * factor);
}

function integerScaler(factor: Rational): Scaler["scale"] {
  const { numerator, denominator } = factor;
  const unit = scaleExactly(one, { numerator: 1, denominator });
  // Digits that one count of raw x numerator adds to the decimal: 1 for /1000, 125 for /8, unknown for /3.
  const digitsPerCount = unit === undefined ? 0 : Number(unit.digits);
  return (raw) => {
    const product = Number(raw) * numerator;
    // Division of two exact integers is rounded correctly (IEEE 754), hence the double nearest to the quotient: no bigint needed.
    if (Number.isSafeInteger(product) && Math.abs(product) * digitsPerCount < exactDigits) {
      return good(product / denominator);
    }
    const exact = scaleExactly(decimalOf(raw), factor);
    return exact === undefined ? good((Number(raw) * numerator) / denominator) : nearest(exact);
  };
}

function floatScaler(factor: Rational, float32: boolean): Scaler["scale"] {
  return (raw) => {
    const exact = scaleExactly(decimalOf(raw, float32), factor);
    if (exact !== undefined) return nearest(exact);
    const value = (Number(raw) * factor.numerator) / factor.denominator;
    return Number.isFinite(value) ? good(value) : outOfRange();
  };
}

/**
 * How raw values become engineering values (CONTRACTS 5): raw x numerator / denominator, decided once per tag.
 * - Factor 1 keeps the native type.
 * - An integer with a whole factor becomes Int64 (a product beyond it is BadOutOfRange).
 * - Anything else becomes Double: the number nearest to the exact decimal, where a 32-bit float stands for its shortest decimal.
 *   A decimal that no double stands for (more than 15-17 digits) is UncertainDataSubNormal. A factor without a finite decimal (5/9)
 *   has no exact value to miss; it gives the nearest number, and the configuration does not allow it on counters.
 */
export function createScaler(native: DataTypeNumber, factor: Rational): Scaler {
  if (factor.numerator === factor.denominator) return { datatype: native, identity: true, scale: good };
  if (!isInteger(native)) {
    return { datatype: DataType.Double, identity: false, scale: floatScaler(factor, native === DataType.Float) };
  }
  if (factor.numerator % factor.denominator === 0) {
    const whole = BigInt(factor.numerator / factor.denominator);
    return { datatype: DataType.Int64, identity: false, scale: wholeScaler(whole) };
  }
  return { datatype: DataType.Double, identity: false, scale: integerScaler(factor) };
}

/** A whole number as Int64. */
export function wholeNumber(value: bigint): Scaled {
  return BigInt.asIntN(64, value) === value ? good(value) : outOfRange();
}

/**
 * The same for a straight line that does not go through 0. Integers are exact: where the decimal has more digits than a double, or none
 * that ends, as {@link createScaler} has it. A float is no nearer to the truth than its own last digit: it gives the nearest number.
 */
export function createLineScaler(native: DataTypeNumber, line: Line): Scaler {
  if (isInteger(native) && isWholeLine(line)) {
    const whole = (raw: number | bigint) => (BigInt(raw) * line.numerator + line.constant) / line.denominator;
    return { datatype: DataType.Int64, identity: false, scale: (raw) => wholeNumber(whole(raw)) };
  }
  const float32 = native === DataType.Float;
  return {
    datatype: DataType.Double,
    identity: false,
    scale: (raw) => {
      const { exact, ...decimal } = valueOnLine(line, decimalOf(raw, float32));
      const scaled = nearest(decimal);
      return scaled.value !== null && !(exact && isInteger(native)) ? good(scaled.value) : scaled;
    },
  };
}

/** A number of counts in engineering units, as a decimal string; undefined where it has no finite decimal. */
export function countsInUnit(counts: bigint, factor: Rational): string | undefined {
  const exact = scaleExactly({ digits: counts, scale: 0 }, factor);
  return exact === undefined ? undefined : formatDecimal(exact);
}

/** Whether a change is smaller than a deadband. Values of two kinds are always a change. */
export function isWithin(deadband: number, a: Value, b: Value): boolean {
  if (typeof a === "number" && typeof b === "number") return Math.abs(a - b) < deadband;
  if (typeof a === "bigint" && typeof b === "bigint") return Math.abs(Number(a - b)) < deadband;
  return false;
}
