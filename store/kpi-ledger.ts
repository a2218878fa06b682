/** A span whose figures are to be computed again from the stored samples. */
export type Recompute = {
  readonly id: number;
  readonly fromMs: number;
  readonly toMs: number;
  /** Who or what wanted it: `command`, `registry 3`. */
  readonly reason: string;
  readonly requestedMs: number;
  /** Everything before this is computed again. */
  readonly cursorMs: number;
  /** When it ended; null while it has not. */
  readonly doneMs: number | null;
  /** Where the change log stood when it was asked for. */
  readonly firstChange: number;
};

/** What births said of a series when the engine took it up last. */
export type TakenUp = {
  /** Its key, as `keyText` has it. */
  readonly series: string;
  /** All of its definitions, as `datedText` has them: as bounded as those are. */
  readonly dated: string;
};

/** What the KPI engine keeps in the ledger beside its figures. */
export type KpiLedger = {
  /** Notes hours of which leaves exist; an hour that was noted stays. */
  readonly noteHours: (hours: readonly number[]) => void;
  /** Starts of those that begin in [fromMs, toMs), in order. */
  readonly knownHours: (fromMs: number, toMs: number) => number[];
  /** Asks for a span to be computed again, after those that were asked for before. @returns its id */
  readonly addRecompute: (span: { fromMs: number; toMs: number; reason: string }, atMs: number) => number;
  /** The first that has not ended. */
  readonly nextRecompute: () => Recompute | undefined;
  readonly recompute: (id: number) => Recompute | undefined;
  /** Notes how far one has come. */
  readonly moveRecompute: (id: number, cursorMs: number) => void;
  readonly endRecompute: (id: number, atMs: number) => void;
  /** What was taken up of each series, in any order. Reads all: for the start of an engine. */
  readonly takenUp: () => TakenUp[];
  /** Notes it in place of what was noted of the same series, in one transaction. */
  readonly noteTakenUp: (own: readonly TakenUp[]) => void;
  /** Forgets all of it: the series that come are new. */
  readonly forgetTakenUp: () => void;
};
