import { duplicates, type SemanticFault } from "@jilian/domain/check-config.ts";
import { idPattern } from "@jilian/domain/identity.ts";
import { type Static, Type } from "typebox";
import { parseFormat } from "./dlt645-decode.ts";
import { knownData } from "./dlt645-ids.ts";
import { dataIdOf, dlt645Common } from "./dlt645-tags.ts";
import {
  type CommonDevice,
  type CommonTag,
  commonDeviceFaults,
  commonDeviceKeys,
  commonTagFaults,
  commonTagKeys,
  faultsBelow,
  strict,
} from "./tag-config.ts";

const tagSchema = Type.Object(
  {
    ...commonTagKeys,
    dataId: Type.String({
      pattern: "^[0-9A-Fa-f]{8}$",
      description: 'data identifier DI3 DI2 DI1 DI0 as the standard writes it, in quotes: "00010000"',
    }),
    format: Type.Optional(
      Type.String({
        pattern: "^[XN]+(\\.[XN]+)?$",
        description: "digits as the standard writes them: XXXXXX.XX; known for the common identifiers",
      }),
    ),
    signed: Type.Optional(Type.Boolean({ description: "whether the top bit is the sign; only beside a format" })),
  },
  strict,
);

/** A meter of DL/T 645-2007 on a line that devices share. */
export const dlt645DeviceSchema = Type.Object(
  {
    // The slowest meters take 0.5 s to begin (5.3.3), and at 1200 bit/s the longest answer takes another 2 s; most are far below.
    ...commonDeviceKeys(2000),
    driver: Type.Literal("dlt645"),
    line: Type.String({ pattern: idPattern, description: "id of the line that the meter is on" }),
    meterAddress: Type.String({
      pattern: "^[0-9]{12}$",
      description: "12 digits in quotes, as printed on the meter, zeros in front",
    }),
    tags: Type.Array(tagSchema, { minItems: 1 }),
  },
  strict,
);

export type Dlt645Device = Static<typeof dlt645DeviceSchema>;
export type Dlt645Tag = Dlt645Device["tags"][number];

function tagFaults(tag: Dlt645Tag, common: CommonTag, device: CommonDevice, base: string): SemanticFault[] {
  const { faults, check } = faultsBelow(base);
  const dataId = dataIdOf(tag);
  const isBlock = /^(?:..)*FF/.test(dataId);
  const own = "the identifier of one value, not of a block (FF)";
  check(!isBlock, "/dataId", own, "write a tag for each value: those of one block are read together anyway");
  const isId = /^[0-9A-F]{8}$/.test(dataId);
  const isKnown = !isId || isBlock || tag.format !== undefined || knownData(dataId) !== undefined;
  check(isKnown, "/format", "a format, for the identifier is not one of the known ones", 'add "format": XXXXXX.XX');
  const readable = tag.format === undefined || parseFormat(tag.format, false) !== undefined;
  check(readable, "/format", "an even number of digits, 16 at most", "write it as the meter's manual does");
  const beside = "signed only beside a format; the known identifiers have their sign";
  check(tag.signed === undefined || tag.format !== undefined, "/signed", beside, 'remove it, or add "format"');
  const fits = Number.isSafeInteger(common.scale.denominator);
  check(fits, "/scale/denominator", "one that is exact beside the format's places", "write a smaller one");
  if (fits) commonTagFaults(common, device, check);
  return faults;
}

/** The checks of one device that its schema cannot express. Pure. */
export function dlt645DeviceFaults(device: Dlt645Device, base: string): SemanticFault[] {
  const common = dlt645Common(device);
  const faults = commonDeviceFaults(common, base);
  const { faults: own, check } = faultsBelow(base);
  const isOne = device.meterAddress !== "9".repeat(12);
  check(
    isOne,
    "/meterAddress",
    "the address of one meter",
    "999999999999 is the broadcast address: no meter answers it",
  );
  const ids = device.tags.map(dataIdOf);
  faults.push(...own, ...duplicates(`${base}/tags`, ids, "data identifier of the meter", "dataId"));
  for (const [i, tag] of device.tags.entries())
    faults.push(...tagFaults(tag, common.tags[i] as CommonTag, common, `${base}/tags/${i}`));
  return faults;
}
