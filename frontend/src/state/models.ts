/** What the API sends (docs/web.md), read and checked. */
import { type Json, list, nullable, number, object, oneOf, text, vector3 } from "./shape";

export interface Photo {
  id: number;
  /** Pixels of the upright original. */
  width: number;
  height: number;
  thumb: string;
  href: string;
  title: string;
  takenAt: string | null;
  stack?: Stack | null;
  unfolded?: boolean;
}

/** A group of which only the best frame is shown. */
export interface Stack {
  group: number;
  kind: string;
  count: number;
}

export interface Hit extends Photo {
  rank: number;
  /** Cosine similarity with the query. */
  score: number;
}

export interface PhotoPage {
  items: Photo[];
  next: string | null;
  total: number;
  /** Photos of the event, those in stacks and in other scenes too. */
  inEvent: number;
}

export interface SearchAnswer {
  query: string;
  items: Hit[];
  seconds: number;
}

export const RUN_STATES = ["pending", "working", "paused", "done", "failed", "cancelled"] as const;
export type RunState = (typeof RUN_STATES)[number];
export const PROGRESS_STATES = ["none", ...RUN_STATES] as const;
export type ProgressState = (typeof PROGRESS_STATES)[number];

/** What is counted of one run, or of several together. */
export interface Figures {
  discovered: number;
  /** Found, and still to be worked on. */
  waiting: number;
  fetched: number;
  indexed: number;
  unchanged: number;
  failed: number;
  ignored: number;
  cancelled: number;
  bytes: number;
  photosPerSecond: number | null;
  secondsLeft: number | null;
}

export interface Run extends Figures {
  id: number;
  source: string;
  state: RunState;
  seconds: number | null;
  stages: Record<string, string>;
}

/** An event's open runs together, or its newest one where none is open. */
export interface Progress extends Figures {
  event: string;
  state: ProgressState;
  runs: Run[];
}

export interface EventSummary {
  slug: string;
  name: string;
  photos: number;
}

export interface SpaceManifest {
  version: string;
  count: number;
  url: string;
  min: [number, number, number];
  max: [number, number, number];
}

export function readPhoto(value: unknown, path = "photo"): Photo {
  const photo = object(value, path);
  return {
    id: number(photo.id, `${path}.id`),
    width: Math.max(1, number(photo.width, `${path}.width`)),
    height: Math.max(1, number(photo.height, `${path}.height`)),
    thumb: text(photo.thumb, `${path}.thumb`),
    href: text(photo.href, `${path}.href`),
    title: nullable(photo.title, `${path}.title`, text) ?? "",
    takenAt: nullable(photo.taken_at, `${path}.taken_at`, text),
    stack: photo.stack === undefined ? null : nullable(photo.stack, `${path}.stack`, readStack),
  };
}

function readStack(value: unknown, path: string): Stack {
  const stack = object(value, path);
  return {
    group: number(stack.group, `${path}.group`),
    kind: text(stack.kind, `${path}.kind`),
    count: number(stack.count, `${path}.count`),
  };
}

/** The photos of a group, the best frame first. */
export function readGroup(value: unknown): Photo[] {
  const group = object(value, "group");
  return list(group.members, "group.members", readPhoto);
}

export function readHit(value: unknown, path = "hit"): Hit {
  const hit = object(value, path);
  return {
    ...readPhoto({ ...hit, id: hit.id ?? hit.photo_id }, path),
    rank: number(hit.rank, `${path}.rank`),
    score: number(hit.score, `${path}.score`),
  };
}

export function readPhotoPage(value: unknown): PhotoPage {
  const page = object(value, "page");
  return {
    items: list(page.items, "page.items", readPhoto),
    next: nullable(page.next, "page.next", text),
    total: number(page.total, "page.total"),
    inEvent: number(page.in_event, "page.in_event"),
  };
}

export function readSearchAnswer(value: unknown): SearchAnswer {
  const answer = object(value, "answer");
  return {
    query: text(answer.query, "answer.query"),
    items: list(answer.items, "answer.items", readHit),
    seconds: number(answer.seconds, "answer.seconds"),
  };
}

function readFigures(figures: Json, path: string): Figures {
  const count = (name: string): number => nullable(figures[name], `${path}.${name}`, number) ?? 0;
  const maybe = (name: string): number | null => nullable(figures[name], `${path}.${name}`, number);
  return {
    discovered: count("discovered"),
    waiting: count("waiting"),
    fetched: count("fetched"),
    indexed: count("indexed"),
    unchanged: count("unchanged"),
    failed: count("failed"),
    ignored: count("ignored"),
    cancelled: count("cancelled"),
    bytes: count("bytes"),
    photosPerSecond: maybe("photos_per_second"),
    secondsLeft: maybe("seconds_left"),
  };
}

export function readRun(value: unknown, path = "run"): Run {
  const run = object(value, path);
  const stages = nullable(run.stages, `${path}.stages`, object) ?? {};
  return {
    ...readFigures(run, path),
    id: number(run.id, `${path}.id`),
    source: nullable(run.source, `${path}.source`, text) ?? "",
    state: oneOf(run.state, `${path}.state`, RUN_STATES),
    seconds: nullable(run.seconds, `${path}.seconds`, number),
    stages: Object.fromEntries(Object.entries(stages).map(([name, state]) => [name, `${state}`])),
  };
}

export function readProgress(value: unknown, path = "progress"): Progress {
  const progress = object(value, path);
  return {
    ...readFigures(progress, path),
    event: text(progress.event, `${path}.event`),
    state: oneOf(progress.state, `${path}.state`, PROGRESS_STATES),
    runs: list(progress.runs, `${path}.runs`, readRun),
  };
}

export function readEvents(value: unknown): EventSummary[] {
  return list(object(value, "events").items, "events.items", (item, path) => {
    const event = object(item, path);
    return {
      slug: text(event.slug, `${path}.slug`),
      name: text(event.name, `${path}.name`),
      photos: nullable(event.photos, `${path}.photos`, number) ?? 0,
    };
  });
}

export function readManifest(value: unknown): SpaceManifest {
  const manifest = object(value, "manifest");
  const bounds = object(manifest.bounds, "manifest.bounds");
  return {
    version: `${manifest.version}`,
    count: number(manifest.count, "manifest.count"),
    url: text(manifest.url, "manifest.url"),
    min: vector3(bounds.min, "manifest.bounds.min"),
    max: vector3(bounds.max, "manifest.bounds.max"),
  };
}

export function isActive({ state }: { state: ProgressState }): boolean {
  return state === "pending" || state === "working";
}

/** Photos that need nothing more. */
export function settled(figures: Figures): number {
  const givenUp = figures.ignored + figures.cancelled;
  return figures.indexed + figures.unchanged + figures.failed + givenUp;
}
