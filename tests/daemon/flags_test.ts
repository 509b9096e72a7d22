import assert from "node:assert/strict";
import fc from "fast-check";
import {
  FLAGS,
  type Flags,
  parseFlags,
  usage,
  UsageError,
  variableOf,
} from "../../daemon/flags.ts";

type Env = Readonly<Record<string, string>>;

function parse(args: readonly string[], env: Env = {}): ReturnType<typeof parseFlags> {
  return parseFlags(args, (name) => env[name]);
}

function run(args: readonly string[], env: Env = {}): Flags {
  const line = parse(args, env);
  assert.equal(line.kind, "run");
  return (line as { flags: Flags }).flags;
}

/** flanneld's flags and their defaults; users have these in their units and manifests. */
const DEFAULTS: readonly (readonly [name: string, value: unknown])[] = [
  ["etcd-endpoints", "http://127.0.0.1:4001,http://127.0.0.1:2379"],
  ["etcd-prefix", "/coreos.com/network"],
  ["etcd-keyfile", ""],
  ["etcd-certfile", ""],
  ["etcd-cafile", ""],
  ["etcd-username", ""],
  ["etcd-password", ""],
  ["iface", []],
  ["iface-regex", []],
  ["iface-can-reach", ""],
  ["subnet-file", "/run/flannel/subnet.env"],
  ["public-ip", ""],
  ["public-ipv6", ""],
  ["subnet-lease-renew-margin", 60],
  ["ip-masq", false],
  ["ip-masq-fully-random-disable", false],
  ["kube-subnet-mgr", false],
  ["kube-api-url", ""],
  ["kubeconfig-file", ""],
  ["kube-annotation-prefix", "flannel.alpha.coreos.com"],
  ["net-config-path", "/etc/kube-flannel/net-conf.json"],
  ["set-node-network-unavailable", true],
  ["iptables-resync", 5],
  ["iptables-forward-rules", true],
  ["ip-blackhole-route", false],
  ["healthz-ip", "0.0.0.0"],
  ["healthz-port", 0],
  ["status-page", "loopback"],
  ["v", 0],
  ["vmodule", ""],
  ["log_backtrace_at", ":0"],
  ["etcd-allow-insecure-auth", false],
  ["lease-file", ""],
  ["node-name", ""],
  ["instance", ""],
  ["log-format", "text"],
];
for (const [name, value] of DEFAULTS) {
  Deno.test(`flags: --${name} is ${JSON.stringify(value)} unless set`, () => {
    assert.deepEqual(run([])[name as keyof Flags], value);
  });
}

/** Go's syntax: arguments, and the flags that they set. */
const GOOD: readonly (readonly [args: readonly string[], want: Partial<Flags>])[] = [
  [["--ip-masq"], { "ip-masq": true }],
  [["-ip-masq"], { "ip-masq": true }],
  [["-ip-masq=false"], { "ip-masq": false }],
  [["--iptables-forward-rules=0"], { "iptables-forward-rules": false }],
  [["--ip-masq=T"], { "ip-masq": true }],
  [["--etcd-prefix", "/x"], { "etcd-prefix": "/x" }],
  [["-etcd-prefix=/x"], { "etcd-prefix": "/x" }],
  [["-etcd-prefix="], { "etcd-prefix": "" }],
  [["--etcd-prefix=a=b"], { "etcd-prefix": "a=b" }],
  [["--etcd-prefix", "--ip-masq"], { "etcd-prefix": "--ip-masq", "ip-masq": false }],
  [["--etcd-prefix", "-h"], { "etcd-prefix": "-h" }],
  [["--etcd-prefix=1", "--etcd-prefix=2"], { "etcd-prefix": "2" }],
  [["--iface=eth0", "-iface", "10.0.0.1"], { iface: ["eth0", "10.0.0.1"] }],
  [["--healthz-port", "8081", "--"], { "healthz-port": 8081 }],
  [["--v=4"], { v: 4 }],
  [["--public-ip=192.168.0.1", "--public-ipv6=fc00::1"], {
    "public-ip": "192.168.0.1",
    "public-ipv6": "fc00::1",
  }],
  [["--subnet-lease-renew-margin=1"], { "subnet-lease-renew-margin": 1 }],
  [["--subnet-lease-renew-margin=1439"], { "subnet-lease-renew-margin": 1439 }],
  [["--log-format=json"], { "log-format": "json" }],
  [["--kube-subnet-mgr=false"], { "kube-subnet-mgr": false }],
  [["--kube-subnet-mgr=0"], { "kube-subnet-mgr": false }],
  [["--kube-subnet-mgr"], { "kube-subnet-mgr": true }],
  [["--kubeconfig-file", "x"], { "kubeconfig-file": "x" }],
  [["--kube-api-url="], { "kube-api-url": "" }],
  [["--vmodule=x=2", "--log_backtrace_at", "a.go:1"], { vmodule: "x=2" }],
  [["--iface="], { iface: [] }],
  [["--iface=", "--iface=eth0"], { iface: ["eth0"] }],
  [["--iface-regex="], { "iface-regex": [] }],
  [["--etcd-allow-insecure-auth"], { "etcd-allow-insecure-auth": true }],
];
for (const [args, want] of GOOD) {
  Deno.test(`flags: ${args.join(" ")}`, () => {
    const flags = run(args);
    for (const [name, value] of Object.entries(want)) {
      assert.deepEqual(flags[name as keyof Flags], value);
    }
  });
}

/** What cannot be used, and the words that say so. */
const BAD: readonly (readonly [args: readonly string[], env: Env, message: RegExp])[] = [
  [["--nonsense"], {}, /unknown flag --nonsense/],
  [["--nonsense=1"], {}, /unknown flag --nonsense/],
  [["--etcd-endpoint=x"], {}, /did you mean --etcd-endpoints/],
  [["--toString"], {}, /unknown flag --toString/],
  [["--etcd-prefix"], {}, /flag --etcd-prefix needs a value/],
  [["--ip-masq", "false"], {}, /unexpected argument "false"/],
  [["--ip-masq=yes"], {}, /flag --ip-masq: want true or false, got "yes"/],
  [["--ip-masq="], {}, /flag --ip-masq: want true or false, got ""/],
  [["--status-page=yes"], {}, /flag --status-page: want loopback, all or off, got "yes"/],
  [["--healthz-port=many"], {}, /flag --healthz-port: want a whole number, got "many"/],
  [["--healthz-port=1.5"], {}, /flag --healthz-port: want a whole number/],
  [["--healthz-port=65536"], {}, /flag --healthz-port: want at most 65535/],
  [["start"], {}, /unexpected argument "start"/],
  [["-"], {}, /unexpected argument "-"/],
  [["---ip-masq"], {}, /unexpected argument "---ip-masq"/],
  [["--=x"], {}, /unexpected argument "--=x"/],
  [["--", "--ip-masq"], {}, /unexpected argument "--ip-masq"/],
  [["--subnet-lease-renew-margin=0"], {}, /renew-margin option, out of acceptable range/],
  [["--subnet-lease-renew-margin=1440"], {}, /renew-margin option, out of acceptable range/],
  [["--public-ip=one"], {}, /flag --public-ip: invalid IP address: one/],
  [["--public-ip=fc00::1"], {}, /flag --public-ip: invalid IP address/],
  [["--iface-regex=("], {}, /flag --iface-regex/],
  [["--log-format=xml"], {}, /flag --log-format: want text or json/],
  [["--instance=A/B"], {}, /flag --instance/],
  [["--kube-subnet-mgr", "--lease-file=x"], {}, /--kube-subnet-mgr and --lease-file: choose one/],
  [["--conflist-file=x"], {}, /flag --conflist-file: want an absolute path, got "x"/],
  [["--network-policy=yes"], {}, /flag --network-policy: want auto, on or off, got "yes"/],
  [["--kube-subnet-mgr=no"], {}, /flag --kube-subnet-mgr: want true or false, got "no"/],
  [[], { FLANNELD_IP_MASQ: "yes" }, /variable FLANNELD_IP_MASQ: want true or false/],
  [[], { FLANNELD_HEALTHZ_PORT: "x" }, /variable FLANNELD_HEALTHZ_PORT: want a whole number/],
];
for (const [args, env, message] of BAD) {
  const words = [...Object.entries(env).map(([name, value]) => `${name}=${value}`), ...args];
  Deno.test(`flags: refuses ${words.join(" ")}`, () => {
    assert.throws(
      () => parse(args, env),
      (e) => e instanceof UsageError && message.test(e.message),
    );
  });
}

Deno.test("flags: a variable counts where the command line says nothing", () => {
  const env = {
    FLANNELD_ETCD_ENDPOINTS: "http://a:1",
    FLANNELD_IFACE: "eth1",
    FLANNELD_IP_MASQ: "true",
    FLANNELD_ETCD_PREFIX: "",
    FLANNELD_HEALTHZ_PORT: "7",
    NODE_NAME: "one",
  };
  const flags = run(["--healthz-port=8", "--ip-masq=false"], env);
  assert.equal(flags["etcd-endpoints"], "http://a:1");
  assert.deepEqual(flags.iface, ["eth1"]);
  assert.equal(flags["ip-masq"], false);
  assert.equal(flags["etcd-prefix"], "/coreos.com/network", "an empty variable is none");
  assert.equal(flags["healthz-port"], 8);
  assert.equal(flags["node-name"], "one");
  assert.deepEqual(run(["--iface=eth0"], env).iface, ["eth0"], "lists are not joined");
  assert.equal(run([], { ...env, FLANNELD_NODE_NAME: "two" })["node-name"], "two");
  // A bad variable is not looked at when the command line has the flag.
  assert.equal(run(["--ip-masq"], { FLANNELD_IP_MASQ: "yes" })["ip-masq"], true);
});

for (const word of ["-h", "--help", "-help", "--h"]) {
  Deno.test(`flags: ${word} asks for help, whatever stands around it`, () => {
    assert.equal(parse(["--ip-masq", word, "--nonsense"]).kind, "help");
  });
}

Deno.test("flags: --version asks for the version", () => {
  assert.equal(parse(["--version"]).kind, "version");
  assert.equal(parse(["-version"]).kind, "version");
});

Deno.test("flags: the help text names every flag, and its default", () => {
  const text = usage();
  for (const [name, spec] of Object.entries(FLAGS)) {
    assert.match(text, new RegExp(`^  --${name}$`, "m"));
    if (spec.default !== "") assert.ok(text.includes(`(default ${spec.default})`));
  }
});

Deno.test("flags: a variable's name is FLANNELD_ and the flag in capitals", () => {
  assert.equal(variableOf("etcd-endpoints"), "FLANNELD_ETCD_ENDPOINTS");
  assert.equal(variableOf("iface-can-reach"), "FLANNELD_IFACE_CAN_REACH");
});

Deno.test("property: any command line is flags or a UsageError", () => {
  const word = fc.oneof(
    fc.string(),
    fc.constantFrom(...Object.keys(FLAGS).flatMap((name) => [`--${name}`, `-${name}=`])),
    fc.constantFrom("--", "-", "=", "true", "1", "--ip-masq=1"),
  );
  fc.assert(fc.property(fc.array(word, { maxLength: 6 }), word, (args, value) => {
    try {
      parseFlags(args, () => value);
    } catch (e) {
      assert.ok(e instanceof UsageError, String(e));
    }
  }));
});
