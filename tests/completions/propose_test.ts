import assert from "node:assert/strict";
import { COMMANDS } from "../../inspect/app.ts";
import { type Names, propose } from "../../completions/propose.ts";
import { ROOT } from "../../completions/tree.ts";

const LIVE: Readonly<Record<Names, readonly string[]>> = {
  pods: ["default/web", "default/worker", "kube-system/dns"],
  peers: ["node1", "node2"],
};

/** A line up to the cursor; what may follow. */
async function after(line: string): Promise<string[]> {
  const found = await propose(ROOT, line.split(" "), (names) => Promise.resolve(LIVE[names]));
  return found.map(({ word }) => word);
}

const CASES: Readonly<Record<string, readonly string[]>> = {
  "insp": ["inspect"],
  "in": ["inspect", "install"],
  "inspect po": ["pods", "policy"],
  "inspect policy l": ["lint", "log"],
  "inspect policy can default/web kube": ["kube-system/dns"],
  "inspect policy matrix --dir": ["--direction"],
  "inspect peers --out": ["--output"],
  "inspect peers -o ": ["table", "wide", "json", "yaml", "name"],
  "inspect peers -o j": ["json"],
  "inspect peers --output=w": ["--output=wide"],
  // As bash takes it apart.
  "inspect peers --output = w": ["--output=wide"],
  "inspect peers --output =": [
    "--output=table",
    "--output=wide",
    "--output=json",
    "--output=yaml",
    "--output=name",
  ],
  "inspect peers --watch --wat": [],
  "inspect pods default/w": ["default/web", "default/worker"],
  "inspect pods default/web kube": ["kube-system/dns"],
  "inspect capture --pod kube": ["kube-system/dns"],
  "inspect capture --peer ": ["node1", "node2"],
  "inspect explain mt": ["mtu"],
  "inspect explain ro": ["routes"],
  // A file: the shell's own business.
  "inspect subnet --subnet-file /ru": [],
  "daemon --etcd-end": ["--etcd-endpoints"],
  "daemon --ip-masq --etcd-k": ["--etcd-keyfile"],
  "install --sys": ["--systemd"],
  "completions ": ["bash", "zsh", "fish"],
  "--ver": ["--version"],
  "nonsense ": ["cni", "daemon", "inspect", "install", "uninstall", "manifest", "completions"],
};

for (const [line, expected] of Object.entries(CASES)) {
  Deno.test(`propose: twill ${line}`, async () => {
    assert.deepEqual(await after(line), expected);
  });
}

Deno.test("propose: every command of inspect, with what it is for", async () => {
  const found = await propose(ROOT, ["inspect", ""], () => Promise.resolve([]));
  assert.deepEqual(found.map(({ word }) => word), Object.keys(COMMANDS));
  assert.ok(found.every(({ brief }) => brief !== ""));
});
