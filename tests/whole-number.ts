/**
 * A whole number that was asked for on a command line.
 * @param otherwise what counts where nothing was asked for
 * @throws RangeError when it is none from 1 on
 */
export function wholeNumber(name: string, text: string | undefined, otherwise: number): number {
  const found = text === undefined ? otherwise : Number(text);
  if (!Number.isSafeInteger(found) || found < 1)
    throw new RangeError(`--${name} is a whole number from 1, not ${text}`);
  return found;
}
