import assert from "node:assert/strict";
import { load, loadAll } from "js-yaml";
import { ErrorCode, OpError } from "../../engine/errors.ts";
import { need } from "../../inspect/rights.ts";
import { HEALTHY, inspect, peer, uplink, vtep } from "./scene.ts";

const COMMANDS_OF_TABLES = [
  "status",
  "subnet",
  "routes",
  "peers",
  "leases",
  "pods",
  "rules",
  "check",
];
const BROKEN = { facts: [...uplink(), ...vtep(), ...peer(2), ...peer(3).slice(0, 2)] };

for (const command of COMMANDS_OF_TABLES) {
  Deno.test(`${command}: --help has real examples`, async (t) => {
    const outcome = await inspect(`${command} --help`);
    assert.equal(outcome.code, 0);
    assert.equal(outcome.stdout.match(/^ {2}twill inspect .* # /gm)?.length, 3);
    await t.assertSnapshot(outcome.stdout);
  });

  Deno.test(`${command}: yaml says the same as json`, async () => {
    const json = await inspect(`${command} -o json`, BROKEN);
    const yaml = await inspect(`${command} -o yaml`, BROKEN);
    assert.deepEqual(load(yaml.stdout), JSON.parse(json.stdout));
    assert.equal(yaml.code, json.code);
    assert.deepEqual(Object.keys(JSON.parse(json.stdout)).slice(0, 2), ["schema", "kind"]);
  });

  Deno.test(`${command}: --show-commands goes to stderr and names real devices`, async (t) => {
    const outcome = await inspect(`${command} -o json --show-commands`);
    JSON.parse(outcome.stdout);
    await t.assertSnapshot(outcome.stderr);
  });

  Deno.test(`${command}: a kernel that cannot be read gives exit code 3 and what to do`, async () => {
    const outcome = await inspect(command, {
      facts: () => {
        throw new OpError("load", "libnl-3.so.200", {
          code: ErrorCode.program,
          kernel: "no such file",
          advice: "Install the package libnl-3-200",
        });
      },
    });
    assert.deepEqual(outcome, {
      code: 3,
      stdout: "",
      stderr: "Cannot load libnl-3.so.200: no such file\nInstall the package libnl-3-200\n",
    });
  });
}

const USAGE: Readonly<Record<string, RegExp>> = {
  "pears": /^twill inspect: no command "pears"; did you mean peers\?\nRun: twill inspect --help\n$/,
  "frobnicate": /^twill inspect: no command "frobnicate"\n/,
  "peers --no-header": /^twill inspect: no flag --no-header; did you mean --no-headers\?\n$/,
  "peers --wach": /^twill inspect: no flag --wach; did you mean --watch\?\n$/,
  "peers --wide": /^twill inspect: no flag --wide\b.*\n$/,
  "peers -o xml": /^twill inspect: .*"xml".*table\|wide\|json\|yaml\|name.*\n$/,
  "peers -x": /^twill inspect: .*-x\b.*\n$/,
  "peers extra": /^twill inspect: .*"extra"\n$/,
  "peers -o": /^twill inspect: .*--output.*\n$/,
};

for (const [line, words] of Object.entries(USAGE)) {
  Deno.test(`usage: twill inspect ${line} is exit code 2`, async () => {
    const outcome = await inspect(line);
    assert.equal(outcome.code, 2);
    assert.equal(outcome.stdout, "");
    assert.match(outcome.stderr, words);
  });
}

Deno.test("usage: twill inspect alone lists the commands", async () => {
  const outcome = await inspect("");
  assert.equal(outcome.code, 0);
  for (const command of COMMANDS_OF_TABLES) {
    assert.match(outcome.stdout, new RegExp(`^ {2}${command} `, "m"));
  }
});

Deno.test("an error that is ours is called a bug, and is exit code 3", async () => {
  const outcome = await inspect("peers", {
    facts: () => {
      throw new TypeError("the host's namespace was not opened");
    },
  });
  assert.equal(outcome.code, 3);
  assert.match(outcome.stderr, /this is a bug: TypeError: the host's namespace was not opened/);
});

Deno.test("--no-headers: rows alone on stdout, problems on stderr", async () => {
  const outcome = await inspect("peers --no-headers", BROKEN);
  assert.equal(outcome.code, 1);
  assert.equal(outcome.stdout.split("\n").length, 3);
  assert.match(outcome.stdout, /^10\.244\.2\.0\/24 .* ok\n10\.244\.3\.0\/24 .* no FDB entry\n$/);
  assert.match(outcome.stderr, /^1 problem\n\n10\.244\.3\.0\/24: no forwarding entry/);
});

Deno.test("colour: only where welcome, and only over what the text says too", async () => {
  // deno-lint-ignore no-control-regex -- looking for escape sequences is the point
  const escape = /\x1b\[\d+m/g;
  const plain = await inspect("peers", BROKEN);
  assert.doesNotMatch(plain.stdout, escape);
  const colour = await inspect("peers", { ...BROKEN, colour: true });
  assert.match(colour.stdout, escape);
  assert.equal(colour.stdout.replace(escape, ""), plain.stdout);
  const never = await inspect("peers --color never", { ...BROKEN, colour: true });
  assert.equal(never.stdout, plain.stdout);
  const always = await inspect("peers --color always", BROKEN);
  assert.equal(always.stdout, colour.stdout);
  for (const form of ["json", "yaml", "name"]) {
    const outcome = await inspect(`peers -o ${form} --color always`, BROKEN);
    assert.doesNotMatch(outcome.stdout, escape);
  }
});

Deno.test("width: a terminal's lines are wrapped, without losing a word", async (t) => {
  const narrow = await inspect("subnet", { width: 90 });
  for (const line of narrow.stdout.split("\n")) assert.ok(line.length <= 90, line);
  const wide = await inspect("subnet");
  const words = (text: string): string[] => text.split(/\s+/).sort();
  assert.deepEqual(words(narrow.stdout), words(wide.stdout));
  await t.assertSnapshot(narrow.stdout);
  const findings = await inspect("peers", { ...BROKEN, width: 80 });
  for (const line of findings.stdout.split("\n")) {
    // A command to copy stays whole.
    assert.ok(line.length <= 80 || line.startsWith("          $ "), line);
  }
});

Deno.test("width: a terminal too narrow for the table is not wrapped into one word a line", async () => {
  assert.equal(
    (await inspect("peers", { width: 20 })).stdout,
    (await inspect("peers", { facts: HEALTHY })).stdout,
  );
});

const REPAIRED = { facts: [...uplink(), ...vtep(), ...peer(2), ...peer(3)] };

Deno.test("--watch: prints again when something changed, and only then", async () => {
  const outcome = await inspect("peers --watch", { ...BROKEN, happens: [{}, REPAIRED, {}] });
  const [before, after] = [await inspect("peers", BROKEN), await inspect("peers", REPAIRED)];
  assert.equal(outcome.stdout, before.stdout + after.stdout);
  assert.equal(outcome.stderr, "\n--- 2026-01-01T00:00:00.000Z\n1 change in 0 s\n");
  // What was true at the end counts.
  assert.equal(outcome.code, 0);
});

Deno.test("--watch -o json: one document a line", async () => {
  const outcome = await inspect("peers -w -o json", { ...BROKEN, happens: [REPAIRED] });
  const lines = outcome.stdout.trimEnd().split("\n").map((line) => JSON.parse(line));
  assert.deepEqual(lines.map(({ schema, kind, findings }) => [schema, kind, findings.length]), [
    [1, "peers", 1],
    [1, "peers", 0],
  ]);
});

Deno.test("--watch -o yaml: documents with their marks between", async () => {
  const outcome = await inspect("peers -w -o yaml", { ...BROKEN, happens: [REPAIRED] });
  assert.equal(loadAll(outcome.stdout).length, 2);
});

Deno.test("-o wide names the sources on stderr", async () => {
  assert.match((await inspect("peers -o wide")).stderr, /^from: subnet\.env, netlink, computed\n$/);
  assert.equal((await inspect("peers -o wide --no-headers")).stderr, "");
});

Deno.test("need: a missing right is said at once, by its name", () => {
  const context = { has: (right: string) => right === "CAP_NET_ADMIN" } as never;
  need(context, "read rules", "CAP_NET_ADMIN");
  assert.throws(() => need(context, "capture packets", "CAP_NET_RAW"), {
    message: "Cannot capture packets: this needs root, or CAP_NET_RAW",
    advice: "Run the same command as root (sudo)",
  });
});
