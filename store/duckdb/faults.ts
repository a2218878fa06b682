import { messageOf } from "@jilian/domain/errors.ts";

/** True for errors after which DuckDB refuses everything until the file is opened anew. */
export function isFatal(thrown: unknown): boolean {
  return /FATAL Error|database has been invalidated/i.test(messageOf(thrown));
}
