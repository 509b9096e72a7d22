/** uninstall on a directory: the tree is as it was before the install. */

import assert from "node:assert/strict";
import { fine, type Left, Tree } from "./bench.ts";

const BIN = "/opt/cni/bin";
const LIST = "/etc/cni/net.d/10-flannel.conflist";
const STATE = "/var/lib/twill";
const UNIT = "/etc/systemd/system/twill.service";

/** The lines that say what goes. */
function listed({ stdout }: Left): string[] {
  return stdout.split("\n").filter((line) => /^(?:file|directory) /.test(line));
}

/** Nodes before an install, and how it is installed. */
const NODES: readonly (readonly [string, (tree: Tree) => void, readonly string[]])[] = [
  ["an empty one", () => {}, []],
  ["with a unit", () => {}, ["--systemd", "--", "--ip-masq"]],
  [
    "with plugins and a list of others",
    (tree) => {
      for (const name of ["bridge", "host-local", "dhcp"]) {
        tree.write(`${BIN}/${name}`, name, 0o755);
      }
      tree.write(LIST, `{"name":"mine"}`, 0o600);
      Deno.symlinkSync("/usr/lib/cni/portmap", tree.at(`${BIN}/portmap`));
    },
    [],
  ],
  [
    "with the very same list",
    (tree) => {
      const plugins = [
        { type: "flannel", delegate: { hairpinMode: true, isDefaultGateway: true } },
        { type: "portmap", capabilities: { portMappings: true } },
      ];
      const list = { name: "cbr0", cniVersion: "0.3.1", plugins };
      tree.write(LIST, `${JSON.stringify(list, null, 2)}\n`);
    },
    [],
  ],
  [
    "with empty directories, and others in them",
    (tree) => {
      for (const dir of ["/opt/cni/bin", "/var/lib/cni/networks", "/etc/systemd/system"]) {
        Deno.mkdirSync(tree.at(dir), { recursive: true });
      }
      tree.write("/var/lib/cni/networks/podman/10.88.0.2", "c9");
      tree.write("/etc/cni/net.d/87-podman.conflist", "{}");
    },
    ["--systemd"],
  ],
  ["with other directories", () => {}, ["--cni-bin-dir=/a/b", "--cni-conf-dir=/a/c/d"]],
];

for (const [what, prepare, args] of NODES) {
  Deno.test(`uninstall: a node is as before: ${what}`, async () => {
    using tree = new Tree();
    prepare(tree);
    const before = tree.list();
    fine(await tree.run("install", ...args));
    // As a daemon and plugins would.
    tree.write(`${STATE}/snapshot.json`, "{}", 0o600);
    tree.write("/var/lib/cni/flannel/c1", "{}");
    tree.write("/var/lib/cni/networks/cbr0/10.244.0.2", "c1");
    tree.write("/run/flannel/subnet.env", "FLANNEL_MTU=1450\n");
    const dir = args.some((arg) => arg.includes("/a/b")) ? "/a/b" : BIN;
    tree.write(`${dir}/.twill.twill-new-12345678`, "cut short");
    const installed = tree.list();
    const dry = await tree.run("uninstall", "--dry-run");
    fine(dry);
    assert.deepEqual(tree.list(), installed);
    const done = await tree.run("uninstall");
    fine(done);
    assert.deepEqual(listed(done), listed(dry));
    assert.deepEqual(tree.list(), before);
    assert.equal(fine(await tree.run("uninstall")), "Nothing of twill is here\n");
  });
}

Deno.test("uninstall: two installs, to two places, are one", async () => {
  using tree = new Tree();
  fine(await tree.run("install"));
  fine(await tree.run("install", "--cni-bin-dir=/usr/lib/cni", "--systemd"));
  fine(await tree.run("uninstall"));
  assert.deepEqual(tree.list(), []);
});

Deno.test("uninstall: without a receipt, by what nobody else would have put there", async () => {
  using tree = new Tree();
  tree.write(`${BIN}/portmap`, "the reference portmap", 0o755);
  tree.write(`${BIN}/dhcp`, "somebody's", 0o755);
  const before = tree.list();
  fine(await tree.run("install", "--systemd"));
  Deno.removeSync(tree.at(STATE), { recursive: true });
  fine(await tree.run("uninstall"));
  const keep = /^\/(?:etc|var)\b.*\/ 755$/;
  assert.deepEqual(tree.list().filter((line) => !keep.test(line)), before);
});

Deno.test("uninstall: without a receipt nothing of others", async () => {
  using tree = new Tree();
  tree.write(`${BIN}/twill`, "a file of that name", 0o755);
  tree.write(`${BIN}/bridge`, "the reference bridge", 0o755);
  tree.write(LIST, `{"name":"cbr0","plugins":[{"type":"flannel"}]}`);
  tree.write(UNIT, "[Unit]\nDescription=somebody's\n");
  const before = tree.list();
  assert.equal(fine(await tree.run("uninstall")), "Nothing of twill is here\n");
  assert.deepEqual(tree.list(), before);
});

Deno.test("uninstall: a plugin that another program put over ours stays, and is named", async () => {
  using tree = new Tree();
  tree.write(`${BIN}/portmap`, "old", 0o755);
  fine(await tree.run("install"));
  for (const name of ["portmap", "bridge"]) {
    Deno.removeSync(tree.at(`${BIN}/${name}`));
    tree.write(`${BIN}/${name}`, "new", 0o755);
  }
  const told = fine(await tree.run("uninstall"));
  assert.match(told, /^kept: file \S+\/bridge: it is not what twill put there$/m);
  assert.match(
    told,
    /^kept: file \S+\/portmap: .*; portmap\.before-twill beside it is from before/m,
  );
  assert.equal(tree.read(`${BIN}/portmap`), "new");
});

Deno.test("uninstall: a list that was edited goes all the same, and the saved one comes back", async () => {
  using tree = new Tree();
  tree.write(LIST, "{}");
  fine(await tree.run("install"));
  tree.write(LIST, `{"name":"cbr0"}`);
  fine(await tree.run("uninstall"));
  assert.equal(tree.read(LIST), "{}");
});

Deno.test("uninstall: the directories of the list's own network", async () => {
  using tree = new Tree();
  fine(await tree.run("install"));
  const list = { name: "podnet", plugins: [{ type: "flannel", delegate: { bridge: "br7" } }] };
  tree.write(LIST, JSON.stringify(list));
  tree.write("/var/lib/cni/networks/podnet/10.244.0.2", "c1");
  tree.write("/var/lib/cni/networks/cbr0/10.244.0.2", "c1");
  assert.match(fine(await tree.run("uninstall")), /networks\/podnet and all in it$/m);
  assert.deepEqual(tree.list().filter((line) => line.startsWith("/var/lib/cni/networks/")), [
    "/var/lib/cni/networks/ 755",
    "/var/lib/cni/networks/cbr0/ 755",
    `/var/lib/cni/networks/cbr0/10.244.0.2 644 "c1"`,
  ]);
});

Deno.test("uninstall: on the node itself only as root", async () => {
  using tree = new Tree();
  const left = await tree.runOn({ uid: 1000 }, "uninstall");
  assert.match(left.stderr, /Cannot uninstall from this node: uid 1000 is not root/);
  assert.equal(left.code, 1);
});
