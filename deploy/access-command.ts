import { allNodesFilter, stateTopic, topicOf } from "@jilian/domain/topics.ts";

export const accessHelp = `jilian access mosquitto --config platform.yaml

Prints the access file (acl_file) of a mosquitto in place of the platform's own broker: for each registered gateway what it may publish
and hear, and for ingest. Default is deny. Make it anew whenever a gateway is registered, then reload mosquitto (docs/brokers.md).
`;

const told = ["NBIRTH", "NDEATH", "NDATA"] as const;
const toldOfDevices = ["DBIRTH", "DDEATH", "DDATA"] as const;

/**
 * The access file of mosquitto (mosquitto.conf(5), acl_file): the same rules as broker/access.ts has, as far as mosquitto knows them. It
 * cannot look at QoS, retain or will. Patterns with %u do not help: the user name is FACTORY/GATEWAY, and a message type stands between the two.
 * @param gateways as FACTORY/GATEWAY, which is the user name too
 * @param hostId user name and Sparkplug host id of ingest
 */
export function mosquittoAccess(gateways: Iterable<string>, hostId: string): string {
  const lines = [
    "# Made by: jilian access mosquitto. Make it anew when a gateway is registered; then: systemctl reload mosquitto",
    `user ${hostId}`,
    `topic read ${allNodesFilter}`,
    `topic write ${stateTopic(hostId)}`,
    `topic write ${topicOf({ group: "+", type: "NCMD", node: "+" })}`,
  ];
  for (const name of [...gateways].toSorted()) {
    const [group = "", node = ""] = name.split("/");
    lines.push("", `user ${name}`);
    for (const type of told) lines.push(`topic write ${topicOf({ group, type, node })}`);
    for (const type of toldOfDevices) lines.push(`topic write ${topicOf({ group, type, node, device: "+" })}`);
    lines.push(`topic read ${topicOf({ group, type: "NCMD", node })}`);
    lines.push(`topic read ${topicOf({ group, type: "DCMD", node, device: "+" })}`);
    lines.push(`topic read ${stateTopic("+")}`);
  }
  return `${lines.join("\n")}\n`;
}
