import assert from "node:assert/strict";
import { overview, unknownCommand } from "../../inspect/overview.ts";

Deno.test("overview: all commands of this version, with examples", async (t) => {
  await t.assertSnapshot(overview());
});

const MEANT: Readonly<Record<string, string | undefined>> = {
  deamon: "daemon",
  daemn: "daemon",
  adeomn: "daemon",
  inspct: "inspect",
  INSPECT: undefined,
  cnii: "cni",
  nci: "cni",
  "--hlep": "--help",
  "--verison": "--version",
  x: undefined,
  peers: undefined,
  "": undefined,
};

for (const [word, meant] of Object.entries(MEANT)) {
  Deno.test(`unknownCommand: ${JSON.stringify(word)} → ${meant ?? "no guess"}`, () => {
    const words = meant === undefined ? "" : `; did you mean ${meant}?`;
    assert.equal(
      unknownCommand(word),
      `twill: no command ${JSON.stringify(word)}${words}\nRun: twill --help\n`,
    );
  });
}
