import assert from "node:assert/strict";
import fc from "fast-check";
import { answer } from "../../cni/skeleton.ts";
import { parseJson } from "../../engine/json.ts";
import { callOf, ENVIRONMENT, requestOf } from "./calls.ts";

const PREVIOUS = { cniVersion: "1.0.0", ips: [{ interface: 0, address: "10.0.0.1/8" }] };

function config(members: Readonly<Record<string, unknown>>): string {
  return JSON.stringify({ cniVersion: "1.0.0", name: "dbnet", prevResult: PREVIOUS, ...members });
}

Deno.test("answer: a result is indented by four spaces, without a newline", async () => {
  const { status, stdout } = await answer(callOf("portmap", ENVIRONMENT, config({})));
  assert.deepEqual([status, stdout], [0, JSON.stringify(PREVIOUS, null, 4)]);
});

Deno.test("answer: members are found in any spelling, the last one counts", async () => {
  const text = '{"NAME":"","Name":"dbnet","cniversion":"0.3.1","CNIVersion":"1.0.0",' +
    `"PrevResult":${JSON.stringify(PREVIOUS)}}`;
  assert.equal((await answer(callOf("portmap", ENVIRONMENT, text))).status, 0);
});

Deno.test("answer: bytes that are no UTF-8 are no reason to fail", async () => {
  const bytes = new TextEncoder().encode(config({ x: "?" }));
  bytes[bytes.lastIndexOf("?".charCodeAt(0))] = 0xff;
  assert.equal((await answer(callOf("portmap", ENVIRONMENT, bytes))).status, 0);
});

Deno.test("answer: stdin that cannot be read is code 5", async () => {
  const call = {
    ...callOf("portmap", ENVIRONMENT, ""),
    stdin: () => {
      throw new Deno.errors.BadResource("closed");
    },
  };
  assert.equal(JSON.parse((await answer(call)).stdout).code, 5);
});

Deno.test("answer: what nobody foresaw is code 999, with its stack in the log only", async () => {
  const call = callOf("portmap", ENVIRONMENT, config({}));
  const { stdout } = await answer({ ...call, stdin: () => null as never });
  assert.equal(JSON.parse(stdout).code, 999);
  assert.ok(!stdout.includes("\\n"));
  assert.match(call.lines.join(), /TypeError.*\n +at /);
});

const PREVIOUS_ROWS: readonly (readonly [string, unknown, boolean])[] = [
  ["absent", undefined, true],
  ["null", null, true],
  ["of the same family", { ...PREVIOUS, cniVersion: "1.1.0" }, true],
  ["without a version", { ips: [] }, true],
  ["with an empty version", { cniVersion: "", ips: [] }, true],
  ["of another family", { cniVersion: "0.4.0" }, false],
  ["of no version", { cniVersion: "7" }, false],
  ["a list", [], false],
  ["a text", "x", false],
  ["with a bad address", { ips: [{ address: "x" }] }, false],
];

for (const [title, prevResult, good] of PREVIOUS_ROWS) {
  Deno.test(`prevResult: ${title}`, () => {
    const json = JSON.parse(JSON.stringify({ prevResult }));
    const request = requestWith(json, "ADD");
    if (good) request.prevResult();
    else assert.throws(() => request.prevResult(), { code: 7, message: /prevResult/ });
    const del = requestWith(json, "DEL");
    del.prevResult();
  });
}

function requestWith(
  json: { prevResult?: unknown },
  command: string,
): ReturnType<typeof requestOf> {
  const text = JSON.stringify(json.prevResult);
  return requestOf(text === undefined ? {} : { prevResult: parseJson(text) }, {
    env: { CNI_COMMAND: command },
  });
}

Deno.test("requirePrevResult: none is an error with the words operators know", () => {
  assert.throws(() => requestOf({}).requirePrevResult(), {
    message: /Required prevResult missing/,
  });
});

Deno.test("answer: any environment and stdin give one JSON document, or nothing", async () => {
  const command = fc.constantFrom("ADD", "CHECK", "DEL", "GC", "STATUS", "VERSION", "", "x");
  const text = fc.oneof(
    fc.string(),
    fc.json(),
    fc.dictionary(
      fc.constantFrom("name", "cniVersion", "prevResult", "runtimeConfig"),
      fc.jsonValue(),
    )
      .map((members) => config(members)),
  );
  await fc.assert(
    fc.asyncProperty(command, text, async (CNI_COMMAND, stdin) => {
      const call = callOf("portmap", { ...ENVIRONMENT, CNI_COMMAND }, stdin);
      const { status, stdout } = await answer(call);
      if (status === 1) assert.ok(JSON.parse(stdout).code > 0);
      else if (stdout !== "") JSON.parse(stdout);
      assert.ok(!call.lines.some((line) => line.includes("unexpected")), call.lines.join());
    }),
    { numRuns: 500 },
  );
});
