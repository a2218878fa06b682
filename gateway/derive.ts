import { DataType, type DataTypeNumber, isInteger, type Value } from "@jilian/domain/datatypes.ts";
import { atScale, type Decimal, decimalOf, divideExactly } from "@jilian/domain/decimal.ts";
import { qualityOf, Status } from "@jilian/domain/quality.ts";
import { converterOf } from "./convert.ts";
import type { CommonDevice, DerivedTag } from "./drivers/tag-config.ts";
import { divideClosely } from "./linear.ts";
import type { RawReading } from "./model.ts";
import { nearest, outOfRange, wholeNumber } from "./scale.ts";

type Valued = { value: Value; status: number };
/** What a tag was last seen as, after conversion. */
type Seen = Valued & { sourceTimeMs: number | undefined };

type Derivation = {
  readonly datatype: DataTypeNumber;
  /** Positions of its inputs in the device's tags. */
  readonly inputs: readonly number[];
  readonly compute: (inputs: readonly Valued[]) => Valued;
};

const unseen: Seen = { value: null, status: Status.BadWaitingForInitialData, sourceTimeMs: undefined };

function times(a: Decimal, b: Decimal): Decimal {
  return { digits: a.digits * b.digits, scale: a.scale + b.scale };
}

function plus(a: Decimal, b: Decimal): Decimal {
  const scale = Math.max(a.scale, b.scale);
  return { digits: atScale(a, scale) + atScale(b, scale), scale };
}

/** The number nearest to a decimal. */
function closest(decimal: Decimal, exact: boolean): Valued {
  const { value, status } = nearest(decimal);
  return { value, status: exact || value === null ? status : Status.Good };
}

/** Quotient of two decimals; by 0 there is none, which is bad. */
function quotient(a: Decimal, b: Decimal): Valued {
  if (b.digits === 0n) return outOfRange();
  const scale = Math.max(a.scale, b.scale);
  const [dividend, divisor] = [atScale(a, scale), atScale(b, scale)];
  return closest(divideExactly(dividend, divisor) ?? divideClosely(dividend, divisor), false);
}

/** The worst status of the inputs, of two as bad the first. */
function worst(inputs: readonly Valued[]): number {
  return inputs.reduce(
    (status, input) => (input.status >>> 30 > status >>> 30 ? input.status : status),
    Status.Good as number,
  );
}

/**
 * How a derived tag follows from its inputs: with exact decimals, so that no order of adding matters and 0.1 + 0.2 is 0.3. Whole inputs and
 * weights give an Int64. A sum of exact inputs that no double holds is UncertainDataSubNormal, one beyond 64 bits BadOutOfRange; so is a
 * division by zero.
 */
export function derivationOf({ operation, of }: DerivedTag, device: CommonDevice): Derivation {
  const inputs = of.map(({ tag }) => device.tags.findIndex(({ name }) => name === tag));
  const weights = of.map(({ weight }, i) => decimalOf(operation === "difference" && i > 0 ? -weight : weight));
  const converters = inputs.map((i) => converterOf(device.tags[i] as CommonDevice["tags"][number]));
  const whole = operation !== "ratio" && converters.every(({ datatype }) => isInteger(datatype));
  const isWhole = whole && weights.every(({ scale, digits }) => scale === 0 || digits % 10n ** BigInt(scale) === 0n);
  const exact = converters.every((converter) => converter.exact);

  function combine(values: readonly Valued[]): Valued {
    const terms = values.map(({ value }, i) => {
      const float32 = converters[i]?.datatype === DataType.Float;
      return times(decimalOf(value as number | bigint, float32), weights[i] as Decimal);
    });
    if (operation === "ratio") return quotient(terms[0] as Decimal, terms[1] as Decimal);
    const sum = terms.reduce(plus);
    return isWhole ? wholeNumber(atScale(sum, 0)) : closest(sum, exact);
  }

  return {
    datatype: isWhole ? DataType.Int64 : DataType.Double,
    inputs,
    compute(values) {
      const status = worst(values);
      if (qualityOf(status) === "bad" || values.some(({ value }) => value === null)) {
        return { value: null, status: qualityOf(status) === "bad" ? status : Status.Bad };
      }
      const result = combine(values);
      return { value: result.value, status: worst([{ value: null, status }, result]) };
    },
  };
}

export type Deriver = {
  /** What a tag is now, after conversion. */
  readonly see: (tag: number, seen: Valued, sourceTimeMs: number | undefined) => void;
  /** The readings of the derived tags of which an input was seen since the last call; their positions follow those of the tags. */
  readonly take: () => RawReading[];
  /** The device is lost: nothing that was seen is true any more. */
  readonly forget: () => void;
};

/**
 * Computes a device's derived tags, once a poll: of several changes between two polls the last of each input counts. The source time is the
 * latest of the inputs' where the protocol tells times.
 */
export function createDeriver(device: CommonDevice): Deriver {
  const derivations = (device.derived ?? []).map((derived) => derivationOf(derived, device));
  const inUse = new Set(derivations.flatMap(({ inputs }) => inputs));
  const seen = new Map<number, Seen>();
  const fresh = new Set<number>();
  return {
    see(tag, { value, status }, sourceTimeMs) {
      if (!inUse.has(tag)) return;
      seen.set(tag, { value, status, sourceTimeMs });
      fresh.add(tag);
    },
    take() {
      const readings = derivations.flatMap(({ inputs, compute }, i): RawReading[] => {
        if (!inputs.some((input) => fresh.has(input))) return [];
        const values = inputs.map((input) => seen.get(input) ?? unseen);
        const sourceTimes = values.flatMap(({ sourceTimeMs }) => sourceTimeMs ?? []);
        const reading = { tag: device.tags.length + i, ...compute(values) };
        return [sourceTimes.length > 0 ? { ...reading, sourceTimeMs: Math.max(...sourceTimes) } : reading];
      });
      fresh.clear();
      return readings;
    },
    forget: () => seen.clear(),
  };
}
