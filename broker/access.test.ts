import type { Principal } from "@jilian/store/ledger.ts";
import { describe, expect, it } from "vitest";
import {
  accountOf,
  type Connect,
  mayConnect,
  mayForward,
  mayPublish,
  maySubscribe,
  mayWill,
  topicFault,
  userNameOf,
} from "./access.ts";

/** Two enterprises: `ea` has the factories f1 and f2, `eb` has f3; f9 is in no registry. */
const owners: Readonly<Record<string, string>> = { f1: "ea", f2: "ea", f3: "eb" };
const enterpriseOf = (factory: string) => owners[factory];

/** Every kind of client by one letter, which the tables below use. */
const clients = {
  g: { kind: "gateway", name: "f1/gw-1", group: "f1", node: "gw-1" },
  /** A gateway that is in no registry. */
  x: { kind: "gateway", name: "f9/gw-1", group: "f9", node: "gw-1" },
  h: { kind: "host", name: "ingest" },
  a: { kind: "viewer", name: "wall@ea", enterprise: "ea" },
  b: { kind: "viewer", name: "wall@eb", enterprise: "eb" },
  /** A viewer of an enterprise that is in no registry. */
  n: { kind: "viewer", name: "wall@nobody", enterprise: "nobody" },
  o: { kind: "operator", name: "ops" },
  i: { kind: "api", name: "wall" },
} as const satisfies Record<string, Principal>;
const letters = Object.keys(clients) as (keyof typeof clients)[];
const allowed = (verdict: (principal: Principal) => boolean) =>
  letters.filter((letter) => verdict(clients[letter])).join("");

const types = ["NBIRTH", "NDEATH", "NDATA", "DBIRTH", "DDEATH", "DDATA", "NCMD", "DCMD"] as const;
const isDevice = (type: string) => type.startsWith("D");
const flags = [0, 1, 2].flatMap((qos) => [false, true].map((retain) => ({ qos, retain })));
const kept = "$sparkplug/certificates/";

/** Every topic of a node: type x (group/node), well-formed and not. */
const nodes = ["f1/gw-1", "f1/gw-2", "f2/gw-1", "f3/gw-1", "f9/gw-1"];
const nodeTopics = types.flatMap((type) =>
  nodes.map((of) => {
    const [group, node] = of.split("/");
    return { type, of, topic: `spBv1.0/${group}/${type}/${node}${isDevice(type) ? "/loom" : ""}` };
  }),
);
/** Topics that nobody may publish and that nobody is handed, whatever filter they have. */
const strange = [
  "",
  "x",
  "/",
  "spBv1.0",
  "spBv1.0/",
  "spBv1.0x/f1/NDATA/gw-1",
  "spAv1.0/f1/NDATA/gw-1",
  "f1/NDATA/gw-1",
  "/spBv1.0/f1/NDATA/gw-1",
  "$share/g/spBv1.0/f1/NDATA/gw-1",
  "$sparkplug/other",
];

describe("every kind of client x every kind of topic", () => {
  it("publish: a gateway tells of itself, a host commands nodes, both without retain", () => {
    for (const { type, of, topic } of nodeTopics)
      for (const flag of flags) {
        const owner = { "f1/gw-1": "g", "f9/gw-1": "x" }[of] ?? "";
        const telling = type === "NCMD" ? "h" : type === "DCMD" ? "" : owner;
        const wanted = flag.retain || flag.qos === 2 ? "" : telling;
        expect(
          allowed((who) => mayPublish(who, topic, flag) === undefined),
          `${topic} ${JSON.stringify(flag)}`,
        ).toBe(wanted);
      }
  });

  it("publish: STATE is its host's, retained with QoS 1; all else is nobody's", () => {
    for (const flag of flags) {
      const publishers = (topic: string) => allowed((who) => mayPublish(who, topic, flag) === undefined);
      expect(publishers("spBv1.0/STATE/ingest")).toBe(flag.retain && flag.qos === 1 ? "h" : "");
      const none = [
        ...strange,
        "spBv1.0/STATE/other",
        "spBv1.0/STATE/f1/gw-1",
        "spBv1.0/f1/NDATA/gw-1/loom",
        "spBv1.0/f1/DDATA/gw-1",
        "spBv1.0/f1/DDATA/gw-1/loom/x",
        "spBv1.0/f1/XDATA/gw-1",
        "spBv1.0//NDATA/gw-1",
        "$SYS/broker",
        ...nodeTopics.map(({ topic }) => kept + topic),
      ];
      for (const topic of none) expect(publishers(topic), topic).toBe("");
    }
  });

  it("will: as a message, and only what tells that its client is gone", () => {
    const topics = [...nodeTopics.map(({ topic }) => topic), ...strange, "spBv1.0/STATE/ingest", "$SYS/x"];
    for (const topic of topics)
      for (const flag of flags) {
        const own = { "spBv1.0/f1/NDEATH/gw-1": "g", "spBv1.0/f9/NDEATH/gw-1": "x" }[topic] ?? "";
        const death = flag.qos === 1 && !flag.retain ? own : "";
        const wanted = topic === "spBv1.0/STATE/ingest" && flag.qos === 1 && flag.retain ? "h" : death;
        expect(
          allowed((who) => mayWill(who, { topic, ...flag }) === undefined),
          topic,
        ).toBe(wanted);
      }
    expect(allowed((who) => mayWill(who, undefined) === undefined)).toBe("habnoi");
  });

  it("forward: a gateway its own commands, a viewer what its enterprise tells, a host all", () => {
    const viewersOf: Record<string, string> = { f1: "a", f2: "a", f3: "b" };
    for (const { type, of, topic } of nodeTopics) {
      const [group = ""] = of.split("/");
      const isCommand = type.endsWith("CMD");
      const own = { "f1/gw-1": "g", "f9/gw-1": "x" }[of] ?? "";
      const wanted = isCommand ? `${own}h` : `h${viewersOf[group] ?? ""}`;
      expect(
        allowed((who) => mayForward(who, topic, enterpriseOf)),
        topic,
      ).toBe(wanted);
      expect(
        allowed((who) => mayForward(who, kept + topic, enterpriseOf)),
        kept + topic,
      ).toBe(isCommand ? "h" : wanted);
    }
    expect(allowed((who) => mayForward(who, "spBv1.0/STATE/ingest", enterpriseOf))).toBe("gxhabn");
    expect(allowed((who) => mayForward(who, "$SYS/id/new/clients", enterpriseOf))).toBe("o");
    for (const topic of strange.filter((name) => name !== "spBv1.0/"))
      expect(
        allowed((who) => mayForward(who, topic, enterpriseOf)),
        topic,
      ).toBe("");
  });

  // Filter, and who may have it.
  it.each([
    ["#", ""],
    ["+/#", ""],
    ["+/+/NDATA/+", ""],
    ["", ""],
    ["$SYS/#", "o"],
    ["$SYS/+/new/clients", "o"],
    ["$SYS", ""],
    ["$share/workers/spBv1.0/#", ""],
    ["$sparkplug/#", ""],
    ["spBv1.0", "h"],
    ["spBv1.0/#", "habn"],
    ["spBv1.0/+/#", "habn"],
    ["spBv1.0/+/NBIRTH/+", "habn"],
    ["spBv1.0/+/NCMD/gw-1", "h"],
    ["spBv1.0/+/DCMD/#", "h"],
    ["spBv1.0/f1/#", "ha"],
    ["spBv1.0/f2/DDATA/gw-1/loom", "ha"],
    ["spBv1.0/f3/+/gw-1", "hb"],
    ["spBv1.0/f1/NDATA/gw-1", "ha"],
    ["spBv1.0/f1/NCMD/gw-1", "gh"],
    ["spBv1.0/f1/NCMD/gw-1/#", "gh"],
    ["spBv1.0/f1/DCMD/gw-1/+", "gh"],
    ["spBv1.0/f1/DCMD/gw-1/loom", "gh"],
    ["spBv1.0/f1/DCMD/gw-1/loom/#", "h"],
    ["spBv1.0/f1/NCMD/gw-2", "h"],
    ["spBv1.0/f1/NCMD/+", "h"],
    ["spBv1.0/f1/NCMD/#", "h"],
    ["spBv1.0/f1/+/gw-1", "ha"],
    ["spBv1.0/f1", "h"],
    // One that is in no registry, and one that nobody has heard of.
    ["spBv1.0/f9/#", "h"],
    ["spBv1.0/f8/#", "h"],
    ["spBv1.0/f9/NCMD/gw-1", "xh"],
    ["spBv1.0/STATE/ingest", "gxhabn"],
    ["spBv1.0/STATE/+", "gxhabn"],
    ["spBv1.0/STATE/#", "gxhabn"],
    ["spBv1.0/STATE/#/x", "h"],
    [`${kept}#`, "habn"],
    [`${kept}spBv1.0/#`, "habn"],
    [`${kept}spBv1.0/f1/DBIRTH/#`, "ha"],
    [`${kept}spBv1.0/f3/NBIRTH/gw-1`, "hb"],
    [`${kept}spBv1.0/f1/NCMD/gw-1`, "h"],
    [`${kept}spBv1.0/STATE/ingest`, "h"],
    [`${kept}+/f1/#`, ""],
    [`${kept}spAv1.0/#`, ""],
  ])("subscribe to %s: %s", (filter, wanted) => {
    expect(allowed((who) => maySubscribe(who, filter, enterpriseOf) === undefined)).toBe(wanted);
  });

  it("refuses a viewer in the same words whether a factory is another's or no one's", () => {
    const [foreign, none] = ["f3", "f8"].map((f) => maySubscribe(clients.a, `spBv1.0/${f}/#`, enterpriseOf));
    expect(foreign).toEqual(none);
  });

  it("takes a viewer's factory from it with the registry", () => {
    const seen = (owner: string | undefined) => mayForward(clients.a, "spBv1.0/f1/NDATA/gw-1", () => owner);
    expect([seen("ea"), seen("eb"), seen(undefined)]).toEqual([true, false, false]);
  });
});

describe("connect", () => {
  const death = { topic: "spBv1.0/f1/NDEATH/gw-1", qos: 1, retain: false };
  const good: Connect = { clientId: "f1/gw-1", clean: true, keepaliveS: 60, will: death };
  const code = (principal: Principal, over: Partial<Connect>) =>
    mayConnect(principal, { ...good, ...over }, 120_000)?.code;

  it("lets a gateway in under its own name with its own NDEATH", () => {
    expect(code(clients.g, {})).toBeUndefined();
    expect(code(clients.g, { keepaliveS: 120 })).toBeUndefined();
  });
  it.each([
    [{ clientId: "f1/gw-2" }, "BROKER_CLIENT_ID"],
    [{ clientId: "" }, "BROKER_CLIENT_ID"],
    [{ clientId: "f1/gw-1-x" }, "BROKER_CLIENT_ID"],
    [{ clean: false }, "BROKER_SESSION_NOT_CLEAN"],
    [{ keepaliveS: 0 }, "BROKER_KEEPALIVE"],
    [{ keepaliveS: 121 }, "BROKER_KEEPALIVE"],
    [{ will: undefined }, "BROKER_WILL"],
    [{ will: { ...death, topic: "spBv1.0/f1/NDEATH/gw-2" } }, "BROKER_WILL"],
    [{ will: { ...death, retain: true } }, "BROKER_WILL"],
    [{ will: { ...death, qos: 0 } }, "BROKER_WILL"],
  ])("refuses a gateway with %o", (over, wanted) => expect(code(clients.g, over)).toBe(wanted));

  it("lets no client take the id of another account: every kind x every id", () => {
    const ids: [id: string, owners: string][] = [
      ["f1/gw-1", "g"],
      ["f9/gw-1", "x"],
      ["ingest", "h"],
      ["ingest-1", "h"],
      ["ingest-worker.2", "h"],
      ["wall@ea", "a"],
      ["wall@ea-2", "a"],
      ["wall@eb", "b"],
      ["wall@nobody", "n"],
      ["operator:ops", "o"],
      ["operator:ops-2", "o"],
      ["", ""],
      ["ops", ""],
      ["wall", ""],
      ["ingest2", ""],
      ["ingest-", ""],
      ["ingest-1/gw", ""],
      ["f1/gw-1-x", ""],
      ["f1/gw-2", ""],
    ];
    for (const [clientId, wanted] of ids) {
      const admitted = allowed((who) => {
        const topic = who.kind === "gateway" ? `spBv1.0/${who.group}/NDEATH/${who.node}` : "";
        const will = who.kind === "gateway" ? { ...death, topic } : undefined;
        return code(who, { clientId, will }) === undefined;
      });
      expect(admitted, clientId).toBe(wanted);
    }
    expect(code(clients.i, { clientId: "wall", will: undefined })).toBe("BROKER_API_USER");
  });

  it("knows the kind of an account by the form of its user name, and back", () => {
    for (const letter of ["g", "h", "a", "o"] as const) {
      const { kind, name } = clients[letter];
      expect(accountOf(userNameOf(clients[letter]))).toEqual({ kind, name });
    }
  });
});

describe("topics", () => {
  const code = (topic: string) => topicFault(topic, { topicBytes: 40, topicLevels: 5 })?.code;
  it.each([
    ["spBv1.0/f1/DDATA/gw-1/loom", undefined],
    ["x".repeat(40), undefined],
    ["x".repeat(41), "BROKER_TOPIC_TOO_LONG"],
    ["织".repeat(14), "BROKER_TOPIC_TOO_LONG"],
    ["a/b/c/d/e", undefined],
    ["a/b/c/d/e/", "BROKER_TOPIC_TOO_LONG"],
    ["/////", "BROKER_TOPIC_TOO_LONG"],
    ["a\0b", "BROKER_TOPIC_INVALID"],
    [Buffer.from("spBv1.0/\xff\xfe", "latin1").toString(), "BROKER_TOPIC_INVALID"],
  ])("%j: %s", (topic, wanted) => expect(code(topic)).toBe(wanted));
});
