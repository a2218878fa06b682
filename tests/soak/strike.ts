/** What each kind of fault of the plan does, and how it ends. */

import type { Dlt645FaultSpec } from "@jilian/simulators/dlt645-faults.ts";
import type { Dlt645Server } from "@jilian/simulators/dlt645-server.ts";
import type { FaultSpec } from "@jilian/simulators/faults.ts";
import type { OpcuaFaultSpec } from "@jilian/simulators/opcua-faults.ts";
import type { PlantHandle } from "@jilian/simulators/simulator.ts";
import type { Episode, KindOf, Track } from "./plan.ts";
import type { startDialler, startRtuServer } from "./rtu-plant.ts";

/** What can be struck. */
export type Struck = {
  readonly plant: PlantHandle;
  readonly meters: Dlt645Server;
  readonly rtu: Awaited<ReturnType<typeof startRtuServer>>;
  readonly dialler: ReturnType<typeof startDialler>;
  readonly kill: (name: "broker" | "ingest") => Promise<void>;
  readonly start: (name: "broker" | "ingest") => Promise<void>;
  readonly signal: (name: "broker", signal: NodeJS.Signals) => void;
  /** Has the gateway read a configuration that was changed so, or the first one. */
  readonly reload: (kind: KindOf<"reload"> | undefined, draw: number) => Promise<void>;
};

/** Begins a fault; gives what ends it. */
type Strike = (struck: Struck, draw: number) => Promise<() => Promise<void> | void>;

const modbusFaults = (unitId: number): Record<KindOf<"modbus">, FaultSpec> => ({
  silentUnit: { kind: "silent", unitId },
  silent: { kind: "silent" },
  cut: { kind: "cut" },
  refused: { kind: "cut", refuse: true },
  exception: { kind: "exception", code: 4, unitId },
  garbage: { kind: "wrongTransactionId" },
  truncated: { kind: "truncated" },
  late: { kind: "lateReply", delayMs: 1500, unitId },
  slow: { kind: "slow", delayMs: 150 },
});
const opcuaFaults: Record<KindOf<"opcua">, OpcuaFaultSpec> = {
  restart: { kind: "restart", downMs: 3000 },
  cut: { kind: "cut" },
  refused: { kind: "cut", refuse: true },
  silent: { kind: "silent" },
  deadSubscription: { kind: "deadSubscription" },
  forgetSession: { kind: "forgetSession" },
  badStatus: { kind: "badStatus", device: "machine-1", code: "BadSensorFailure" },
};
const meterFaults: Record<Exclude<KindOf<"meters">, "cut">, Dlt645FaultSpec> = {
  silent: { kind: "silent" },
  wrongChecksum: { kind: "wrongChecksum" },
  errorAnswer: { kind: "errorAnswer", error: 1 },
  otherMeter: { kind: "otherMeter", instead: true },
  late: { kind: "late", delayMs: 500 },
  echo: { kind: "echo" },
  noise: { kind: "noise" },
};

/** Does something again and again until it is ended. */
function often(everyMs: number, act: () => void): () => void {
  act();
  const timer = setInterval(act, everyMs);
  return () => clearInterval(timer);
}

const dialler: Record<KindOf<"dialler">, Strike> = {
  away: async ({ dialler: own }) => {
    own.away(true);
    return () => own.away(false);
  },
  replaced: async ({ dialler: own }) => often(700, own.replace),
  strangers: async ({ dialler: own }, draw) => {
    const says = ["SOAK", "GET / HTTP/1.1\r\n\r\n", "\u0000\u0001garbage", "SOAK-02"];
    let next = draw;
    return often(400, () => own.stranger(says[next++ % says.length] as string));
  },
  silent: async ({ dialler: own }) => {
    own.fault("silent");
    return () => own.fault(undefined);
  },
  flaps: async ({ dialler: own }) => {
    let isAway = false;
    const end = often(300, () => {
      isAway = !isAway;
      own.away(isAway);
    });
    return () => {
      end();
      own.away(false);
    };
  },
};

const platform: Record<KindOf<"platform">, Strike> = {
  brokerKilled: async ({ kill, start }) => {
    await kill("broker");
    return () => start("broker");
  },
  ingestKilled: async ({ kill, start }) => {
    await kill("ingest");
    return () => start("ingest");
  },
  brokerStopped: async ({ signal }) => {
    signal("broker", "SIGSTOP");
    return () => signal("broker", "SIGCONT");
  },
  allKilled: async ({ kill, start }) => {
    await Promise.all([kill("broker"), kill("ingest")]);
    return async () => {
      await start("broker");
      await start("ingest");
    };
  },
};

const tracks: Record<Track, (kind: string) => Strike> = {
  modbus:
    (kind) =>
    async ({ plant }, draw) => {
      const { devices } = plant.registerMap;
      const unitId = devices[draw % devices.length]?.unitId ?? 1;
      await plant.startFault(modbusFaults(unitId)[kind as KindOf<"modbus">]);
      return async () => void (await plant.clearFaults());
    },
  opcua:
    (kind) =>
    async ({ plant }) => {
      await plant.opcua?.startFault(opcuaFaults[kind as KindOf<"opcua">]);
      return async () => void (await plant.opcua?.clearFaults());
    },
  meters:
    (kind) =>
    async ({ meters }) => {
      if (kind === "cut") return often(500, meters.cut);
      meters.startFault(meterFaults[kind as keyof typeof meterFaults]);
      return () => void meters.clearFaults();
    },
  rtu:
    (kind) =>
    async ({ rtu }) => {
      if (kind === "cut") return often(500, rtu.cut);
      if (kind === "refused") {
        rtu.refuse(true);
        return () => rtu.refuse(false);
      }
      rtu.fault(kind as "silent" | "exception" | "garbage");
      return () => rtu.fault(undefined);
    },
  dialler: (kind) => dialler[kind as KindOf<"dialler">],
  platform: (kind) => platform[kind as KindOf<"platform">],
  reload:
    (kind) =>
    async ({ reload }, draw) => {
      await reload(kind as KindOf<"reload">, draw);
      return () => reload(undefined, draw);
    },
};

/** Begins what an episode of the plan says; gives what ends it. */
export function strike({ track, kind, draw }: Episode, struck: Struck): Promise<() => Promise<void> | void> {
  return tracks[track](kind)(struck, draw);
}
