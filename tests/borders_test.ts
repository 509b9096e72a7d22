import assert from "node:assert/strict";
import { parse, RULES, type Source } from "./borders.ts";

const ROOT = new URL("../", import.meta.url).pathname;

/** All TypeScript files of the clone, parsed. */
function readAll(folder = ""): Source[] {
  return [...Deno.readDirSync(ROOT + folder)].flatMap((entry) => {
    const path = folder + entry.name;
    if (entry.name.startsWith(".") || ["dist", "node_modules"].includes(path)) return [];
    if (entry.isDirectory) return readAll(`${path}/`);
    return path.endsWith(".ts") ? [parse(path, Deno.readTextFileSync(ROOT + path))] : [];
  });
}

let all: Source[] | undefined;
for (const [name, rule] of Object.entries(RULES)) {
  Deno.test(`borders: ${name} holds in the whole tree`, () => {
    all ??= readAll();
    // An empty answer about an empty tree would prove nothing.
    assert.ok(all.some(({ path }) => path === "version.ts"));
    assert.deepEqual(rule(all), []);
  });
}

/** Files that break a rule, and the start of what is said about each violation. */
const broken: readonly (readonly [keyof typeof RULES, Record<string, string>, string[]])[] = [
  ["direction", { "engine/a.ts": `import "../ffi/b.ts";` }, ["engine/a.ts imports ffi/b.ts"]],
  ["direction", { "cni/a.ts": `export * from "../daemon/b.ts";` }, [
    "cni/a.ts imports daemon/b.ts",
  ]],
  ["direction", { "ffi/a/b.ts": `import type { C } from "../../cni/c.ts";` }, [
    "ffi/a/b.ts imports cni/c.ts",
  ]],
  ["direction", { "inspect/a.ts": `await import("../daemon/store/b.ts")` }, [
    "inspect/a.ts imports daemon/store/b.ts",
  ]],
  ["direction", { "mod.ts": `import "./engine/a.ts";` }, ["mod.ts imports engine/a.ts"]],
  ["direction", { "cni/a.ts": `import "../tests/b.ts";` }, ["cni/a.ts imports tests/b.ts"]],
  ["direction", { "cni/a.ts": `import "../../other/b.ts";` }, ["cni/a.ts imports outside:"]],
  ["direction", { "util/a.ts": `` }, ["util/a.ts: no rule"]],
  ["direction", { "daemon/a.ts": `import "../cni/b.ts"; import "../engine/c.ts";` }, []],
  ["direction", { "install/a.ts": `import "../cni/main.ts"; import "../cni/names.ts";` }, [
    "install/a.ts imports cni/main.ts",
  ]],
  ["engineAlone", { "engine/a.ts": `import { x } from "js-yaml";` }, [
    "engine/a.ts imports npm:js-yaml",
  ]],
  ["engineAlone", { "engine/a.ts": `type T = import("node:net").Socket;` }, [
    "engine/a.ts imports node:net",
  ]],
  ["engineAlone", { "engine/a.ts": `import type { T } from "../version.ts";` }, [
    "engine/a.ts imports version.ts",
  ]],
  ["engineAlone", { "engine/x/a.ts": `import "../b.ts"; // import "npm:no"` }, []],
  ["leanPlugin", { "cni/a.ts": `import "node:fs";` }, ["cni/a.ts imports node:fs"]],
  ["leanPlugin", {
    "cni/a.ts": `import "../ffi/b.ts";`,
    "ffi/b.ts": `await import("./c.ts");`,
    "ffi/c.ts": `import "ipaddr.js";`,
  }, ["cni/a.ts → ffi/b.ts → ffi/c.ts imports npm:ipaddr.js"]],
  ["leanPlugin", {
    "cni/a.ts": `import type { B } from "../daemon/b.ts"; import "./a.ts";`,
    "daemon/b.ts": `import "etcd3";`,
  }, []],
  ["ffiOnly", { "cni/a.ts": `Deno.dlopen("x", {});` }, ["cni/a.ts says dlopen"]],
  ["ffiOnly", { "cni/a.ts": `const { dlopen } = Deno;` }, ["cni/a.ts says dlopen"]],
  ["ffiOnly", { "cni/a.ts": `Deno["dlopen"]("x", {});` }, [`cni/a.ts says "dlopen"`]],
  ["ffiOnly", { "daemon/a.ts": `let p: Deno.UnsafePointerView;` }, [
    "daemon/a.ts says UnsafePointerView",
  ]],
  ["ffiOnly", { "engine/a.ts": `const t = { parameters: ["buffer"], result: "i32" };` }, [
    `engine/a.ts says "buffer"`,
  ]],
  ["ffiOnly", {
    "ffi/a.ts": `Deno.dlopen("x", { f: { parameters: ["buffer"], result: "void" } });`,
    "cni/a.ts": `// Deno.dlopen is for ffi/`,
  }, []],
  ["etcdInOneFile", { "daemon/a.ts": `import { Etcd3 } from "etcd3";` }, [
    "daemon/a.ts imports npm:etcd3",
  ]],
  ["etcdInOneFile", { "tests/a.ts": `await import("npm:etcd3@1.1.2");` }, [
    "tests/a.ts imports npm:etcd3@1.1.2",
  ]],
  ["etcdInOneFile", { "daemon/store/etcd.ts": `import { Etcd3 } from "etcd3";` }, []],
  ["etcdInOneFile", { "daemon/store/etcd.ts": `import { Channel } from "@grpc/grpc-js";` }, [
    "daemon/store/etcd.ts imports npm:@grpc/grpc-js",
  ]],
  ["awaitInEntryOnly", { "cni/a.ts": `await f();` }, ["cni/a.ts waits"]],
  ["awaitInEntryOnly", { "cni/a.ts": `if (x) { for await (const y of z) y(); }` }, [
    "cni/a.ts waits",
  ]],
  ["awaitInEntryOnly", { "cni/a.ts": `await using x = f();` }, ["cni/a.ts waits"]],
  ["awaitInEntryOnly", {
    "mod.ts": `await f();`,
    "cni/a.ts": `async function f() { await g(); } const h = async () => await f();`,
  }, []],
  ["literalImports", { "cni/a.ts": `const m = await import(name);` }, ["cni/a.ts has an import()"]],
  ["snakeCase", {
    "cni/hostLocal.ts": "",
    "cni/host-local.ts": "",
    "Cni/a.ts": "",
    "cni/host_local.ts": "",
    "tests/a_test.ts": "",
  }, ["cni/hostLocal.ts", "cni/host-local.ts", "Cni/a.ts"]],
  ["shortFiles", { "cni/a.ts": "\n".repeat(421), "cni/b.ts": "\n".repeat(420) }, [
    "cni/a.ts has 421 lines",
  ]],
];

for (const [name, files, want] of broken) {
  const title = Object.entries(files).map(([path, text]) => `${path} ${text.trim()}`).join(", ");
  Deno.test(`borders: ${name} ${want.length ? "sees" : "allows"} ${title}`, () => {
    const got = RULES[name](Object.entries(files).map(([path, text]) => parse(path, text)));
    assert.equal(got.length, want.length, got.join("\n"));
    for (const [i, start] of want.entries()) assert.ok(got[i]!.startsWith(start), got[i] ?? "");
  });
}

Deno.test("parse: a source that the parser leaves early is refused", () => {
  assert.throws(
    () => parse("cni/a.ts", `for (const x of y) {};\nimport "etcd3";`),
    /Cannot read all/,
  );
});
