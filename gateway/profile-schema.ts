import { type Static, Type } from "typebox";
import { byteOrders, modbusTagSchema } from "./drivers/modbus-config.ts";
import { oneOf, strict } from "./drivers/tag-config.ts";

const text = (description: string) => Type.String({ minLength: 1, maxLength: 2000, description });

/** Where the addresses of a profile were found: a document of the manufacturer, or what quotes one. */
const sourceSchema = Type.Object(
  {
    document: text("title and number"),
    revision: text("revision and date, as far as known"),
    section: text("section, table and page"),
    url: Type.String({ pattern: "^https?://", description: "where it was read" }),
  },
  strict,
);

const ratioSchema = oneOf(["ct", "pt", "ct-pt"], {
  description: "ratios that the value as read is multiplied by: ctRatio, ptRatio or both of the device",
});

/** Registers as the manual shows them, and what the manual says they mean. */
const exampleSchema = Type.Object(
  {
    tag: Type.String(),
    registers: Type.String({ pattern: "^[0-9A-F]{4}( [0-9A-F]{4})*$", description: "hexadecimal, as on the wire" }),
    value: Type.Number({ description: "in the unit of the tag, with ratios of 1" }),
    source: text("where the manual shows it"),
  },
  strict,
);

/** A meter or machine that many plants have: what a device needs beside its address. Data, one file each in profiles/. */
export const profileSchema = Type.Object(
  {
    title: text("what it is, in a line"),
    models: Type.Array(Type.String({ minLength: 1 }), { minItems: 1 }),
    sources: Type.Array(sourceSchema, { minItems: 1 }),
    notes: Type.Array(text("what whoever uses it must know"), { default: [] }),
    protocol: Type.Literal("modbus", { description: "of modbus-tcp and modbus-rtu" }),
    order: oneOf(byteOrders),
    maxRegistersPerRead: Type.Integer({ minimum: 1, maximum: 125 }),
    maxGapRegisters: Type.Integer({ minimum: 0, maximum: 124 }),
    tags: Type.Array(Type.Object({ ...modbusTagSchema.properties, ratio: Type.Optional(ratioSchema) }, strict), {
      minItems: 1,
    }),
    examples: Type.Array(exampleSchema, { default: [] }),
  },
  strict,
);

export type Profile = Static<typeof profileSchema>;
export type ProfileTag = Profile["tags"][number];
/** Profiles by their names. */
export type Profiles = ReadonlyMap<string, Profile>;
