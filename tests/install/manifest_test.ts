/** manifest: what it prints parses, agrees with itself, and is refused where it cannot work. */

import assert from "node:assert/strict";
import * as fc from "fast-check";
import { load, loadAll } from "js-yaml";
import { parseFlags } from "../../daemon/flags.ts";
import { parseNetConf } from "../../engine/net_conf.ts";
import { networkOf } from "../../install/conflist.ts";
import { fine, type Left, Tree } from "./bench.ts";

// deno-lint-ignore no-explicit-any -- Kubernetes objects; each test looks at the few members it names
type Shown = any;

async function manifest(words: readonly string[], stdin?: string): Promise<Left> {
  using tree = new Tree();
  const other = stdin === undefined ? {} : { stdin: () => Promise.resolve(stdin) };
  return await tree.runOn(other, "manifest", ...words);
}

async function objects(...words: readonly string[]): Promise<Shown[]> {
  const found: Shown[] = [];
  loadAll(fine(await manifest(words)), (one) => found.push(one));
  return found;
}

async function daemonSet(...words: readonly string[]): Promise<Shown> {
  return (await objects(...words)).at(-1)!;
}

Deno.test("manifest: the whole text", async (t) => {
  await t.assertSnapshot(fine(await manifest([])));
});

for (const words of [["--only", "rbac"], ["--only", "token"], ["--set", "privileged=false"]]) {
  Deno.test(`manifest ${words.join(" ")}: the text`, async (t) => {
    await t.assertSnapshot(fine(await manifest(words)));
  });
}

Deno.test("manifest: what it refers to is there", async () => {
  const all = await objects("--set", "namespace=pods");
  const of = (kind: string): Shown => all.find((one) => one.kind === kind);
  const { spec, metadata } = of("DaemonSet");
  const pod = spec.template.spec;
  assert.equal(pod.serviceAccountName, of("ServiceAccount").metadata.name);
  assert.deepEqual(of("ClusterRoleBinding").subjects, [
    { kind: "ServiceAccount", name: "flannel", namespace: "pods" },
  ]);
  assert.equal(of("ClusterRoleBinding").roleRef.name, of("ClusterRole").metadata.name);
  const volumes = pod.volumes.map(({ name }: Shown) => name);
  assert.equal(new Set(volumes).size, volumes.length);
  for (const { name, volumeMounts } of [...pod.initContainers, ...pod.containers]) {
    for (const mount of volumeMounts) {
      assert.ok(volumes.includes(mount.name), `${name} ${mount.name}`);
    }
  }
  assert.equal(pod.volumes.at(-1).configMap.name, of("ConfigMap").metadata.name);
  for (const [label, value] of Object.entries(spec.selector.matchLabels)) {
    assert.equal(spec.template.metadata.labels[label], value);
  }
  assert.equal(of("Namespace").metadata.name, "pods");
  for (const { kind, metadata } of all) {
    if (!/^(?:Namespace|Cluster)/.test(kind)) assert.equal(metadata.namespace, "pods", kind);
  }
  assert.equal(metadata.name, "kube-flannel-ds");
});

Deno.test("manifest: the daemon takes its flags, and those behind --", async () => {
  const { spec } = await daemonSet("--set", "healthzPort=9000", "--", "--iface=eth1", "--v", "1");
  const [agent] = spec.template.spec.containers;
  assert.deepEqual(agent.command, ["/usr/local/bin/twill"]);
  const [word, ...args] = agent.args;
  assert.equal(word, "daemon");
  const line = parseFlags(args, () => undefined);
  assert.ok(line.kind === "run");
  const { flags } = line;
  assert.deepEqual([flags.iface, flags.v, flags["healthz-port"]], [["eth1"], 1, 9000]);
  assert.deepEqual([flags["kube-subnet-mgr"], flags["ip-masq"]], [true, true]);
  assert.equal(flags["conflist-file"], "/etc/cni/net.d/10-flannel.conflist");
  const config = agent.volumeMounts.find(({ name }: Shown) => name === "flannel-cfg").mountPath;
  for (const name of ["conflist-source", "net-config-path"] as const) {
    assert.ok(flags[name].startsWith(config), flags[name]);
  }
  assert.equal(agent.ports[0].containerPort, 9000);
});

Deno.test("manifest: the image of deploy/Containerfile has what the DaemonSet starts", async () => {
  const file = Deno.readTextFileSync(
    new URL("../../deploy/Containerfile", import.meta.url).pathname,
  );
  const { containers, initContainers } = (await daemonSet()).spec.template.spec;
  for (const { command: [program] } of [...containers, ...initContainers]) {
    assert.match(file, new RegExp(`^COPY dist/twill ${program}$`, "m"));
  }
  const { version } = JSON.parse(
    Deno.readTextFileSync(new URL("../../deno.json", import.meta.url).pathname),
  );
  assert.ok(file.includes(`-t twill:${version} `));
});

Deno.test("manifest: paths mean the same on both sides, and are those that install was told", async () => {
  const { spec } = await daemonSet(
    "--set",
    "cniBinDir=/usr/lib/cni",
    "--set",
    "cniConfDir=/etc/net",
  );
  const { volumes, containers, initContainers } = spec.template.spec;
  const paths = new Map(
    volumes.flatMap(({ name, hostPath }: Shown) =>
      hostPath === undefined ? [] : [[name, hostPath.path]]
    ),
  );
  for (const { volumeMounts } of [...containers, ...initContainers]) {
    for (const { name, mountPath } of volumeMounts) {
      if (name !== "flannel-cfg") assert.equal(mountPath, paths.get(name));
    }
  }
  assert.ok([...paths.values()].includes("/usr/lib/cni"));
  assert.ok(initContainers[0].args.includes("--cni-bin-dir=/usr/lib/cni"));
  assert.ok(initContainers[0].args.includes("--cni-conf-dir=/etc/net"));
});

Deno.test("manifest: a changed configuration replaces the pods", async () => {
  const mark = async (...words: readonly string[]): Promise<string | undefined> =>
    (await daemonSet(...words)).spec.template.metadata.annotations?.["twill/config"];
  const usual = await mark();
  assert.match(String(usual), /^[0-9a-f]{16}$/);
  assert.equal(await mark("--set", "memory=1Gi"), usual);
  assert.notEqual(await mark("--set", "network=10.0.0.0/8"), usual);
  assert.equal(await mark("--set", "configMap=existing"), undefined);
});

Deno.test("manifest --only net-conf: what the ConfigMap has", async () => {
  const words = ["--set", "backend=host-gw", "--set", "network=10.0.0.0/8"];
  const { data } = (await objects(...words)).find(({ kind }) => kind === "ConfigMap");
  const text = fine(await manifest(["--only", "net-conf", ...words]));
  assert.equal(text, data["net-conf.json"]);
  assert.equal(parseNetConf(text).backend.type, "host-gw");
});

Deno.test("manifest: an existing ConfigMap is not printed", async () => {
  const kinds = (await objects("--set", "configMap=existing")).map(({ kind }) => kind);
  assert.deepEqual(kinds, [
    "Namespace",
    "ServiceAccount",
    "ClusterRole",
    "ClusterRoleBinding",
    "DaemonSet",
  ]);
});

/** Values that stand for all, of every setting. */
const VALUES: Readonly<Record<string, fc.Arbitrary<string>>> = {
  image: fc.constantFrom("twill:1", "registry.example:5000/a/twill@sha256:00"),
  imagePullSecret: fc.constantFrom("", "pull-me"),
  namespace: fc.constantFrom("kube-flannel", "yes", "on", "1e3"),
  network: fc.constantFrom("10.0.0.0/8", "192.168.0.0/16"),
  network6: fc.constantFrom("", "fd00:10:244::/56"),
  vni: fc.constantFrom("", "1", "4096"),
  port: fc.constantFrom("", "4789"),
  mtu: fc.constantFrom("", "1400"),
  directRouting: fc.constantFrom("", "true", "false"),
  nftables: fc.constantFrom("", "true", "false"),
  privileged: fc.constantFrom("true", "false"),
  ipMasq: fc.constantFrom("true", "false"),
  healthzPort: fc.constantFrom("1", "65535"),
  cniBinDir: fc.constantFrom("/opt/cni/bin", "/var/lib/rancher/k3s/data/cni", "/a b/c"),
  cpu: fc.constantFrom("100m", "0.5", "2"),
  memory: fc.constantFrom("64Mi", "1.5Gi"),
};

Deno.test("manifest: whatever is set, every object parses and names itself", async () => {
  await fc.assert(
    fc.asyncProperty(fc.record(VALUES, { requiredKeys: [] }), async (settings) => {
      const words = Object.entries(settings).flatMap(([k, v]) => ["--set", `${k}=${v}`]);
      const all = await objects(...words);
      assert.equal(all.length, 6);
      for (const { apiVersion, kind, metadata } of all) {
        for (const text of [apiVersion, kind, metadata.name]) assert.equal(typeof text, "string");
      }
      const { data } = all.find(({ kind }) => kind === "ConfigMap");
      assert.equal(networkOf(data["cni-conf.json"])?.name, "cbr0");
      const { families, nftables } = parseNetConf(data["net-conf.json"]);
      assert.equal(families[4].network, settings["network"] ?? "10.244.0.0/16");
      assert.equal(families[6].enabled, (settings["network6"] ?? "") !== "");
      assert.equal(String(nftables ?? ""), settings["nftables"] ?? "");
      for (const { env, args } of all.at(-1).spec.template.spec.containers) {
        for (const one of [...args, ...env.map(({ name }: Shown) => name)]) {
          assert.equal(typeof one, "string");
        }
      }
    }),
    { numRuns: 40 },
  );
});

const REFUSED: readonly (readonly [words: readonly string[], message: RegExp])[] = [
  [["--set", "imgae=x"], /no setting "imgae"; there are image, /],
  [["--set", "image"], /want KEY=VALUE, got "image"/],
  [["--set", "privileged=no"], /privileged: want true or false, got "no"/],
  [["--set", "namespace=Kube"], /namespace: want small letters/],
  [["--set", "namespace="], /namespace: want a value, got nothing/],
  [["--set", "network=10.244.0.0"], /network's configuration cannot be used: .*Network/],
  [["--set", "network="], /no network of any family/],
  [["--set", "backend=carrier-pigeon"], /cannot be used: .*carrier-pigeon/],
  [["--set", "backend=host-gw", "--set", "vni=7"], /VNI is of the backend vxlan, not of host-gw/],
  [["--set", "vni=99999999"], /vni: want 1 to 16777215/],
  [["--set", "cniBinDir=bin"], /cniBinDir: want an absolute path/],
  [["--set", "memory=lots"], /memory: want an amount/],
  [["--", "--ifcae=eth1"], /unknown flag --ifcae/],
  [["--only", "rbac", "--", "--v=1"], /flags behind -- are for the DaemonSet/],
  [["--only", "everything"], /everything/],
  [["--server=https://a"], /--server is for --only kubeconfig/],
  [["--only", "kubeconfig"], /needs --server/],
  [["--only", "kubeconfig", "--server=http://a"], /want https:\/\/HOST:PORT/],
  [["--only", "kubeconfig", "--server=https://a:1", "--ca=x"], /--ca and --token go together/],
  [["--only", "kubeconfig", "--server=https://a:1"], /kubectl -n kube-flannel get secret/],
];
for (const [words, message] of REFUSED) {
  Deno.test(`manifest ${words.join(" ")}: is refused`, async () => {
    const { code, stdout, stderr } = await manifest(words);
    assert.deepEqual([code, stdout], [2, ""]);
    assert.match(stderr, message);
    assert.doesNotMatch(stderr, /bug|\n\s+at /);
  });
}

const CA = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
const ASK = ["--only", "kubeconfig", "--server=https://kind-control-plane:6443"];
const SECRET = {
  kind: "Secret",
  type: "kubernetes.io/service-account-token",
  data: { "ca.crt": btoa(CA), token: btoa("aaa.bbb.c-c") },
};
const WANTED = {
  clusters: [{
    name: "cluster",
    cluster: {
      server: "https://kind-control-plane:6443",
      "certificate-authority-data": btoa(CA),
    },
  }],
  users: [{ name: "flannel", user: { token: "aaa.bbb.c-c" } }],
  contexts: [{ name: "flannel", context: { cluster: "cluster", user: "flannel" } }],
  "current-context": "flannel",
};

Deno.test("manifest --only kubeconfig: from the Secret", async () => {
  const text = fine(await manifest(ASK, JSON.stringify(SECRET)));
  assert.deepEqual(load(text), { apiVersion: "v1", kind: "Config", ...WANTED });
});

Deno.test("manifest --only kubeconfig: from files", async () => {
  using tree = new Tree();
  tree.write("/ca", CA);
  tree.write("/token", "aaa.bbb.c-c\n");
  const text = fine(
    await manifest([...ASK, `--ca=${tree.at("/ca")}`, `--token=${tree.at("/token")}`]),
  );
  assert.deepEqual(load(text), { apiVersion: "v1", kind: "Config", ...WANTED });
  tree.write("/token", "two words");
  const bad = await manifest([...ASK, `--ca=${tree.at("/ca")}`, `--token=${tree.at("/token")}`]);
  assert.equal(bad.code, 1);
  assert.match(bad.stderr, /^Cannot use --token=\S+: it is no token\nMake one: kubectl/);
  assert.doesNotMatch(bad.stderr, /two words/);
});

for (
  const [what, text, message] of [
    ["nothing", "", /the input is empty/],
    ["no YAML", "a: b: c", /neither JSON nor YAML/],
    ["another object", '{"kind":"Pod"}', /it is no Secret but "Pod"/],
    ["another Secret", JSON.stringify({ ...SECRET, type: "Opaque" }), /its type is "Opaque"/],
    ["a Secret that is not filled yet", JSON.stringify({ ...SECRET, data: {} }), /no ca.crt yet/],
    [
      "what is no base64",
      JSON.stringify({ ...SECRET, data: { ...SECRET.data, token: "%" } }),
      /its token is no base64/,
    ],
  ] as const
) {
  Deno.test(`manifest --only kubeconfig: ${what} on stdin is refused`, async () => {
    const { code, stdout, stderr } = await manifest(ASK, text);
    assert.deepEqual([code, stdout], [1, ""]);
    assert.match(stderr, message);
  });
}
