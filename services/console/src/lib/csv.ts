import type { Cell, Table } from "../api/values";

/** RFC 4180; a text that a spreadsheet would take for a formula gets an apostrophe. */
export function toCsv(table: Table): string {
  const lines = [table.columns.map((column) => column.name), ...table.rows];
  return `${lines.map((line) => line.map(field).join(",")).join("\r\n")}\r\n`;
}

function field(value: Cell): string {
  if (value === null) return "";
  if (value instanceof Date) return value.toISOString();
  if (typeof value !== "string") return String(value);
  const safe = /^[=+\-@\t]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** Has the browser save a file. */
export function saved(name: string, type: string, text: string) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  window.setTimeout(() => URL.revokeObjectURL(url), 0);
}
