import assert from "node:assert/strict";
import { kernelTest, run } from "./sandbox.ts";

/** What a process learns through libc, libnl and libnftables, and how it opened them. */
function told(before: string): Readonly<Record<"opened" | "refused" | "facts" | "nft", unknown[]>> {
  const program = `
    import { endsSoon } from "./ffi/library.ts";
    import { errno, libc } from "./ffi/libc.ts";
    import { Kernel } from "./ffi/kernel.ts";
    import { nftRunner } from "./ffi/nft.ts";
    const opened = new Set();
    const dlopen = Deno.dlopen;
    Deno.dlopen = (path, table) => {
      for (const one of Object.values(table)) opened.add(one.type ?? "function");
      return dlopen(path, table);
    };
    ${before};
    const refused = [libc().close(-1), errno(), libc().setns(0, 0x40000000), errno()];
    using kernel = Kernel.open();
    const facts = kernel.read({ links: "all", addresses: "all", routes: true });
    const nft = [nftRunner()("list table ip no_such_table")];
    console.log(JSON.stringify({ opened: [...opened], refused, facts, nft }));
  `;
  return JSON.parse(run(Deno.execPath(), "eval", "--quiet", "--ext=ts", "--no-check", program));
}

kernelTest("endsSoon: a short life compiles nothing for its calls, and hears the same", () => {
  const [long, short] = [told(""), told("endsSoon()")];
  assert.deepEqual(long.opened, ["function"]);
  assert.deepEqual(short.opened, ["pointer"]);
  assert.deepEqual(long.refused.slice(0, 2), [-1, 9], "EBADF");
  assert.ok(long.facts.length > 0);
  const { opened: _, ...same } = long;
  assert.deepEqual(short, { opened: ["pointer"], ...same });
});
