// Which key stands for which action: arrows for the ways, a letter of its own name for each other one.

const RESERVED = new Set(["n", "t", "i", "f", "l"]);
const WAYS: [string, RegExp][] = [
  ["ArrowUp", /(^|[^a-z])(up|north|forwards?|ahead)([^a-z]|$)/],
  ["ArrowDown", /(^|[^a-z])(down|south|backwards?|back)([^a-z]|$)/],
  ["ArrowLeft", /(^|[^a-z])(left|west)([^a-z]|$)/],
  ["ArrowRight", /(^|[^a-z])(right|east)([^a-z]|$)/],
];
const SPARE = "asdqwezxcvrgbhjkmopuy456789";

export const SIGNS: Record<string, string> = { ArrowUp: "↑", ArrowDown: "↓", ArrowLeft: "←", ArrowRight: "→", Enter: "⏎" };

/** The key of each action, by its place in the list; null where the keys do not suffice. */
export function assignKeys(actions: readonly string[]): (string | null)[] {
  const taken = new Set<string>();
  const keys: (string | null)[] = actions.map((action) => {
    const way = WAYS.find(([key, pattern]) => !taken.has(key) && pattern.test(action.toLowerCase()));
    if (way !== undefined) taken.add(way[0]);
    return way?.[0] ?? null;
  });
  const letters = (action: string): string[] => {
    // The first letters of words come first: `go_to:stove` is g, else t, else s.
    const words = action.toLowerCase().split(/[^a-z]+/).filter((word) => word !== "");
    const heads = words.map((word) => word[0] ?? "");
    return [...heads.slice(-1), ...heads, ...words.join("")];
  };
  actions.forEach((action, index) => {
    if (keys[index] !== null) return;
    const free = [...letters(action), ...SPARE].find((key) => !taken.has(key) && !RESERVED.has(key));
    if (free === undefined) return;
    taken.add(free);
    keys[index] = free;
  });
  return keys;
}
