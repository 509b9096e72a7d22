/**
 * What may follow the words of a command line. Pure but for the live names, which come in as a
 * function.
 *
 * @module
 */

/** A word that fits, and what it means. */
export interface Proposal {
  readonly word: string;
  readonly brief: string;
}

/** Live names: of this node's pods, of the cluster's nodes. */
export type Names = "pods" | "peers";

/** A flag, as it is typed. */
export interface Flag {
  /** `--output`. */
  readonly word: string;
  /** `-o`, where it has one. */
  readonly short?: string;
  readonly brief: string;
  /** Takes a word behind it: one of these, a live name, or anything. */
  readonly value?: readonly string[] | Names | "any";
}

/** A command with what may stand behind it. */
export interface Command {
  readonly name: string;
  readonly brief: string;
  readonly commands?: () => Promise<readonly Command[]>;
  readonly flags?: () => Promise<readonly Flag[]>;
  /** What its arguments may be. */
  readonly argument?: () => Promise<readonly string[] | Names | undefined>;
}

/**
 * The words that may stand in the place of the last one.
 *
 * @param words those behind the program's name; the last is what has been typed of the one asked for.
 * @param live the names that there are; empty when nobody knows.
 */
export async function propose(
  root: Command,
  words: readonly string[],
  live: (names: Names) => Promise<readonly string[]>,
): Promise<Proposal[]> {
  const line = joined(words);
  const partial = line.pop() ?? "";
  let command = root;
  let expects: Flag | undefined;
  const used = new Set<string>();
  for (const word of line) {
    if (expects !== undefined) {
      expects = undefined;
      continue;
    }
    if (word.startsWith("-")) {
      const [name = ""] = word.split("=");
      const flag = (await command.flags?.() ?? []).find(({ word, short }) =>
        word === name || short === name
      );
      if (flag !== undefined) used.add(flag.word);
      if (flag?.value !== undefined && !word.includes("=")) expects = flag;
      continue;
    }
    command = (await command.commands?.() ?? []).find(({ name }) => name === word) ?? command;
  }
  const fits = (proposals: readonly Proposal[]): Proposal[] =>
    proposals.filter(({ word }) => word.startsWith(partial));
  const values = async (value: Flag["value"], start: string): Promise<Proposal[]> => {
    if (value === undefined || value === "any") return [];
    const list = typeof value === "string" ? await live(value) : value;
    return list.map((word) => ({ word: start + word, brief: "" }));
  };
  if (expects !== undefined) return fits(await values(expects.value, ""));
  const [start, name] = /^(--[a-z-]+)=/.exec(partial) ?? [];
  const flags = await command.flags?.() ?? [];
  if (name !== undefined && start !== undefined) {
    return fits(await values(flags.find(({ word }) => word === name)?.value, start));
  }
  if (partial.startsWith("-")) {
    const left = flags.filter(({ word }) => !used.has(word));
    return fits([...left, { word: "--help", brief: "Print help information and exit" }]);
  }
  return fits([
    ...await command.commands?.() ?? [],
    ...await values(await command.argument?.(), ""),
  ].map((one) => "name" in one ? { word: one.name, brief: one.brief } : one));
}

/** bash takes `--output=js` apart into three words. */
function joined(words: readonly string[]): string[] {
  const line: string[] = [];
  for (const word of words) {
    const before = line.at(-1);
    const isRest = before !== undefined && /^--[a-z-]+=$/.test(before);
    if (word === "=" && before?.startsWith("--") || isRest) line[line.length - 1] = before + word;
    else line.push(word);
  }
  return line;
}
