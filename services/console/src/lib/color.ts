/** A colour as three numbers from 0 to 255. */
export type Rgb = readonly [number, number, number];

const BLACK: Rgb = [0, 0, 0];
const WHITE: Rgb = [255, 255, 255];

/** Of "#1a2b3c"; undefined for anything else. */
export function rgbOf(text: string): Rgb | undefined {
  const [, r, g, b] = /^#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})$/i.exec(text) ?? [];
  if (r === undefined || g === undefined || b === undefined) return undefined;
  return [Number.parseInt(r, 16), Number.parseInt(g, 16), Number.parseInt(b, 16)];
}

export function cssOf(color: Rgb): string {
  return `rgb(${color.map(Math.round).join(" ")})`;
}

/** `part` of the one, the rest of the other. */
export function mixed(one: Rgb, other: Rgb, part: number): Rgb {
  const of = (i: 0 | 1 | 2) => one[i] * part + other[i] * (1 - part);
  return [of(0), of(1), of(2)];
}

/** How well one is told from the other, 1 to 21, as WCAG 2 counts it. */
export function contrast(one: Rgb, other: Rgb): number {
  const [light, dark] = [luminance(one), luminance(other)].sort((a, b) => b - a) as [number, number];
  return (light + 0.05) / (dark + 0.05);
}

function luminance(color: Rgb): number {
  const [r, g, b] = color.map((value) => {
    const part = value / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  }) as [number, number, number];
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

/** The colour, or the nearest to it, darker or lighter, that can be read on this ground. */
export function readable(color: Rgb, ground: Rgb): Rgb {
  const towards = contrast(BLACK, ground) > contrast(WHITE, ground) ? BLACK : WHITE;
  for (let part = 1; part > 0; part -= 0.05) {
    const tried = mixed(color, towards, part);
    if (contrast(tried, ground) >= 4.6) return tried;
  }
  return towards;
}

/** What can be read on it. */
export function inkOn(color: Rgb): Rgb {
  return contrast(WHITE, color) >= contrast(BLACK, color) ? WHITE : BLACK;
}
