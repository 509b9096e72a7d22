import assert from "node:assert/strict";
import { tar } from "../../../inspect/bundle/tar.ts";
import { answers, DAEMON, MEMORY, snapshot } from "../known.ts";
import { parseNetConf } from "../../../engine/net_conf.ts";
import { HEALTHY, inspect, NOW, type Scene } from "../scene.ts";

/** What the system's own tar finds in an archive, by name. */
async function unpack(bytes: Uint8Array, ...flags: string[]): Promise<Record<string, string>> {
  const folder = Deno.makeTempDirSync();
  try {
    const child = new Deno.Command("tar", { args: ["-x", ...flags, "-C", folder], stdin: "piped" })
      .spawn();
    const writer = child.stdin.getWriter();
    await writer.write(bytes);
    await writer.close();
    assert.equal((await child.status).code, 0);
    const found: Record<string, string> = {};
    const walk = (path: string): void => {
      for (const { name, isDirectory } of Deno.readDirSync(`${folder}${path}`)) {
        if (isDirectory) walk(`${path}/${name}`);
        else found[`${path}/${name}`.slice(1)] = Deno.readTextFileSync(`${folder}${path}/${name}`);
      }
    };
    walk("");
    return found;
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

Deno.test("tar: what the system's tar reads is what was packed", async () => {
  const files = { "a": "", "b/c": "x".repeat(512), "b/d": "ünï\n".repeat(300) };
  const bytes = tar(Object.entries(files).map(([name, text]) => ({ name, text })), NOW / 1000);
  assert.equal(bytes.length % 512, 0);
  assert.deepEqual(await unpack(bytes), files);
  assert.throws(() => tar([{ name: "x".repeat(101), text: "" }], 0), RangeError);
});

/** Each seeded somewhere; none may be in the archive. */
const SECRETS = [
  "5ec7e7aa",
  "5ec7e7bb",
  "5ec7e7cc",
  "5ec7e7dd",
  "5ec7e7ee",
  "5ec7e7ff",
  "5ec7e700",
];
const [CONF, URL_USER, BEARER, UNIT, NET, PEM, RULE] = SECRETS as [string, ...string[]] & string[];

const conf = parseNetConf(
  `{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan","Password":"${CONF}"}}`,
);
const memory = { ...MEMORY, conf };

const NODE: Scene = {
  facts: HEALTHY,
  status: {
    ...answers({
      ...DAEMON,
      leases: memory,
      store: {
        name: "etcd",
        connected: false,
        problem: `https://root:${URL_USER}@etcd:2379: refused`,
        bad: [],
      },
      remarks: [`401 for Authorization: Bearer ${BEARER}`],
    }),
    "/metrics": "twill_ready 1\n",
  },
  rules: { nft: `table inet x {\n\tchain c {\n\t\tcomment "token=${RULE}"\n\t}\n}\n` },
  files: {
    ...snapshot(memory),
    "/etc/systemd/system/twill.service":
      `[Service]\nEnvironment=FLANNELD_ETCD_PASSWORD=${UNIT}\nExecStart=twill daemon --etcd-password ${UNIT} --ip-masq\n`,
    "/etc/cni/net.d/10-flannel.conflist": JSON.stringify({
      name: "cbr0",
      plugins: [{ type: "flannel", kubernetes: { k8s_auth_token: NET } }],
    }),
    "/etc/cni/net.d/calico-kubeconfig": `users:\n- user:\n    token: ${NET}\n`,
    "/etc/kube-flannel/net-conf.json":
      `{"x": "-----BEGIN RSA PRIVATE KEY-----\\n${PEM}\\n-----END RSA PRIVATE KEY-----"}`,
  },
};

Deno.test("bundle: everything is in it, and none of the secrets", async () => {
  const saved = new Map<string, Uint8Array>();
  const outcome = await inspect("bundle", { ...NODE, saved });
  assert.equal(outcome.code, 0);
  assert.equal(outcome.stdout, "");
  assert.match(
    outcome.stderr,
    /^Wrote twill-bundle-20260101T000000Z\.tar\.gz: \d+ files, \d+ KiB\./,
  );
  const [bytes] = saved.values();
  const files = await unpack(bytes!, "-z");
  const folder = "twill-bundle-20260101T000000Z";
  const text = (name: string): string => files[`${folder}/${name}`] ?? assert.fail(`no ${name}`);
  for (
    const name of [
      "status",
      "subnet",
      "routes",
      "peers",
      "leases",
      "pods",
      "rules",
      "check",
      "diagram",
    ]
  ) {
    assert.equal(JSON.parse(text(`answers/${name}.json`)).kind, name);
    assert.match(text(`answers/${name}.notes`), /^exit code [01]$/m, name);
    assert.notEqual(text(`answers/${name}.txt`) + text(`answers/${name}.notes`), "");
  }
  assert.equal(JSON.parse(text("daemon/status.json")).kind, "daemon");
  assert.equal(text("daemon/metrics.txt"), "twill_ready 1\n");
  assert.match(text("files/run/flannel/subnet.env"), /^FLANNEL_SUBNET=10\.244\.1\.1\/24$/m);
  assert.match(
    text("files/etc/systemd/system/twill.service"),
    /--etcd-password REMOVED --ip-masq$/m,
  );
  assert.match(text("rules/nft.txt"), /^table inet x \{$/m);
  assert.match(text("README"), /^answers\/peers\.json$/m);
  assert.ok(!Object.keys(files).some((name) => name.includes("kubeconfig")));
  const all = Object.values(files).join("\n");
  for (const secret of SECRETS) assert.ok(!all.includes(secret), secret);
  // They were there to be found.
  const seeded = JSON.stringify(NODE);
  for (const secret of SECRETS) assert.ok(seeded.includes(secret), secret);
});

Deno.test("bundle: of a node on which nothing is or works, it says what", async () => {
  const saved = new Map<string, Uint8Array>();
  const broken = (): never => {
    throw new Deno.errors.PermissionDenied("no");
  };
  const scene = { facts: broken, files: { "/run/flannel/subnet.env": broken }, saved };
  assert.equal((await inspect("bundle -w x.tar.gz", scene)).code, 0);
  const files = await unpack(saved.get("x.tar.gz")!, "-z");
  const text = Object.values(files).join("\n");
  assert.match(text, /cannot be read: no/);
  assert.match(text, /^exit code 3$/m);
  assert.match(text, /the daemon does not answer/);
});

Deno.test("bundle: not to a terminal", async () => {
  const outcome = await inspect("bundle -w -", { ...NODE, width: 80 });
  assert.equal(outcome.code, 3);
  assert.match(outcome.stderr, /^Cannot write an archive to a terminal.*\nName a file/);
});
