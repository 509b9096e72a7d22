/**
 * Counts results in the JUnit reports that `deno test --junit-path` writes.
 *
 * @module
 */

/** Results of one or more test runs. Names are "file: test". */
export interface Tally {
  readonly passed: number;
  readonly failed: readonly string[];
  readonly ignored: readonly string[];
}

const ENTITIES: Readonly<Record<string, string>> = {
  lt: "<",
  gt: ">",
  amp: "&",
  quot: '"',
  apos: "'",
};

function unescape(text: string): string {
  return text.replace(
    /&(?:#(\d+)|#x([0-9a-f]+)|(\w+));/gi,
    (whole, decimal, hex, name) =>
      decimal !== undefined
        ? String.fromCodePoint(Number(decimal))
        : hex !== undefined
        ? String.fromCodePoint(parseInt(hex, 16))
        : ENTITIES[name] ?? whole,
  );
}

function attribute(tag: string, name: string): string {
  return unescape(new RegExp(` ${name}="([^"]*)"`).exec(tag)?.[1] ?? "");
}

/**
 * Pure: the results in one report.
 *
 * Steps of a test ("parent > step") are not counted as tests, because their parent fails with
 * them; but an ignored step is reported, because its parent passes without it.
 *
 * @param xml a whole report; an empty or cut one gives what it holds
 */
export function tally(xml: string): Tally {
  const cases = [...xml.matchAll(/<testcase\b([^>]*)>([\s\S]*?)<\/testcase>/g)].map((match) => ({
    name: attribute(match[1]!, "name"),
    file: attribute(match[1]!, "classname").replace(/^\.\//, ""),
    body: match[2]!,
  }));
  const names = new Set(cases.map(({ file, name }) => `${file}: ${name}`));
  const isStep = (name: string): boolean => {
    for (let at = name.indexOf(" > "); at >= 0; at = name.indexOf(" > ", at + 1)) {
      if (names.has(name.slice(0, at))) return true;
    }
    return false;
  };
  let passed = 0;
  const failed: string[] = [];
  const ignored: string[] = [];
  for (const { file, name, body } of cases) {
    const full = `${file}: ${name}`;
    if (/<skipped\b/.test(body)) ignored.push(full);
    else if (isStep(full)) continue;
    else if (/<(?:failure|error)\b/.test(body)) failed.push(full);
    else passed++;
  }
  return { passed, failed, ignored };
}

/** Pure: all results together. */
export function sum(tallies: readonly Tally[]): Tally {
  return {
    passed: tallies.reduce((all, { passed }) => all + passed, 0),
    failed: tallies.flatMap(({ failed }) => failed),
    ignored: tallies.flatMap(({ ignored }) => ignored),
  };
}
