import { gunzipSync, inflateSync } from "node:zlib";
import { JilianError, messageOf } from "@jilian/domain/errors.ts";
import { decodePayload, type InPayload } from "@jilian/domain/sparkplug/payload.ts";

/** The uuid by which Eclipse Tahu, and what is built on it, marks a payload whose body is another one, compressed. */
const compressedUuid = "SPBV1.0_COMPRESSED";
/** No honest birth is larger; a few kilobytes can be made to unpack to gigabytes. */
const maxUnpackedBytes = 8 * 1024 * 1024;

const unpackers: ReadonlyMap<string, (bytes: Uint8Array) => Uint8Array> = new Map([
  ["DEFLATE", (bytes) => inflateSync(bytes, { maxOutputLength: maxUnpackedBytes })],
  ["GZIP", (bytes) => gunzipSync(bytes, { maxOutputLength: maxUnpackedBytes })],
]);

function unpack(body: Uint8Array, algorithm: string): Uint8Array {
  try {
    const unpacker = unpackers.get(algorithm);
    if (!unpacker) throw new RangeError(`unknown algorithm "${algorithm.slice(0, 40)}"`);
    return unpacker(body);
  } catch (cause) {
    throw new JilianError(`the compressed payload cannot be unpacked: ${messageOf(cause)}`, {
      code: "PAYLOAD_UNREADABLE",
      action: "unpack a compressed Sparkplug B payload",
      remedy: `have the node send DEFLATE or GZIP, at most ${maxUnpackedBytes} bytes unpacked, or nothing compressed`,
      cause,
    });
  }
}

/**
 * Decodes a message of a node, unpacking it where it is compressed: the body is then the payload, and a metric `algorithm` names how it was
 * packed, DEFLATE when absent.
 * @throws JilianError PAYLOAD_UNREADABLE
 */
export function readMessage(bytes: Uint8Array): InPayload {
  const outer = decodePayload(bytes);
  if (outer.uuid !== compressedUuid || !outer.body) return outer;
  const named = outer.metrics.find(({ name }) => name === "algorithm")?.wire;
  const inner = decodePayload(unpack(outer.body, named?.case === "stringValue" ? named.value : "DEFLATE"));
  return { ...inner, seq: inner.seq ?? outer.seq, timestampMs: inner.timestampMs ?? outer.timestampMs };
}
