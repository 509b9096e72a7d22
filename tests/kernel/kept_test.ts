import assert from "node:assert/strict";
import { Kept } from "../../ffi/kept.ts";
import { kernelTest, Netns, run } from "./sandbox.ts";

kernelTest("Kept: one thing for one namespace, and only when it is to be kept", () => {
  using other = new Netns();
  const kept = new Kept<object>();
  assert.equal(kept.get(() => ({})), undefined);
  kept.keep();
  const thing = kept.get(() => ({}));
  assert.ok(thing !== undefined);
  assert.equal(kept.get(() => ({})), thing);
  assert.equal(other.inside(() => kept.get(() => ({}))), undefined);
});

/** A program of its own: what it keeps would be a leak here. */
const PROGRAM = `
  import { keepNetfilter, Netfilter } from "./ffi/netfilter.ts";
  import { listTable, nft } from "./ffi/nft.ts";
  keepNetfilter();
  const other = (words) => new Deno.Command("nft", { args: words.split(" ") }).outputSync();
  const seen = () => {
    using netfilter = new Netfilter();
    const chains = listTable("inet t").match(/chain \\w+/g) ?? [];
    return [netfilter.holdsAny([{ family: "inet", table: "t" }]), ...chains].join(" ");
  };
  console.log(seen());
  nft("table inet t { chain a { }; }");
  console.log(seen());
  other("add chain inet t b");
  console.log(seen());
  try { nft("add chain inet nosuch c"); } catch (e) { console.log(e.message.split("\\n")[0]); }
  other("delete chain inet t a");
  console.log(seen());
  other("flush ruleset");
  console.log(seen());
`;

kernelTest("keepNetfilter: what is kept open sees what others change", () => {
  const lines = run(Deno.execPath(), "eval", "--quiet", PROGRAM).trim().split("\n");
  const refused = lines.splice(3, 1)[0] ?? "";
  assert.match(refused, /^Cannot apply nft rules: .*No such file or directory/);
  assert.deepEqual(lines, [
    "false",
    "true chain a",
    "true chain a chain b",
    "true chain b",
    "false",
  ]);
});
