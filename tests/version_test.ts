import assert from "node:assert/strict";
import { version, versionLine } from "../version.ts";

const config = JSON.parse(Deno.readTextFileSync(new URL("../deno.json", import.meta.url)));
const pinned = Deno.readTextFileSync(new URL("../.deno-version", import.meta.url)).trim();

Deno.test("version: from source it is deno.json's, and the commit says that it was not built", () => {
  assert.deepEqual(version(), {
    version: config.version,
    commit: "dev",
    build: "dev",
    deno: Deno.version.deno,
  });
});

Deno.test("version: the tests run on the Deno version that is pinned", () => {
  assert.equal(version().deno, pinned);
});

Deno.test("versionLine: is one line of the known form", () => {
  assert.equal(versionLine(), `twill ${config.version} (commit dev, deno ${pinned})`);
});
