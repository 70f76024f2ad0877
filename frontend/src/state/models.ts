/** What the API sends (docs/web.md), read and checked. */
import { list, nullable, number, object, oneOf, text, vector3 } from "./shape";

export interface Photo {
  id: number;
  /** Pixels of the upright original. */
  width: number;
  height: number;
  thumb: string;
  href: string;
  title: string;
  takenAt: string | null;
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
}

export interface SearchAnswer {
  query: string;
  items: Hit[];
  seconds: number;
}

export const RUN_STATES = ["pending", "working", "done", "failed"] as const;
export type RunState = (typeof RUN_STATES)[number];

export interface Run {
  id: number;
  event: string;
  source: string;
  state: RunState;
  discovered: number;
  fetched: number;
  indexed: number;
  unchanged: number;
  duplicates: number;
  failed: number;
  photosPerSecond: number | null;
  secondsLeft: number | null;
  seconds: number | null;
  stages: Record<string, string>;
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
  };
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

export function readRun(value: unknown, path = "run"): Run {
  const run = object(value, path);
  const count = (name: string): number => nullable(run[name], `${path}.${name}`, number) ?? 0;
  const maybe = (name: string): number | null => nullable(run[name], `${path}.${name}`, number);
  const stages = nullable(run.stages, `${path}.stages`, object) ?? {};
  return {
    id: number(run.id, `${path}.id`),
    event: nullable(run.event, `${path}.event`, text) ?? "",
    source: nullable(run.source, `${path}.source`, text) ?? "",
    state: oneOf(run.state, `${path}.state`, RUN_STATES),
    discovered: count("discovered"),
    fetched: count("fetched"),
    indexed: count("indexed"),
    unchanged: count("unchanged"),
    duplicates: count("duplicates"),
    failed: count("failed"),
    photosPerSecond: maybe("photos_per_second"),
    secondsLeft: maybe("seconds_left"),
    seconds: maybe("seconds"),
    stages: Object.fromEntries(Object.entries(stages).map(([name, state]) => [name, `${state}`])),
  };
}

export function readRuns(value: unknown): Run[] {
  return list(object(value, "runs").items, "runs.items", readRun);
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

export function isActive(run: Run): boolean {
  return run.state === "pending" || run.state === "working";
}

/** Photos of the run that need nothing more. */
export function settled(run: Run): number {
  return run.indexed + run.unchanged + run.duplicates + run.failed;
}
