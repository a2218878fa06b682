import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";
import type { Logger } from "pino";
import { atMostEvery } from "../log-limit.ts";
import { admission, plainAddress } from "./line-allow.ts";
import type { ListenLine } from "./line-config.ts";
import { mediumError } from "./line-errors.ts";
import { packetBytes } from "./line-facts.ts";
import type { Medium, Opening, Port, PortEvents } from "./line-medium.ts";
import { networkQuietMs, socketPort } from "./line-socket.ts";

/** Sockets that have not said who they are: so many at most. */
const mostStrangers = 16;
/** Longer than any registration. */
const mostSaid = 1024;
const tellAgainMs = 10_000;
/** Two that take a line from each other dial in again in less than this. */
const takingTurnsMs = 60_000;

export type ListenOptions = {
  readonly log: Logger;
  /** How long a socket may take to say who it is. */
  readonly strangerMs: number;
};

/** A box that has dialled in, and whoever uses its line now. */
type Box = {
  readonly port: Port;
  readonly peer: string;
  readonly sinceMs: number;
  /** Whether it came while another connection was there. */
  readonly replaced: boolean;
  events: PortEvents | undefined;
};
/** What is known of the box of one line. */
type Place = {
  readonly line: ListenLine;
  readonly registration: Buffer;
  readonly admits: (peer: string) => boolean;
  box: Box | undefined;
  /** Told when a box has come. */
  readonly waiting: Set<() => void>;
  /** How often a box came while another connection was there. */
  takeovers: number;
  readonly tellCome: Limited;
  readonly tellTaken: Limited;
};
type Limited = ReturnType<typeof atMostEvery>;

/** A socket that has not said who it is. */
type Stranger = { readonly socket: Socket; readonly peer: string; got: Buffer; readonly leave: () => void };

/** First bytes of an unknown box, for whoever commissions it. */
function shown(bytes: Buffer): string {
  const head = bytes.subarray(0, 64);
  const text = head.toString("latin1");
  return /^[\x20-\x7e]*$/.test(text) ? `"${text}"` : `hex:${head.toString("hex")}`;
}

const isBox = ({ registration }: Place, got: Buffer) => got.subarray(0, registration.length).equals(registration);
const mayBeBox = ({ registration }: Place, got: Buffer) => registration.subarray(0, got.length).equals(got);

/** A box that comes back is seldom another one: but from another address it may be, and where two take turns they are two. */
function looksLikeAnother(old: Box, peer: string): boolean {
  return old.peer !== peer || (old.replaced && performance.now() - old.sinceMs < takingTurnsMs);
}

function tellOfBox(place: Place, { peer, replaced }: Box, old: Box | undefined, log: Logger): void {
  const { id } = place.line;
  if (old === undefined || !looksLikeAnother(old, peer)) {
    place.tellCome((heldBack) => log.info({ line: id, peer, replaced, heldBack }, "a box dialled in"));
    return;
  }
  const detail = { code: "LINE_BOX_REPLACED", line: id, peer, before: old.peer };
  const text =
    "the line was taken over from a box that was connected: no harm where its address has changed; " +
    "else another one dials this port with the same registration: correct it, or name the box's address in allow";
  place.tellTaken((heldBack) => log.warn({ ...detail, heldBack }, text));
}

/** One port that boxes dial, and the places of those that are expected there. */
function createDoor({ host, port }: ListenLine, { log, strangerMs }: ListenOptions) {
  const places: Place[] = [];
  const strangers = new Set<Stranger>();
  const tellRefused = atMostEvery(tellAgainMs);
  let server: Server | undefined;

  function refuse({ socket, peer, got, leave }: Stranger, why: string): void {
    leave();
    socket.destroy();
    tellRefused((heldBack) => {
      const detail = { code: "LINE_BOX_REFUSED", port, peer, sent: shown(got), heldBack };
      log.warn(detail, `a box that dialled in was refused: ${why}`);
    });
  }

  function take(place: Place, { socket, peer, got, leave }: Stranger): void {
    leave();
    const old = place.box;
    const gone = () => {
      if (place.box === box) place.box = undefined;
    };
    const port = socketPort(socket, {
      onData: (chunk) => box.events?.onData(chunk),
      onLost: (cause) => {
        gone();
        box.events?.onLost(cause);
      },
    });
    const close = () => {
      gone();
      port.close();
    };
    const [sinceMs, replaced] = [performance.now(), old !== undefined];
    const box: Box = { events: undefined, port: { write: port.write, close }, peer, sinceMs, replaced };
    // Its old connection may look alive for minutes yet: behind carrier NAT nobody ends it.
    old?.port.close();
    place.box = box;
    if (replaced) place.takeovers += 1;
    old?.events?.onLost(new Error("the box has dialled in again"));
    tellOfBox(place, box, old, log);
    for (const tell of [...place.waiting]) tell();
    const rest = got.subarray(place.registration.length);
    if (rest.length > 0) box.events?.onData(rest);
  }

  /** Whether it is the box of a place, none of any, or cannot be told yet. */
  function recognise(stranger: Stranger): void {
    const { got, peer } = stranger;
    const place = places.find((one) => isBox(one, got));
    if (place?.admits(peer)) take(place, stranger);
    else if (place !== undefined || (places.length > 0 && !places.some(({ admits }) => admits(peer))))
      refuse(stranger, "no line allows its address");
    // While a reload exchanges the lines there may be no place at all.
    else if (got.length > mostSaid || (places.length > 0 && !places.some((one) => mayBeBox(one, got))))
      refuse(stranger, "no line has this registration");
  }

  function onSocket(socket: Socket): void {
    socket.on("error", () => socket.destroy());
    const leave = () => {
      clearTimeout(timer);
      socket.off("data", onData).off("close", leave);
      strangers.delete(stranger);
    };
    const peer = plainAddress(socket.remoteAddress ?? "");
    const stranger: Stranger = { socket, peer, got: Buffer.alloc(0), leave };
    const timer = setTimeout(() => refuse(stranger, `no registration within ${strangerMs} ms`), strangerMs);
    const onData = (chunk: Buffer) => {
      stranger.got = Buffer.concat([stranger.got, chunk]);
      recognise(stranger);
    };
    socket.on("data", onData).on("close", leave);
    strangers.add(stranger);
    recognise(stranger);
    const [oldest] = strangers;
    if (strangers.size > mostStrangers && oldest !== undefined) refuse(oldest, "too many that do not register");
  }

  async function listen(): Promise<void> {
    if (server !== undefined) return;
    const opened = createServer(onSocket);
    server = opened;
    try {
      opened.listen({ port, ...(host === undefined ? {} : { host }) });
      await once(opened, "listening");
      opened.on("error", (err) => log.warn({ err, port }, "a box that dialled in could not be accepted"));
    } catch (thrown) {
      server = undefined;
      throw thrown;
    }
  }

  /** Waits for the box of a place; bounded, so that its devices are told as not connected. */
  function boxOf(place: Place, { timeoutMs, signal }: Opening): Promise<Box> {
    return new Promise((resolve, reject) => {
      const finish = () => {
        clearTimeout(timer);
        place.waiting.delete(finish);
        signal.removeEventListener("abort", finish);
        if (place.box !== undefined) {
          resolve(place.box);
          return;
        }
        const remedy = "power and network of the box? Does it dial this address and port, with this registration?";
        reject(mediumError("LINE_BOX_AWAY", "the box of this line has not dialled in", remedy));
      };
      const timer = setTimeout(finish, timeoutMs);
      place.waiting.add(finish);
      signal.addEventListener("abort", finish, { once: true });
      if (place.box !== undefined || signal.aborted) finish();
    });
  }

  return {
    isFor: (line: ListenLine) => line.port === port && line.host === host,
    isEmpty: () => places.length === 0,
    /** A place for the box of a line, until it is left. */
    place(line: ListenLine) {
      const place: Place = {
        line,
        registration: packetBytes(line.registration ?? ""),
        admits: admission(line.allow),
        box: undefined,
        waiting: new Set(),
        takeovers: 0,
        tellCome: atMostEvery(tellAgainMs),
        tellTaken: atMostEvery(tellAgainMs),
      };
      places.push(place);
      for (const stranger of [...strangers]) recognise(stranger);
      return {
        async open(opening: Opening): Promise<Port> {
          await listen();
          const box = await boxOf(place, opening);
          box.events = opening.events;
          return box.port;
        },
        takeovers: () => place.takeovers,
        leave(): void {
          const at = places.indexOf(place);
          if (at >= 0) places.splice(at, 1);
          place.box?.port.close();
        },
      };
    },
    async close(): Promise<void> {
      for (const { socket, leave } of [...strangers]) {
        leave();
        socket.destroy();
      }
      for (const { box } of places) box?.port.close();
      if (server === undefined) return;
      const closed = once(server, "close");
      server.close();
      await closed;
    },
  };
}

type Door = ReturnType<typeof createDoor>;

/**
 * The ports on which boxes dial in, the usual case behind carrier NAT. A box is known by its first bytes (`registration`), since its
 * address changes; one that dials in again takes the place of its old connection at once. That is no proof of who it is: `allow` keeps
 * out whoever comes from elsewhere.
 */
export function createListeners(options: ListenOptions) {
  let doors: Door[] = [];
  function doorFor(line: ListenLine): Door {
    const known = doors.find((door) => door.isFor(line));
    if (known !== undefined) return known;
    const door = createDoor(line, options);
    doors.push(door);
    return door;
  }
  return {
    medium(line: ListenLine): Medium {
      const { port, registration, heartbeat } = line;
      const place = doorFor(line).place(line);
      return {
        endpoint: () => `box on port ${port}`,
        open: place.open,
        reopensSilent: true,
        endsIdle: false,
        servesInTurn: true,
        characterMs: 0,
        quietMs: line.quietMs ?? networkQuietMs,
        turnaroundMs: line.turnaroundMs,
        // Some boxes put their registration before every packet.
        interjections: [heartbeat, registration].filter((packet) => packet !== undefined).map(packetBytes),
        takeovers: place.takeovers,
        close: async () => place.leave(),
      };
    },
    /** Closes ports on which no line listens any more. @param lines that listen from now on: their ports stay open meanwhile */
    async keep(lines: readonly ListenLine[]): Promise<void> {
      const ended = doors.filter((door) => door.isEmpty() && !lines.some(door.isFor));
      doors = doors.filter((door) => !ended.includes(door));
      await Promise.all(ended.map((door) => door.close()));
    },
    close: async () => void (await Promise.all(doors.map((door) => door.close()))),
  };
}
