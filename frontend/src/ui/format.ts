/** Numbers, durations and moments as people read them. */
const NUMBER = new Intl.NumberFormat("en-GB");
const MOMENT = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const WALL_CLOCK = new Intl.DateTimeFormat("en-GB", {
  weekday: "short",
  day: "numeric",
  month: "long",
  year: "numeric",
  hour: "2-digit",
  minute: "2-digit",
});

export function count(value: number, one: string, many: string): string {
  return `${NUMBER.format(value)} ${value === 1 ? one : many}`;
}

export function whole(value: number): string {
  return NUMBER.format(Math.round(value));
}

export function rate(perSecond: number): string {
  return perSecond >= 10 ? NUMBER.format(Math.round(perSecond)) : perSecond.toFixed(1);
}

export function duration(seconds: number): string {
  const rounded = Math.max(0, Math.round(seconds));
  if (rounded < 60) return `${rounded} s`;
  const minutes = Math.floor(rounded / 60);
  if (minutes < 60) return `${minutes} min ${rounded % 60} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** A time that is guessed needs no seconds once it is minutes: "3 min". */
export function about(seconds: number): string {
  return seconds < 120 || seconds >= 3600
    ? duration(seconds)
    : `${NUMBER.format(Math.round(seconds / 60))} min`;
}

/** Bytes as people say them: "3.4 MB". */
export function size(bytes: number): string {
  for (const [unit, bound, digits] of [
    ["TB", 1e12, 2],
    ["GB", 1e9, 2],
    ["MB", 1e6, 1],
    ["kB", 1e3, 0],
  ] as const) {
    if (bytes >= bound) return `${(bytes / bound).toFixed(digits)} ${unit}`;
  }
  return `${bytes} B`;
}

/** "in 2 hours", "any moment now", else the date and time. */
export function due(when: Date, now: Date): string {
  const seconds = (when.getTime() - now.getTime()) / 1000;
  if (seconds < 60) return "any moment now";
  if (seconds < 3600) return `in ${count(Math.round(seconds / 60), "minute", "minutes")}`;
  if (seconds < 172_800) return `in ${count(Math.round(seconds / 3600), "hour", "hours")}`;
  return MOMENT.format(when);
}

/** "just now", "12 minutes ago", else the date and time. */
export function moment(when: Date, now: Date): string {
  const seconds = (now.getTime() - when.getTime()) / 1000;
  if (seconds < 0 || seconds >= 86_400) return MOMENT.format(when);
  if (seconds < 60) return "just now";
  if (seconds < 3600) return `${count(Math.floor(seconds / 60), "minute", "minutes")} ago`;
  return `${count(Math.floor(seconds / 3600), "hour", "hours")} ago`;
}

/** The time of capture as the camera's clock showed it, whatever zone the reader is in. */
export function captureTime(takenAt: string): string {
  const wallClock = takenAt.replace(/(Z|[+-]\d\d:?\d\d)$/, "");
  const when = new Date(wallClock);
  return Number.isNaN(when.getTime()) ? "" : WALL_CLOCK.format(when);
}
