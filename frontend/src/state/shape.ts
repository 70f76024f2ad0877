/** Reading JSON from the network without trusting it: each reader throws `WrongShape` with the path. */
export class WrongShape extends Error {
  override name = "WrongShape";
}

export type Json = Record<string, unknown>;

export function object(value: unknown, path: string): Json {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new WrongShape(`${path} is not an object`);
  }
  return value as Json;
}

export function list<T>(
  value: unknown,
  path: string,
  each: (item: unknown, path: string) => T,
): T[] {
  if (!Array.isArray(value)) throw new WrongShape(`${path} is not a list`);
  return value.map((item, index) => each(item, `${path}[${index}]`));
}

export function text(value: unknown, path: string): string {
  if (typeof value !== "string") throw new WrongShape(`${path} is not text`);
  return value;
}

export function number(value: unknown, path: string): number {
  if (typeof value !== "number" || !Number.isFinite(value)) {
    throw new WrongShape(`${path} is not a number`);
  }
  return value;
}

export function nullable<T>(
  value: unknown,
  path: string,
  read: (value: unknown, path: string) => T,
): T | null {
  return value === null || value === undefined ? null : read(value, path);
}

export function oneOf<const T extends readonly string[]>(
  value: unknown,
  path: string,
  allowed: T,
): T[number] {
  const found = allowed.find((name) => name === value);
  if (found === undefined) throw new WrongShape(`${path} is none of ${allowed.join(", ")}`);
  return found;
}

export function vector3(value: unknown, path: string): [number, number, number] {
  const [x, y, z] = list(value, path, number);
  if (x === undefined || y === undefined || z === undefined) {
    throw new WrongShape(`${path} has fewer than three numbers`);
  }
  return [x, y, z];
}
