import assert from "node:assert/strict";
import fc from "fast-check";
import { CniError } from "../../cni/errors.ts";
import { COMMANDS, isIdentifier, readEnvironment } from "../../cni/environment.ts";
import { ENVIRONMENT } from "./calls.ts";

function read(
  env: Readonly<Record<string, string | undefined>>,
): ReturnType<typeof readEnvironment> {
  return readEnvironment((name) => env[name]);
}

Deno.test("readEnvironment: unset and empty are both missing, named in their order", () => {
  assert.throws(() => read({ CNI_COMMAND: "ADD", CNI_IFNAME: "" }), {
    code: 4,
    message: "required env variables [CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME,CNI_PATH] missing",
  });
});

Deno.test("readEnvironment: an invalid value comes before missing ones, the first of several", () => {
  const env = { CNI_COMMAND: "ADD", CNI_CONTAINERID: "-x", CNI_IFNAME: "a/b" };
  assert.throws(() => read(env), { message: /CNI_CONTAINERID/, details: "-x" });
});

Deno.test("readEnvironment: what a command does not need is not looked at", () => {
  const bad = { CNI_CONTAINERID: "%", CNI_IFNAME: "a/b", CNI_PATH: "/bin" };
  for (const command of ["GC", "STATUS", "VERSION", "NOPE", ""]) {
    assert.equal(read({ ...bad, CNI_COMMAND: command }).containerId, "%", command);
  }
});

const OVERRIDES: readonly (readonly [string, boolean])[] = [
  ["1", true],
  ["true", true],
  ["TRUE", true],
  ["", false],
  ["0", false],
  ["yes", false],
  ["11", false],
];

for (const [value, allowed] of OVERRIDES) {
  Deno.test(`readEnvironment: CNI_NETNS_OVERRIDE=${value}`, () => {
    assert.equal(read({ ...ENVIRONMENT, CNI_NETNS_OVERRIDE: value }).allowOwnNetns, allowed);
  });
}

Deno.test("readEnvironment: a variable that is no text is malformed", () => {
  const get = (name: string): string | undefined => {
    if (name === "CNI_ARGS") throw new TypeError("environment variable was not valid unicode");
    return ENVIRONMENT[name];
  };
  assert.throws(() => readEnvironment(get), { code: 4, message: /CNI_ARGS/ });
});

Deno.test("isIdentifier: no newline behind the name", () => {
  assert.deepEqual(["a", "0.b_c-D", "a\n", ".a", ""].map(isIdentifier), [
    true,
    true,
    false,
    false,
    false,
  ]);
});

Deno.test("readEnvironment: any environment is read, or refused with code 4", () => {
  const value = fc.oneof(fc.constantFrom(undefined, "", "c1", "eth0", "/x"), fc.string());
  const names = ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS", "CNI_PATH"];
  const env = fc.record(Object.fromEntries(names.map((name) => [name, value])));
  fc.assert(fc.property(env, fc.constantFrom(...COMMANDS, "", "x"), (variables, command) => {
    try {
      read({ ...variables, CNI_COMMAND: command });
    } catch (error) {
      assert.ok(error instanceof CniError && error.code === 4);
    }
  }));
});
