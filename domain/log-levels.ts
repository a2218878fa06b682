/** What is needed of a logger to set its level (pino's has it). */
export type Leveled = { level: string };

export const logLevels = ["fatal", "error", "warn", "info", "debug", "trace", "silent"] as const;

export type LevelSwitch = {
  /** Give it to pino as `onChild`: each logger that is made from the first, or from another such, is switched with it. */
  readonly onChild: (child: Leveled) => void;
  /** Puts a level in force everywhere; undefined gives each logger back its own. */
  readonly force: (level: string | undefined) => void;
  readonly forced: () => string | undefined;
};

/**
 * Switches a tree of loggers while the program runs: in pino a child copies its parent's level when it is made and does not follow it
 * afterwards. Loggers are held weakly, because some live as short as a request.
 * @param usual the level of the configuration: what a logger made under a forced level goes back to
 */
export function levelSwitch(usual: string): LevelSwitch {
  let known: { logger: WeakRef<Leveled>; own: string }[] = [];
  let pruneAt = 64;
  let forced: string | undefined;

  function prune(): void {
    known = known.filter(({ logger }) => logger.deref() !== undefined);
    pruneAt = Math.max(64, known.length * 2);
  }

  return {
    onChild: (child) => {
      if (known.length >= pruneAt) prune();
      known.push({ logger: new WeakRef(child), own: forced === undefined ? child.level : usual });
    },
    force: (level) => {
      forced = level;
      prune();
      for (const { logger, own } of known) {
        const found = logger.deref();
        if (found) found.level = level ?? own;
      }
    },
    forced: () => forced,
  };
}
