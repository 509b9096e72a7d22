/** install on a directory: what it writes, keeps, refuses, and takes back. */

import assert from "node:assert/strict";
import { PLUGIN_NAMES } from "../../cni/names.ts";
import { CLIENT, fine, Tree } from "./bench.ts";

const BIN = "/opt/cni/bin";
const LIST = "/etc/cni/net.d/10-flannel.conflist";
const RECEIPT = "/var/lib/twill/install.json";
const UNIT = "/etc/systemd/system/twill.service";

Deno.test("install: the program, a client for each plugin, a list of one plugin", async () => {
  using tree = new Tree();
  const told = fine(await tree.run("install"));
  assert.equal(tree.read(`${BIN}/twill`), "the program, version 1");
  assert.equal(Deno.statSync(tree.at(`${BIN}/twill`)).mode! % 0o1000, 0o755);
  for (const name of PLUGIN_NAMES) {
    assert.equal(tree.read(`${BIN}/${name}`), CLIENT);
    assert.equal(Deno.lstatSync(tree.at(`${BIN}/${name}`)).mode! % 0o1000, 0o755);
    assert.match(told, new RegExp(`^installed  ${BIN}/${name}$`, "m"));
  }
  assert.deepEqual(JSON.parse(tree.read(LIST)), {
    name: "cbr0",
    cniVersion: "1.0.0",
    cniVersions: ["0.4.0", "1.0.0", "1.1.0"],
    plugins: [{
      type: "flannel",
      delegate: { hairpinMode: true, isDefaultGateway: true },
      capabilities: { portMappings: true, bandwidth: true },
    }],
  });
  const names = tree.list().map((line) => line.split(" ")[0]!);
  assert.deepEqual(names.filter((name) => /\/\.|before-twill/.test(name)), []);
  assert.equal(names.filter((name) => name.startsWith("/etc")).length, 4);
});

Deno.test("install: the network's file comes last", async () => {
  using tree = new Tree();
  fine(await tree.run("install"));
  const time = (path: string): number => Deno.lstatSync(tree.at(path)).ctime!.getTime();
  for (const path of [`${BIN}/twill`, `${BIN}/portmap`, RECEIPT]) {
    assert.ok(time(path) <= time(LIST), path);
  }
});

Deno.test("install: a second time changes nothing", async () => {
  using tree = new Tree();
  const args = ["--systemd", "--", "--ip-masq"];
  fine(await tree.run("install", ...args));
  const inodes = (): unknown[] =>
    [`${BIN}/twill`, `${BIN}/bridge`, LIST, UNIT].map((path) => {
      const { ino, mtime } = Deno.lstatSync(tree.at(path));
      return [path, ino, mtime];
    });
  const [list, before] = [tree.list(), inodes()];
  assert.match(fine(await tree.run("install", ...args)), /^Everything was in its place/m);
  assert.deepEqual([tree.list(), inodes()], [list, before]);
});

Deno.test("install: an upgrade replaces the program and keeps nothing of the old one", async () => {
  using tree = new Tree();
  fine(await tree.run("install"));
  Deno.writeTextFileSync(tree.program, "the program, version 2");
  assert.match(fine(await tree.run("install")), /^updated {4}\/opt\/cni\/bin\/twill$/m);
  assert.equal(tree.read(`${BIN}/twill`), "the program, version 2");
  assert.deepEqual(tree.list().filter((line) => /\/\.|before-twill/.test(line)), []);
});

Deno.test("install: the installed program installs itself again", async () => {
  using tree = new Tree();
  fine(await tree.run("install"));
  const left = await tree.runOn(
    { program: tree.at(`${BIN}/twill`) },
    "install",
    `--root=${tree.root}`,
  );
  assert.match(fine(left), /^Everything/);
});

Deno.test("install: plugins and lists of others are kept beside", async () => {
  using tree = new Tree();
  tree.write(`${BIN}/portmap`, "the reference portmap", 0o755);
  Deno.symlinkSync("/usr/lib/cni/bridge", tree.at(`${BIN}/bridge`));
  tree.write(`${BIN}/dhcp`, "not ours to touch", 0o755);
  tree.write(LIST, `{"name":"mine"}`, 0o600);
  const told = fine(await tree.run("install"));
  assert.match(told, /portmap \(what was there is kept as portmap\.before-twill\)/);
  assert.equal(tree.read(`${BIN}/portmap.before-twill`), "the reference portmap");
  assert.equal(Deno.readLinkSync(tree.at(`${BIN}/bridge.before-twill`)), "/usr/lib/cni/bridge");
  assert.equal(tree.read(`${LIST}.before-twill`), `{"name":"mine"}`);
  assert.equal(tree.read(`${BIN}/dhcp`), "not ours to touch");
  assert.equal(fine(await tree.run("install")), "Everything was in its place already\n");
});

Deno.test("install: what another program put over a client of ours is kept as the newer", async () => {
  using tree = new Tree();
  tree.write(`${BIN}/portmap`, "old", 0o755);
  fine(await tree.run("install"));
  Deno.removeSync(tree.at(`${BIN}/portmap`));
  tree.write(`${BIN}/portmap`, "new", 0o755);
  fine(await tree.run("install"));
  assert.equal(tree.read(`${BIN}/portmap.before-twill`), "new");
});

Deno.test("install: links of an earlier version, and an older client, become the client", async () => {
  using tree = new Tree();
  fine(await tree.run("install"));
  Deno.removeSync(tree.at(`${BIN}/portmap`));
  Deno.symlinkSync("twill", tree.at(`${BIN}/portmap`));
  tree.write(`${BIN}/bridge`, `older; ${CLIENT}`, 0o755);
  fine(await tree.run("install"));
  for (const name of ["portmap", "bridge"]) assert.equal(tree.read(`${BIN}/${name}`), CLIENT);
  assert.deepEqual(tree.list().filter((line) => /before-twill/.test(line)), []);
  fine(await tree.run("uninstall"));
  assert.deepEqual(tree.list(), []);
});

Deno.test("install: a list that was edited since stays, with any rights", async () => {
  using tree = new Tree();
  fine(await tree.run("install"));
  Deno.chmodSync(tree.at(LIST), 0o600);
  assert.match(fine(await tree.run("install")), /^Everything/);
  tree.write(LIST, `{"name":"cbr0","plugins":[]}`, 0o600);
  assert.match(fine(await tree.run("install")), /^kept +\S+ \(was edited since it was installed/m);
  assert.equal(tree.read(LIST), `{"name":"cbr0","plugins":[]}`);
});

Deno.test("install: other directories", async () => {
  using tree = new Tree();
  fine(await tree.run("install", "--cni-bin-dir=/usr/lib/cni/", "--cni-conf-dir=//etc/net"));
  assert.equal(tree.read("/usr/lib/cni/flannel"), CLIENT);
  assert.ok(tree.read("/etc/net/10-flannel.conflist"));
  assert.deepEqual(tree.list().filter((line) => line.startsWith("/opt")), []);
});

for (
  const [name, ours] of [["05-other.conf", false], ["00-x.conflist", false], ["10-a.json", false], [
    "20-other.conflist",
    true,
  ], ["05-other.conflist.bak", true]] as const
) {
  Deno.test(`install: beside ${name} runtimes use ${ours ? "ours" : "the other"}`, async () => {
    using tree = new Tree();
    tree.write(`/etc/cni/net.d/${name}`, "{}");
    const left = await tree.run("install");
    if (ours) return void fine(left);
    fine(left, new RegExp(`^warning: /etc/cni/net\\.d/${name} sorts before 10-flannel`));
  });
}

Deno.test("install --systemd: a unit with the flags behind --", async () => {
  using tree = new Tree();
  const told = fine(await tree.run("install", "--systemd", "--", "--iface=eth0", "--ip-masq"));
  assert.match(told, /systemctl --root=\S+ enable twill\.service/);
  const unit = tree.read(UNIT);
  assert.match(unit, /^ExecStart=\/opt\/cni\/bin\/twill daemon --iface=eth0 --ip-masq$/m);
  assert.match(unit, /^EnvironmentFile=-\/etc\/twill\/daemon\.env$/m);
  // Other flags: another unit. None: the unit stays as it is.
  assert.match(fine(await tree.run("install", "--systemd")), /^updated +\S+twill\.service$/m);
  assert.match(tree.read(UNIT), /^ExecStart=\/opt\/cni\/bin\/twill daemon$/m);
  assert.match(fine(await tree.run("install")), /^Everything/);
});

/** Command lines that are refused, and the words for it. Nothing is written then. */
const REFUSED: readonly (readonly [string[], RegExp, number?])[] = [
  [["--", "--ip-masq"], /add --systemd/],
  [["--systemd", "--", "--ip-mask"], /unknown flag --ip-mask/],
  [["--systemd", "--", "--etcd-endpoints"], /--etcd-endpoints needs a value/],
  [["--systemd", "--", "--help"], /--help would end the daemon/],
  [["--systemd", "--", "stray"], /unexpected argument "stray"/],
  [
    ["--systemd", "--", "--etcd-password=x"],
    /every user can read\nPut FLANNELD_ETCD_PASSWORD=… into \/etc\/twill\/daemon\.env/,
  ],
  [["--cni-bin-dir=opt/cni"], /absolute path without \. and \.\., got "opt\/cni"/],
  [["--cni-conf-dir=/etc/../cni"], /absolute path/],
  [["--systemd", "--cni-bin-dir=/opt/my plugins"], /systemd cannot start/],
  [["--nonsense"], /No flag registered for --nonsense/],
  [["stray"], /Too many arguments/],
];
for (const [args, words, code = 2] of REFUSED) {
  Deno.test(`install ${args.join(" ")}: refused`, async () => {
    using tree = new Tree();
    const left = await tree.run("install", ...args);
    assert.match(left.stderr, words);
    assert.equal(left.code, code);
    assert.deepEqual(tree.list(), []);
  });
}

Deno.test("install: on the node itself only as root", async () => {
  using tree = new Tree();
  const left = await tree.runOn({ uid: 1000 }, "install");
  assert.match(left.stderr, /Cannot install on this node: uid 1000 is not root\nRun it with sudo/);
  assert.equal(left.code, 1);
});

Deno.test("install: not from the sources", async () => {
  using tree = new Tree();
  const left = await tree.runOn({ program: "" }, "install", `--root=${tree.root}`);
  assert.match(left.stderr, /Cannot install a program that was started from its sources/);
  assert.deepEqual([left.code, tree.list()], [1, []]);
});

/** Obstacles that show up late, and what is said. */
const OBSTACLES: readonly (readonly [string, (tree: Tree) => void, RegExp])[] = [
  [
    "a directory where the list should be",
    (tree) => Deno.mkdirSync(tree.at(LIST), { recursive: true }),
    /Cannot write \S+10-flannel\.conflist: there is a directory/,
  ],
  [
    "a file where the directory should be",
    (tree) => tree.write("/etc/cni", ""),
    /Cannot .*\/etc\/cni\b.*: (?:Not a directory|File exists)/,
  ],
  [
    "no place to keep the last file that makes room",
    (tree) => {
      for (const name of ["portmap", "tuning"]) tree.write(`${BIN}/${name}`, name, 0o755);
      tree.write(LIST, "{}");
      Deno.mkdirSync(tree.at(`${LIST}.before-twill/x`), { recursive: true });
    },
    /Cannot write \S+10-flannel\.conflist: Is a directory/,
  ],
];
for (const [what, prepare, words] of OBSTACLES) {
  Deno.test(`install: ${what}: an error, and nothing is changed`, async () => {
    using tree = new Tree();
    prepare(tree);
    const before = tree.list();
    const left = await tree.run("install");
    assert.match(left.stderr, words);
    assert.equal(left.code, 1, left.stderr);
    assert.deepEqual(tree.list(), before);
  });
}

Deno.test("install: a receipt that cannot be read is said, and made anew", async () => {
  using tree = new Tree();
  tree.write(RECEIPT, "{", 0o600);
  fine(await tree.run("install"), /^warning: \/var\/lib\/twill\/install\.json cannot be used: /);
  assert.equal(JSON.parse(tree.read(RECEIPT)).schema, 1);
});

for (const command of ["install", "uninstall"]) {
  Deno.test(`${command}: a root that does not exist`, async () => {
    using tree = new Tree();
    const left = await tree.runOn({}, command, `--root=${tree.root}/none`);
    assert.match(left.stderr, /^Cannot use --root=\S+\/none: no such directory$/m);
    assert.equal(left.code, 1);
  });

  Deno.test(`${command} --help: has examples`, async () => {
    using tree = new Tree();
    const told = fine(await tree.runOn({}, command, "--help"));
    assert.match(told, new RegExp(`^  twill ${command} `, "m"));
    assert.match(told, /Exit code: 0 done/);
  });
}

const KUBE = ["--systemd", "--", "--kube-subnet-mgr", "--kubeconfig-file=/etc/twill/kubeconfig"];

Deno.test("install: with the Kubernetes API the daemon writes the list, and uninstall removes it", async () => {
  using tree = new Tree();
  const told = fine(await tree.run("install", ...KUBE));
  assert.match(told, /^The daemon writes \/etc\/cni\/net\.d\/10-flannel\.conflist as soon as/m);
  assert.throws(() => tree.read(LIST), Deno.errors.NotFound);
  assert.match(tree.read(UNIT), /^ExecStart=.* --kube-subnet-mgr .*--conflist-file=\S+conflist$/m);
  // As the daemon does it, later.
  tree.write(LIST, `{"name":"cbr0","plugins":[{"type":"flannel"}]}`);
  assert.match(fine(await tree.run("install", ...KUBE)), /^Everything was in its place already$/m);
  fine(await tree.run("uninstall"));
  assert.deepEqual(tree.list(), []);
});

Deno.test("install: another list goes on until the daemon replaces it, and comes back", async () => {
  using tree = new Tree();
  tree.write(LIST, `{"name":"mine"}`);
  const told = fine(await tree.run("install", ...KUBE));
  assert.match(told, /^kept +\S+ \(also as 10-flannel\.conflist\.before-twill/m);
  assert.deepEqual([LIST, `${LIST}.before-twill`].map((path) => tree.read(path)), [
    `{"name":"mine"}`,
    `{"name":"mine"}`,
  ]);
  Deno.removeSync(tree.at(LIST));
  tree.write(LIST, `{"name":"cbr0"}`);
  fine(await tree.run("install", ...KUBE));
  assert.equal(tree.read(`${LIST}.before-twill`), `{"name":"mine"}`);
  fine(await tree.run("uninstall"));
  assert.equal(tree.read(LIST), `{"name":"mine"}`);
});

Deno.test("install: a list of ours that was edited is not given to the daemon", async () => {
  using tree = new Tree();
  fine(await tree.run("install"));
  tree.write(LIST, `{"name":"cbr0","plugins":[]}`);
  assert.match(fine(await tree.run("install", ...KUBE)), /^kept +\S+ \(was edited/m);
  assert.doesNotMatch(tree.read(UNIT), /conflist/);
  assert.equal(tree.read(LIST), `{"name":"cbr0","plugins":[]}`);
});

Deno.test("install: --no-conflist leaves the list to a daemon elsewhere", async () => {
  using tree = new Tree();
  const told = fine(await tree.run("install", "--no-conflist", "--cni-conf-dir=/etc/net"));
  assert.match(told, /^The daemon writes \/etc\/net\/10-flannel\.conflist/m);
  assert.equal(tree.read(`${BIN}/flannel`), CLIENT);
  tree.write("/etc/net/10-flannel.conflist", "{}");
  fine(await tree.run("uninstall"));
  assert.deepEqual(tree.list(), []);
});

Deno.test("install: a list that uninstall would not find is refused", async () => {
  using tree = new Tree();
  const left = await tree.run("install", ...KUBE, "--conflist-file=/etc/cni/net.d/05-a.conflist");
  assert.equal(left.code, 2);
  assert.match(left.stderr, /--conflist-file must be \/etc\/cni\/net\.d\/10-flannel\.conflist/);
  assert.deepEqual(tree.list(), []);
});

Deno.test("install --dry-run: says what an install does, and does nothing", async () => {
  using tree = new Tree();
  tree.write(`${BIN}/portmap`, "the reference portmap", 0o755);
  tree.write(LIST, `{"name":"mine"}`);
  const before = tree.list();
  for (const args of [["--systemd", "--", "--ip-masq"], KUBE]) {
    const planned = fine(await tree.run("install", "--dry-run", ...args));
    assert.deepEqual(tree.list(), before);
    assert.match(planned, /^These would be placed:\n/);
    assert.match(planned, /^replaced {3}\S+portmap \(what was there is kept/m);
    const done = fine(await tree.run("install", ...args));
    const lines = planned.split("\n").filter((line) => /^(?:installed|replaced)/.test(line));
    for (const line of lines) assert.ok(done.includes(line), line);
    assert.match(
      planned,
      args === KUBE ? /^later +\S+conflist \(by the daemon; what/m : /^replaced +\S+conflist/m,
    );
    fine(await tree.run("uninstall"));
    assert.deepEqual(tree.list(), before);
  }
});
