import assert from "node:assert/strict";
import fc from "fast-check";
import { command, type InspectCommand } from "../../inspect/command.ts";
import type { InspectContext } from "../../inspect/context.ts";
import { runByLibrary } from "../../inspect/by_library.ts";
import { readPlainLine } from "../../inspect/plain_line.ts";
import { watchAliases, type WatchFlags, watchFlags } from "../../inspect/flags.ts";

interface Flags extends WatchFlags {
  readonly count?: number;
  readonly names?: readonly string[];
}

/** A command with a flag of each kind; what it is called with goes to `heard`. */
function sample(heard: unknown[]): InspectCommand {
  return command<Flags, [string, number?]>({
    loader: () =>
      Promise.resolve(function (flags: Flags, ...rest: readonly unknown[]): void {
        heard.push({ flags, rest });
      }),
    parameters: {
      flags: {
        ...watchFlags,
        count: {
          kind: "parsed",
          optional: true,
          brief: "",
          parse: (word) => {
            if (!/^\d+$/.test(word)) throw new SyntaxError(`no number: ${word}`);
            return Number(word);
          },
        },
        names: { kind: "parsed", optional: true, variadic: true, brief: "", parse: String },
      },
      aliases: { ...watchAliases, n: "count" },
      positional: {
        kind: "tuple",
        parameters: [
          { brief: "", parse: String },
          { brief: "", parse: Number, optional: true },
        ],
      },
    },
    docs: { brief: "b", fullDescription: "d" },
  });
}

const silent = (): InspectContext =>
  ({ process: { stdout: { write: () => {} }, stderr: { write: () => {} } } }) as never;

const words = fc.array(
  fc.oneof(
    {
      weight: 6,
      arbitrary: fc.constantFrom("-o", "json", "--output", "--watch", "-w", "pod", "3"),
    },
    fc.constantFrom("--output=yaml", "-o=json", "--count", "-n", "7", "--count=9", "--no-headers"),
    fc.constantFrom("--noHeaders", "--subnet-file", "/x", "--subnet-file=", "--", "-", "", "-ow"),
    fc.constantFrom("--help", "-h", "--no-watch", "--watch=true", "xml", "--names", "--colour"),
  ),
  { maxLength: 6 },
);

Deno.test("readPlainLine: says what the library says, or leaves it to the library", async () => {
  let plain = 0;
  await fc.assert(
    fc.asyncProperty(words, async (line) => {
      const heard: unknown[] = [];
      const withoutList = sample(heard);
      const { names: _, ...flags } = withoutList.parameters.flags ?? {};
      const one = { ...withoutList, parameters: { ...withoutList.parameters, flags } };
      const read = await readPlainLine(one, line, silent());
      if (read === undefined) return;
      plain++;
      await runByLibrary({ it: () => Promise.resolve(one) }, ["it", ...line], silent());
      const present = (values: object): object =>
        Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
      const [said] = heard as { flags: object; rest: unknown[] }[];
      assert.ok(said !== undefined, `the library refuses ${JSON.stringify(line)}`);
      assert.deepEqual(read.flags, present(said.flags));
      assert.deepEqual(
        read.rest.filter((value) => value !== undefined),
        said.rest.filter((value) => value !== undefined),
      );
    }),
    { numRuns: 2000 },
  );
  assert.ok(plain > 100, `${plain} of 2,000 lines were plain`);
});

const ODD = [
  ["x", "--help"],
  ["x", "--no-such"],
  ["x", "-o", "xml"],
  ["x", "-o"],
  ["x", "--count", "many"],
  ["x", "--watch", "--watch"],
  [],
  ["x", "1", "y"],
];

for (const line of ODD) {
  Deno.test(`readPlainLine: ${JSON.stringify(line)} is the library's`, async () => {
    assert.equal(await readPlainLine(sample([]), line, silent()), undefined);
  });
}
