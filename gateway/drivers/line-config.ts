import { duplicates, type SemanticFault } from "@jilian/domain/check-config.ts";
import { idPattern } from "@jilian/domain/identity.ts";
import { type Static, Type } from "typebox";
import { isAllowable } from "./line-allow.ts";
import { addressOf, packetBytes, placeOf } from "./line-facts.ts";
import { oneOf, strict } from "./tag-config.ts";

/** Lines that several devices share (RS-485), in the configuration of a gateway. */

const commonLineKeys = {
  id: Type.String({ pattern: idPattern, description: "lower-case id that devices name as their line" }),
  quietMs: Type.Optional(
    Type.Number({
      minimum: 0.1,
      maximum: 1000,
      description: "silence between two frames; 3.5 characters if absent, on a network 20",
    }),
  ),
  turnaroundMs: Type.Integer({
    default: 0,
    minimum: 0,
    maximum: 10_000,
    description: "pause between the end of an exchange and the next request, for devices that are slow to listen again",
  }),
};

const host = { minLength: 1, maxLength: 253 } as const;
const tcpPort = { minimum: 1, maximum: 65_535 } as const;
/** Text as it stands, or `hex:` and an even number of hexadecimal digits. */
const packet = (description: string) =>
  Type.String({
    minLength: 1,
    maxLength: 128,
    pattern: "^(?!hex:)[\\s\\S]*$|^hex:([0-9A-Fa-f]{2})+$",
    description: `${description}: text, or "hex:" and hexadecimal digits`,
  });

export const baudRates = [300, 600, 1200, 2400, 4800, 9600, 19_200, 38_400, 57_600, 115_200, 230_400] as const;
export const parities = ["none", "even", "odd"] as const;

/** 8N1 at 9600 is what most devices on Chinese plants leave the works with; MODBUS over Serial Line V1.02 has 8E1 at 19200. */
const serialLineSchema = Type.Object(
  {
    ...commonLineKeys,
    kind: Type.Literal("serial"),
    path: Type.String({
      pattern: "^/",
      maxLength: 255,
      description: "/dev/ttyS0, or /dev/serial/by-id/..., which stays the same whatever is plugged in beside it",
    }),
    baudRate: Type.Unsafe<number>(
      Type.Union(
        baudRates.map((rate) => Type.Literal(rate)),
        { default: 9600 },
      ),
    ),
    // Seven are of Modbus ASCII, which nothing here speaks.
    dataBits: Type.Literal(8, { default: 8 }),
    parity: oneOf(parities, { default: "none" }),
    stopBits: Type.Unsafe<1 | 2>(Type.Union([Type.Literal(1), Type.Literal(2)], { default: 1 })),
  },
  strict,
);

const tcpLineSchema = Type.Object(
  {
    ...commonLineKeys,
    kind: Type.Literal("tcp"),
    host: Type.String({ ...host, description: "converter in transparent mode: the bytes of the line over TCP" }),
    port: Type.Integer(tcpPort),
    backup: Type.Optional(
      Type.Object(
        { host: Type.String(host), port: Type.Integer(tcpPort) },
        {
          ...strict,
          description:
            "second address of the same line, of the converter or of another one beside it: taken in turn with the first while nothing comes",
        },
      ),
    ),
  },
  strict,
);

const listenLineSchema = Type.Object(
  {
    ...commonLineKeys,
    kind: Type.Literal("listen"),
    host: Type.Optional(Type.String({ ...host, description: "address of this box to listen on; all if absent" })),
    port: Type.Integer({ ...tcpPort, description: "that the box dials; several boxes may dial one" }),
    registration: Type.Optional(packet("what the box sends first, by which boxes on one port are told apart")),
    heartbeat: Type.Optional(packet("what the box sends of itself now and then")),
    allow: Type.Optional(
      Type.Array(Type.String({ minLength: 2, maxLength: 49 }), {
        minItems: 1,
        maxItems: 64,
        description: "addresses and networks (10.8.0.0/16) from which the box may dial in; from everywhere if absent",
      }),
    ),
  },
  strict,
);

export const linesSchema = Type.Optional(Type.Array(Type.Union([serialLineSchema, tcpLineSchema, listenLineSchema])));

export type SerialLine = Static<typeof serialLineSchema>;

export type TcpLine = Static<typeof tcpLineSchema>;
export type ListenLine = Static<typeof listenLineSchema>;
export type LineConfig = SerialLine | TcpLine | ListenLine;

const placeField = { serial: "path", tcp: "port", listen: "registration" } as const;

/** Boxes on one port are told apart by the beginning of what they send: no beginning may be that of another. */
function listenFaults(lines: readonly LineConfig[]): SemanticFault[] {
  const listening = lines.flatMap((line, i) => (line.kind === "listen" ? [{ line, i }] : []));
  return listening.flatMap(({ line, i }) => {
    const path = `/lines/${i}`;
    const others = listening.filter((other) => other.i !== i && other.line.port === line.port);
    if (others.length === 0) return [];
    if (line.registration === undefined) {
      const expected = `a registration: /lines/${others[0]?.i} listens on port ${line.port} as well`;
      return [{ path: `${path}/registration`, expected, remedy: "set one in the box and write it here" }];
    }
    const faults: SemanticFault[] = [];
    const own = packetBytes(line.registration);
    for (const { line: other, i: at } of others) {
      if ((other.host ?? "") !== (line.host ?? "") && at < i) {
        const expected = `the same host as /lines/${at}, which listens on the same port`;
        faults.push({ path: `${path}/host`, expected, remedy: "write one, or leave both out" });
      }
      const begins = other.registration === undefined ? undefined : packetBytes(other.registration);
      if (begins === undefined || begins.equals(own) || !own.subarray(0, begins.length).equals(begins)) continue;
      const expected = `a registration that does not begin with that of /lines/${at}`;
      faults.push({ path: `${path}/registration`, expected, remedy: "set another in one of the boxes" });
    }
    return faults;
  });
}

/** A backup that is another line's address, or the same one, would have two masters on one line, or be none. */
function backupFaults(lines: readonly LineConfig[]): SemanticFault[] {
  const taken = new Set(lines.map(placeOf));
  return lines.flatMap((line, i) => {
    if (line.kind !== "tcp" || line.backup === undefined) return [];
    const address = addressOf(line.backup);
    const isTaken = taken.has(address);
    taken.add(address);
    const expected = "an address that no line has yet";
    const remedy = "write the line's second address, or remove it";
    return isTaken ? [{ path: `/lines/${i}/backup`, expected, remedy }] : [];
  });
}

function allowFaults(lines: readonly LineConfig[]): SemanticFault[] {
  return lines.flatMap((line, i) => {
    const allow = line.kind === "listen" ? (line.allow ?? []) : [];
    const expected = "an address, or a network as 10.8.0.0/16 or fd00::/8";
    const remedy = "write addresses and no names: those of boxes are not looked up";
    return allow.flatMap((text, at) =>
      isAllowable(text) ? [] : [{ path: `/lines/${i}/allow/${at}`, expected, remedy }],
    );
  });
}

type OnLine = { readonly id: string; readonly line?: string };

/**
 * The checks between lines and the devices on them. Pure.
 * @param devices all devices of the gateway; those with `line` are on one
 */
export function lineFaults(lines: readonly LineConfig[], devices: readonly OnLine[]): SemanticFault[] {
  const ids = lines.map((line) => line.id);
  const faults = duplicates("/lines", ids, "line id");
  const places = new Map<string, number>();
  for (const [i, line] of lines.entries()) {
    const first = places.get(placeOf(line));
    if (first === undefined) places.set(placeOf(line), i);
    // A listener without registration has its own fault.
    else if (line.kind !== "listen" || line.registration !== undefined) {
      const expected = `a line of its own (the same is already at /lines/${first})`;
      const remedy = "two masters on one line disturb each other: put the devices of both on one line";
      faults.push({ path: `/lines/${i}/${placeField[line.kind]}`, expected, remedy });
    }
  }
  faults.push(...listenFaults(lines), ...allowFaults(lines), ...backupFaults(lines));
  const used = new Set(devices.map((device) => device.line));
  for (const [i, { id }] of lines.entries()) {
    if (used.has(id)) continue;
    const remedy = "remove the line, or correct the line of the devices on it";
    faults.push({ path: `/lines/${i}/id`, expected: "a line that a device uses", remedy });
  }
  for (const [i, { line }] of devices.entries()) {
    if (line === undefined || ids.includes(line)) continue;
    const expected = ids.length === 0 ? "the id of a line; there are none" : `one of ${ids.join(", ")}`;
    faults.push({ path: `/devices/${i}/line`, expected, remedy: 'add it to "lines", or correct the name' });
  }
  return faults;
}

type Place = { readonly host: string; readonly port: number };
type OnPort = { readonly driver: string; readonly host?: string; readonly port?: number; readonly backup?: Place };

/** A port that is a line carries Modbus RTU: what is asked there as Modbus TCP would go out on it, between the requests of the line. Pure. */
export function linePortFaults(lines: readonly LineConfig[], devices: readonly OnPort[]): SemanticFault[] {
  const taken = new Map(lines.flatMap((line, i) => (line.kind === "tcp" ? [[placeOf(line), i] as const] : [])));
  return devices.flatMap((device, i) => {
    if (device.driver !== "modbus-tcp") return [];
    const { host, port, backup } = device;
    const places = [
      { host, port, path: `/devices/${i}/port` },
      { ...backup, path: `/devices/${i}/backup/port` },
    ];
    return places.flatMap(({ host: at = "", port: number, path }) => {
      const line = taken.get(`${at.toLowerCase()}:${number}`);
      if (line === undefined) return [];
      const expected = `a port that is no line (the same is /lines/${line})`;
      const remedy =
        "a converter speaks Modbus TCP on a port, or carries bytes as they are: put the device on the line as modbus-rtu, or remove the line";
      return [{ path, expected, remedy }];
    });
  });
}
