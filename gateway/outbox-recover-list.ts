/** A damaged file whose records come out of it, and how far that is. */
export type Recovering = {
  /** Its name, beside the outbox. */
  file: string;
  /** Last position that is done. */
  after: number;
  /** Records that came out whole. */
  recovered: number;
  /** Positions and records that could not be read so far. */
  unreadable: number;
  /** Records that were pending in it, where that is known: gaps that the platform has freed are no losses. */
  expected?: number;
  /** Last position among what was set aside that is done; absent until the records are. */
  asidesAfter?: number;
  /** Its ids of metrics are those of the outbox in use: it was replaced by the process that wrote it. */
  sameIds?: boolean;
};

const namePattern = /^[^/\\]+\.corrupt-[^/\\]+$/;

function isWhole(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

function isRecovering(value: unknown): value is Recovering {
  if (typeof value !== "object" || value === null) return false;
  const { file, after, recovered, unreadable, expected, asidesAfter } = value as Record<string, unknown>;
  if (typeof file !== "string" || !namePattern.test(file)) return false;
  return [after, recovered, unreadable, expected ?? 0, asidesAfter ?? 0].every(isWhole);
}

/** The list as a file has it; what of it cannot be read is left out. */
export function readRecovering(text: unknown): Recovering[] {
  try {
    const found: unknown = JSON.parse(String(text ?? "[]"));
    return Array.isArray(found) ? found.filter(isRecovering) : [];
  } catch {
    return [];
  }
}

/** That a file is to be recovered, from its beginning unless something else is known. */
export function newRecovering(file: string, known: Partial<Recovering> = {}): Recovering {
  return { file, after: 0, recovered: 0, unreadable: 0, ...known };
}
