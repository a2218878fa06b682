/** Node ids as they are configured (OPC 10000-6, 5.3.1.10 and 5.3.1.11) and as the server has them in this session. */

/** A namespace that the server does not have. */
export type Unresolved = { readonly unknownNamespace: string };

const escapes: Readonly<Record<string, string>> = { "%3b": ";", "%25": "%" };

/**
 * The node id with the namespace's index in the place of its URI. Indexes may change whenever a server starts, its NamespaceArray says
 * which is which; hence once for every session.
 * @param namespaces the server's NamespaceArray
 */
export function resolveNodeId(nodeId: string, namespaces: readonly string[]): string | Unresolved {
  const [, uri, rest] = /^nsu=([^;]+);([\s\S]+)$/.exec(nodeId) ?? [];
  if (uri === undefined || rest === undefined) return nodeId;
  const plain = uri.replaceAll(/%3b|%25/gi, (escaped) => escapes[escaped.toLowerCase()] as string);
  const index = namespaces.indexOf(plain);
  return index < 0 ? { unknownNamespace: plain } : `ns=${index};${rest}`;
}

/** The node id with its namespace's URI in the place of the index: what belongs into a configuration. */
export function portableNodeId(nodeId: string, namespaces: readonly string[]): string {
  const [, index, rest] = /^ns=(\d+);([\s\S]+)$/.exec(nodeId) ?? [];
  const uri = index === undefined || index === "0" ? undefined : namespaces[Number(index)];
  if (uri === undefined) return nodeId;
  return `nsu=${uri.replaceAll("%", "%25").replaceAll(";", "%3B")};${rest}`;
}
