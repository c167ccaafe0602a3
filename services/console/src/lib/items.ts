/** What stands in a field that takes several, with commas or spaces between. */
export function items(text: string): string[] {
  return text.split(/[\s,]+/).filter((item) => item !== "");
}
