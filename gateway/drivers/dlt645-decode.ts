import { Status } from "@jilian/domain/quality.ts";

/** A number as a meter holds it: BCD, two digits a byte, least significant byte first (DL/T 645-2007, 5.3.2 and annex A). */
export type NumberFormat = {
  /** Even: two in a byte. */
  readonly digits: number;
  /** Digits behind the decimal point. */
  readonly places: number;
  /** Whether the top bit of the first digit is the sign: 0 positive, 1 negative (annex A, notes to tables A.1 and A.3). */
  readonly signed: boolean;
};

/** Digits that an integer of 32 bits holds. */
const maxDigits32 = 9;
/** A 64-bit integer holds 18; meters have no register of more than 12. */
export const maxDigits = 16;

/** Reads a format as the standard writes it (`XXXXXX.XX`); undefined when it is none. */
export function parseFormat(text: string, signed: boolean): NumberFormat | undefined {
  const [, whole, fraction = ""] = /^([XN]+)(?:\.([XN]+))?$/.exec(text) ?? [];
  if (whole === undefined) return undefined;
  const digits = whole.length + fraction.length;
  return digits % 2 === 0 && digits <= maxDigits ? { digits, places: fraction.length, signed } : undefined;
}

/** The integer type whose counts are a format's last digit. */
export function integerTypeOf({ digits, signed }: NumberFormat): "int32" | "uint32" | "int64" | "uint64" {
  const bits = digits > maxDigits32 ? 64 : 32;
  return `${signed ? "" : "u"}int${bits}`;
}

/** Counts of the last digit; null with a bad status where the bytes are no number. */
export type Decoded = { readonly value: number | bigint | null; readonly status: number };

const bad = (status: number): Decoded => ({ value: null, status });

/**
 * Reads one number as whole counts of its last digit (123456.78 kWh is 12345678): decimal digits become an integer, and no float comes
 * between. Bytes that are all FFH say that the meter has no value (a single-phase meter says so of phases B and C): BadSensorFailure.
 * Other digits beyond 9, and another number of bytes than the format has, are BadDecodingError.
 * @param bytes data as the meter holds them, without the 33H of the way
 */
export function decodeNumber(bytes: Buffer, format: NumberFormat): Decoded {
  if (bytes.length !== format.digits / 2) return bad(Status.BadDecodingError);
  if (bytes.every((byte) => byte === 0xff)) return bad(Status.BadSensorFailure);
  const top = bytes.readUInt8(bytes.length - 1);
  const negative = format.signed && (top & 0x80) !== 0;
  const mostFirst = Buffer.from(bytes).reverse();
  if (negative) mostFirst.writeUInt8(top & 0x7f, 0);
  const digits = mostFirst.toString("hex");
  if (!/^\d+$/.test(digits)) return bad(Status.BadDecodingError);
  const counts = BigInt(negative ? `-${digits}` : digits);
  return { value: format.digits > maxDigits32 ? counts : Number(counts), status: Status.Good };
}
