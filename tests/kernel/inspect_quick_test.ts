import assert from "node:assert/strict";
import { kernelTest, run, sh } from "./sandbox.ts";

const TWILL = new URL("../../dist/twill", import.meta.url).pathname;
const NOWHERE = ["--state-dir", "/nonexistent", "--subnet-file", "/nonexistent/subnet.env"];

const NODE = `
  ip link set lo up
  ip link add eth0 type veth peer name far
  ip link set eth0 up
  ip addr add 192.0.2.1/24 dev eth0
  ip link add flannel.1 type vxlan id 1 local 192.0.2.1 dev eth0 dstport 8472 nolearning
  ip link set flannel.1 up
  ip neigh add 10.244.2.0 lladdr 02:00:00:00:02:04 dev flannel.1 nud permanent
  bridge fdb append 02:00:00:00:02:04 dev flannel.1 dst 192.0.2.2
  ip route add 10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink proto 146
`;

kernelTest("inspect routes: the quick way in the binary says what the long way says", () => {
  sh(NODE);
  for (
    const form of [["-o", "json"], ["-o", "yaml"], ["--all"], ["--show-commands", "-o", "wide"]]
  ) {
    const words = ["routes", ...form, ...NOWHERE];
    // No quick way leads through app.ts.
    const long = `
      import { runInspect } from "./inspect/app.ts";
      import { LOADED } from "./inspect/loaded.ts";
      import { realContext } from "./inspect/real_context.ts";
      Deno.exitCode = await runInspect(${JSON.stringify(words)}, realContext(LOADED));
    `;
    const told = run(TWILL, "inspect", ...words);
    assert.match(told, /10\.244\.2\.0\/24/);
    assert.equal(told, run(Deno.execPath(), "eval", "--quiet", "--ext=ts", "--no-check", long));
  }
});

kernelTest("inspect routes: the quick way finds the binary's own libnl", () => {
  sh(NODE);
  const system = run("readlink", "-f", "/usr/lib/x86_64-linux-gnu/libnl-3.so.200").trim();
  const hidden = `mount --bind /dev/null ${system} && exec "$@"`;
  const call = [TWILL, "inspect", "routes", "-o", "name", ...NOWHERE];
  assert.equal(run("unshare", "--mount", "sh", "-c", hidden, "sh", ...call), "10.244.2.0/24\n");
});

kernelTest("inspect routes: what is not plain goes the long way", () => {
  assert.match(run(TWILL, "inspect", "routes", "--help"), /--show-commands/);
});
