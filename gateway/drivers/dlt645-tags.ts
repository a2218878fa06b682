import type { Dlt645Device, Dlt645Tag } from "./dlt645-config.ts";
import { integerTypeOf, type NumberFormat, parseFormat } from "./dlt645-decode.ts";
import { knownData } from "./dlt645-ids.ts";
import type { CommonDevice, CommonTag } from "./tag-config.ts";
import { isCounted, isCounter } from "./tag-facts.ts";

/** The tag's identifier as the tables and plans know it. */
export function dataIdOf({ dataId }: Dlt645Tag): string {
  return dataId.toUpperCase();
}

/** The format of a tag, its own or the standard's; undefined where neither is there. */
export function formatOf(tag: Dlt645Tag): NumberFormat | undefined {
  const known = knownData(dataIdOf(tag));
  if (tag.format !== undefined) return parseFormat(tag.format, tag.signed ?? false);
  return known === undefined ? undefined : parseFormat(known.format, known.signed);
}

function commonTagOf(tag: Dlt645Tag, device: Dlt645Device): CommonTag {
  const { dataId: _, format: __, signed: ___, ...common } = tag;
  const format = formatOf(tag) ?? { digits: 8, places: 0, signed: false };
  const known = knownData(dataIdOf(tag));
  const unit = tag.unit ?? known?.unit;
  // A tag that is published in another unit is no longer what the table says; its role is the reader's to give.
  const role = tag.role ?? (unit === known?.unit ? known?.role : undefined);
  const carrier = tag.carrier ?? (role === known?.role ? known?.carrier : undefined);
  const { numerator, denominator } = tag.scale;
  const completed: CommonTag = {
    ...common,
    type: integerTypeOf(format),
    scale: { ...tag.scale, numerator, denominator: denominator * 10 ** format.places },
    ...(unit === undefined ? {} : { unit }),
    ...(role === undefined ? {} : { role }),
    ...(carrier === undefined ? {} : { carrier }),
  };
  // A register of 8 digits shows 0 after 99999999; where the top bit is a sign, only the manual tells where it turns.
  const counts = isCounter(completed) || isCounted(completed, device);
  const rollsOver = tag.modulusCounts === undefined && counts && !format.signed;
  return rollsOver ? { ...completed, modulusCounts: `1${"0".repeat(format.digits)}` } : completed;
}

/**
 * The device as collecting and shaping see it: a tag's value is the count of its format's last digit, scaled by the format's places and
 * the tag's own scale; unit, role and modulus are the standard's where the tag has none.
 */
export function dlt645Common(device: Dlt645Device): CommonDevice {
  return { ...device, tags: device.tags.map((tag) => commonTagOf(tag, device)) };
}
