// Strict decoders of JSON: a value has the expected form, or `WireError` says where it does not.

export class WireError extends Error {}

export type Decoder<T> = (value: unknown, where: string) => T;
export type Decoded<D> = D extends Decoder<infer T> ? T : never;

function wrong(where: string, expected: string, value: unknown): never {
  const got = value === null ? "null" : Array.isArray(value) ? "a list" : typeof value;
  throw new WireError(`${where}: expected ${expected}, got ${got}`);
}

export const text: Decoder<string> = (value, where) => (typeof value === "string" ? value : wrong(where, "text", value));

export const flag: Decoder<boolean> = (value, where) =>
  typeof value === "boolean" ? value : wrong(where, "true or false", value);

export const number: Decoder<number> = (value, where) =>
  typeof value === "number" && Number.isFinite(value) ? value : wrong(where, "a number", value);

export const anything: Decoder<unknown> = (value) => value;

export function oneOf<const T extends string | boolean>(...allowed: T[]): Decoder<T> {
  return (value, where) => allowed.find((one) => one === value) ?? wrong(where, allowed.join(" or "), value);
}

export function list<T>(item: Decoder<T>): Decoder<T[]> {
  return (value, where) =>
    Array.isArray(value)
      ? value.map((one: unknown, index) => item(one, `${where}[${index}]`))
      : wrong(where, "a list", value);
}

export function table<T>(item: Decoder<T>): Decoder<Record<string, T>> {
  return (value, where) => {
    const found = fields(value, where);
    return Object.fromEntries(Object.entries(found).map(([key, one]) => [key, item(one, `${where}.${key}`)]));
  };
}

export function nullable<T>(item: Decoder<T>): Decoder<T | null> {
  return (value, where) => (value === null ? null : item(value, where));
}

/** A field that may be left out or null. */
export function optional<T>(item: Decoder<T>): Decoder<T | null> {
  return (value, where) => (value === null || value === undefined ? null : item(value, where));
}

export function record<S extends Record<string, Decoder<unknown>>>(shape: S): Decoder<{ [K in keyof S]: Decoded<S[K]> }> {
  return (value, where) => {
    const found = fields(value, where);
    const decoded = Object.entries(shape).map(([key, item]) => [key, item(found[key], `${where}.${key}`)]);
    return Object.fromEntries(decoded) as { [K in keyof S]: Decoded<S[K]> };
  };
}

function fields(value: unknown, where: string): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) wrong(where, "fields", value);
  return value as Record<string, unknown>;
}
