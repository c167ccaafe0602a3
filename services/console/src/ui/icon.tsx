/** Drawn on a grid of 16, strokes of 1.5. */
const PATHS = {
  explore: "M2.5 13.5V2.5M2.5 13.5h11M5 10.5l2.5-3.5 2.5 2 3.5-5",
  sql: "M2.5 4.5 6 8l-3.5 3.5M8 12h5.5",
  live: "M8 8h.01M5.2 10.8a4 4 0 0 1 0-5.6M10.8 5.2a4 4 0 0 1 0 5.6M3.1 12.9a7 7 0 0 1 0-9.8M12.9 3.1a7 7 0 0 1 0 9.8",
  dashboard: "M2.5 2.5h4.7v6H2.5zM8.8 2.5h4.7v3.4H8.8zM8.8 7.5h4.7v6H8.8zM2.5 10.1h4.7v3.4H2.5z",
  metric: "M3 13.5V9M6.3 13.5v-7M9.7 13.5v-4M13 13.5v-11",
  key: "M10 2.5a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7M7.5 8.5l-5 5M4.3 11.7l1.7 1.7",
  app: "M2.5 2.5h11v11h-11zM2.5 6h11M6 6v7.5",
  report: "M4 2.5h6l2.5 2.5v8.5H4zM6 7.5h4.5M6 10h4.5",
  audit: "M8 2.5l5 2v3.6c0 2.8-2 4.7-5 5.9-3-1.2-5-3.1-5-5.9V4.5zM5.9 8l1.5 1.5 2.8-3",
  usage: "M8 13.5a5.5 5.5 0 1 1 5.5-5.5M8 8l3-3M13.5 10.5v3h-3",
  health: "M1.5 8.5H5l1.5-4.5 3 8 1.5-3.5h3.5",
  plus: "M8 3v10M3 8h10",
  close: "M4 4l8 8M12 4l-8 8",
  down: "M4 6.2 8 10l4-3.8",
  sun: "M8 5.2a2.8 2.8 0 1 0 0 5.6 2.8 2.8 0 0 0 0-5.6M8 1.5v1.3M8 13.2v1.3M1.5 8h1.3M13.2 8h1.3M3.4 3.4l.9.9M11.7 11.7l.9.9M12.6 3.4l-.9.9M4.3 11.7l-.9.9",
  moon: "M13.2 9.6A5.6 5.6 0 0 1 6.4 2.8a5.6 5.6 0 1 0 6.8 6.8z",
  out: "M6.5 2.5h-4v11h4M6 8h7.5M10.5 5l3 3-3 3",
  line: "M2 11.5l3.5-5 3 2.5L14 3.5",
  bar: "M3.5 13V7M8 13V3M12.5 13V9",
  table: "M2.5 3h11v10h-11zM2.5 6.3h11M2.5 9.7h11M6.5 6.3V13",
  download: "M8 2.5v7.5M4.8 7.2 8 10.3l3.2-3.1M2.5 13.5h11",
  play: "M4.5 2.8v10.4L13 8z",
  pause: "M5 3v10M11 3v10",
  warn: "M8 2.2 14.3 13H1.7zM8 6.3v3M8 11.2h.01",
  help: "M6.2 6.1a1.9 1.9 0 1 1 2.6 1.8c-.6.3-.8.7-.8 1.3M8 11.3h.01M8 1.8a6.2 6.2 0 1 0 0 12.4A6.2 6.2 0 0 0 8 1.8",
  menu: "M2.5 4.5h11M2.5 8h11M2.5 11.5h11",
  copy: "M5.5 5.5h8v8h-8zM3 10.5h-.5v-8h8V3",
  share: "M8 9.5v-7M5 5l3-2.8L11 5M4.5 7.5h-1v6h9v-6h-1",
  edit: "M3 13l.7-3L10.5 3.2l2.3 2.3L6 12.3z",
  trash: "M2.5 4.5h11M6 4.5v-2h4v2M4 4.5l.6 9h6.8l.6-9",
  search: "M7 2.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9M10.3 10.3l3.2 3.2",
  check: "M3 8.5 6.5 12 13 4.5",
  world:
    "M8 1.8a6.2 6.2 0 1 0 0 12.4A6.2 6.2 0 0 0 8 1.8M1.8 8h12.4M8 1.8c2.3 2 2.3 10.4 0 12.4M8 1.8c-2.3 2-2.3 10.4 0 12.4",
  settings:
    "M2.5 4.5h5M11.5 4.5h2M7.5 4.5a2 2 0 1 0 4 0 2 2 0 1 0-4 0M2.5 11.5h2M8.5 11.5h5M4.5 11.5a2 2 0 1 0 4 0 2 2 0 1 0-4 0",
  branding: "M8 2.2s4.3 4.3 4.3 7.2a4.3 4.3 0 0 1-8.6 0C3.7 6.5 8 2.2 8 2.2M8 11.5a2 2 0 0 0 2-2",
  tenants: "M2.5 13.5v-8l5-3v11M7.5 6.5h6v7M1.5 13.5h13M5 7v.01M5 10v.01M10.5 9.5v.01",
  percent:
    "M12.5 3.5l-9 9M4.8 3.2a1.6 1.6 0 1 0 0 3.2 1.6 1.6 0 0 0 0-3.2M11.2 9.6a1.6 1.6 0 1 0 0 3.2 1.6 1.6 0 0 0 0-3.2",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { name: IconName }) {
  return (
    <svg className="icon" viewBox="0 0 16 16" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  );
}

export function Mark() {
  return (
    <svg className="mark" viewBox="0 0 32 32" aria-hidden="true">
      <rect width="32" height="32" rx="7" />
      <path className="pipe" d="M8 7v9a8 8 0 0 0 16 0" />
      <path className="jet" d="M16 7v8" />
      <circle cx="16" cy="16" r="2.6" />
    </svg>
  );
}
