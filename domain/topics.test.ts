import { describe, expect, it } from "vitest";
import { allNodesFilter, parseTopic, type SparkplugTopic, stateTopic, topicOf } from "./topics.ts";

describe("topics", () => {
  const topics: [string, SparkplugTopic][] = [
    ["spBv1.0/f1/NBIRTH/gw", { group: "f1", type: "NBIRTH", node: "gw" }],
    ["spBv1.0/f1/NDEATH/gw", { group: "f1", type: "NDEATH", node: "gw" }],
    ["spBv1.0/f1/NDATA/gw", { group: "f1", type: "NDATA", node: "gw" }],
    ["spBv1.0/f1/NCMD/gw", { group: "f1", type: "NCMD", node: "gw" }],
    ["spBv1.0/f1/DBIRTH/gw/m-1", { group: "f1", type: "DBIRTH", node: "gw", device: "m-1" }],
    ["spBv1.0/f1/DDEATH/gw/m-1", { group: "f1", type: "DDEATH", node: "gw", device: "m-1" }],
    ["spBv1.0/f1/DDATA/gw/m-1", { group: "f1", type: "DDATA", node: "gw", device: "m-1" }],
    ["spBv1.0/f1/DCMD/gw/m-1", { group: "f1", type: "DCMD", node: "gw", device: "m-1" }],
  ];
  it.each(topics)("%s, there and back", (topic, parts) => {
    expect(parseTopic(topic)).toEqual(parts);
    expect(topicOf(parts)).toBe(topic);
  });

  it.each([
    "",
    "spBv1.0",
    "spBv1.0/f1/NDATA",
    "spBv1.0/f1/NDATA/",
    "spBv1.0//NDATA/gw",
    "spBv1.0/f1/NDATA/gw/m",
    "spBv1.0/f1/DDATA/gw",
    "spBv1.0/f1/DDATA/gw/",
    "spBv1.0/f1/DDATA/gw/m/n",
    "spBv1.0/f1/ndata/gw",
    "spBv1.0/f1/constructor/gw",
    "spAv1.0/f1/NDATA/gw",
    "/spBv1.0/f1/NDATA/gw",
    "spBv1.0/STATE/host",
    "spBv1.0/STATE/host/x",
  ])("%j is none of a node or device", (topic) => expect(parseTopic(topic)).toBeUndefined());

  it("are below one filter, STATE included", () => {
    expect(allNodesFilter).toBe("spBv1.0/#");
    expect(stateTopic("ingest")).toBe("spBv1.0/STATE/ingest");
  });
});
