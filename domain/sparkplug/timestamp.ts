import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { PayloadSchema } from "./generated/sparkplug_b_pb.js";

/**
 * A payload with another timestamp, everything else as it was, fields unknown to this product included; for a server that sets the time
 * of an NDEATH (Sparkplug 3.0, 10.1.4: tck-id-conformance-mqtt-aware-ndeath-timestamp).
 * @returns undefined when the bytes are not a Sparkplug B payload
 */
export function withTimestamp(bytes: Uint8Array, timestampMs: number): Uint8Array | undefined {
  try {
    const payload = fromBinary(PayloadSchema, bytes);
    payload.timestamp = BigInt(timestampMs);
    return toBinary(PayloadSchema, payload);
  } catch {
    return undefined;
  }
}
