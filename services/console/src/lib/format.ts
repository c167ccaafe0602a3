import type { Cell } from "../api/values";

const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const exact = new Intl.NumberFormat("en-US", { maximumSignificantDigits: 15, maximumFractionDigits: 6 });
const short = new Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 1 });

/** A number to be read at a glance: two decimals at most from 1 on, four significant digits below. */
export function glance(value: number): string {
  const size = Math.abs(value);
  if (Number.isInteger(value)) return whole.format(value);
  if (size >= 1_000) return new Intl.NumberFormat("en-US", { maximumFractionDigits: 1 }).format(value);
  if (size >= 1) return new Intl.NumberFormat("en-US", { maximumFractionDigits: 2 }).format(value);
  return new Intl.NumberFormat("en-US", { maximumSignificantDigits: 4 }).format(value);
}

export function axis(value: number): string {
  return Math.abs(value) >= 10_000 ? short.format(value) : glance(value);
}

/** With its unit, where it is one that money is counted in with the sign before it. */
export function withUnit(value: number, unit: string): string {
  const text = glance(value);
  if (unit === "") return text;
  if (/^[A-Z]{3}$/.test(unit)) {
    try {
      const digits = Math.abs(value) >= 1_000 ? 0 : 2;
      return new Intl.NumberFormat("en-US", {
        style: "currency",
        currency: unit,
        maximumFractionDigits: digits,
        minimumFractionDigits: digits,
      }).format(value);
    } catch {
      return `${text} ${unit}`;
    }
  }
  return unit === "%" ? `${text} %` : `${text} ${unit}`;
}

export function shown(value: Cell, zone: string): string {
  if (value === null) return "–";
  if (value instanceof Date) return instant(value, zone);
  if (typeof value === "number") return exact.format(value);
  return String(value);
}

export function bytes(count: number): string {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let value = count;
  let unit = 0;
  while (value >= 1_000 && unit < units.length - 1) {
    value /= 1_000;
    unit += 1;
  }
  return `${value < 10 && unit > 0 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

export function milliseconds(us: number): string {
  const ms = us / 1_000;
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  return ms < 1_000 ? `${Math.round(ms)} ms` : `${(ms / 1_000).toFixed(2)} s`;
}

const formats = new Map<string, Intl.DateTimeFormat>();

function dates(zone: string, name: string, options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  const key = `${zone} ${name}`;
  let format = formats.get(key);
  if (format === undefined) {
    format = new Intl.DateTimeFormat("en-GB", { timeZone: zone, hourCycle: "h23", ...options });
    formats.set(key, format);
  }
  return format;
}

function parts(format: Intl.DateTimeFormat, date: Date): Record<string, string> {
  return Object.fromEntries(format.formatToParts(date).map(({ type, value }) => [type, value]));
}

/** 2026-01-31 23:00, with seconds where they aren't 0. */
export function instant(date: Date, zone: string): string {
  const options = { year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit" } as const;
  const p = parts(dates(zone, "instant", { ...options, second: "2-digit" }), date);
  const seconds = p.second === "00" ? "" : `:${p.second}`;
  const clock = p.hour === "00" && p.minute === "00" && seconds === "" ? "" : ` ${p.hour}:${p.minute}${seconds}`;
  return `${p.year}-${p.month}-${p.day}${clock}`;
}

export function clock(date: Date, zone: string): string {
  return dates(zone, "clock", { hour: "2-digit", minute: "2-digit", second: "2-digit" }).format(date);
}

export type Step = "minute" | "hour" | "day" | "week" | "month" | "quarter" | "year";

/** A bucket's name, as its width needs it. */
export function bucket(date: Date, step: Step | undefined, zone: string): string {
  switch (step) {
    case "minute":
    case "hour":
      return dates(zone, "hour", {
        weekday: "short",
        day: "numeric",
        month: "short",
        hour: "2-digit",
        minute: "2-digit",
      }).format(date);
    case "week":
      return `week of ${dates(zone, "day", { day: "numeric", month: "short", year: "numeric" }).format(date)}`;
    case "month":
      return dates(zone, "month", { month: "short", year: "numeric" }).format(date);
    case "quarter":
      return `Q${Math.floor((Number(parts(dates(zone, "m", { month: "numeric" }), date).month) - 1) / 3) + 1} ${dates(zone, "year", { year: "numeric" }).format(date)}`;
    case "year":
      return dates(zone, "year", { year: "numeric" }).format(date);
    default:
      return dates(zone, "weekday", { weekday: "short", day: "numeric", month: "short" }).format(date);
  }
}

/** How far one number is from another, as a share: +12.5 %. */
export function change(now: number, before: number): string {
  if (before === 0) return now === 0 ? "±0 %" : "new";
  const share = ((now - before) / Math.abs(before)) * 100;
  if (share >= 1_000) return `×${glance(Number((now / before).toPrecision(3)))}`;
  const text = Math.abs(share) >= 100 ? Math.abs(share).toFixed(0) : Math.abs(share).toFixed(1);
  return `${share > 0 ? "+" : share < 0 ? "−" : "±"}${text} %`;
}

/** Since when, in the largest unit that fits. */
export function ago(date: Date, now: Date): string {
  const seconds = Math.max(0, Math.round((now.getTime() - date.getTime()) / 1_000));
  for (const [unit, size] of [
    ["d", 86_400],
    ["h", 3_600],
    ["min", 60],
  ] as const) {
    if (seconds >= size) return `${Math.floor(seconds / size)} ${unit} ago`;
  }
  return seconds < 3 ? "just now" : `${seconds} s ago`;
}
