/**
 * Eight colours that stay apart for all common kinds of colour blindness (they alternate in lightness too), and dashes for more. The values
 * stand in styles/tokens.css, once for each theme, each at 3:1 against its ground at least.
 */
export const COLOURS = 8;

/** What is counted together in the end, and is no group of its own. */
export const REST = -1;

export function colourName(i: number): string {
  return i === REST ? "--series-rest" : `--series-${(i % COLOURS) + 1}`;
}

export function colourOf(i: number, styles: CSSStyleDeclaration): string {
  return styles.getPropertyValue(colourName(i)).trim();
}

/** Series beyond the colours are dashed. */
export function dashOf(i: number): number[] {
  const round = Math.max(0, Math.floor(i / COLOURS));
  return round === 0 ? [] : round === 1 ? [6, 3] : [2, 3];
}
