/** The compiled `twill inspect` on nodes that `ip` and `bridge` made. */

import assert from "node:assert/strict";
import { kernelTest, Netns, run, sh } from "./sandbox.ts";

const TWILL = new URL("../../dist/twill", import.meta.url).pathname;

/** A node of 10.244.0.0/16: the underlay, the VTEP, the pods' bridge, and three whole peers. */
const NODE = `
  ip link set lo up
  ip link add eth0 mtu 1500 type veth peer name far
  ip link set far up
  ip link set eth0 up
  ip addr add 192.0.2.1/24 dev eth0
  ip route add default via 192.0.2.254 dev eth0
  ip link add flannel.1 address 02:00:00:00:01:04 mtu 1450 type vxlan id 1 local 192.0.2.1 dev eth0 dstport 8472 nolearning
  ip addr add 10.244.1.0/32 dev flannel.1
  ip link set flannel.1 up
  ip link add cni0 type bridge
  ip addr add 10.244.1.1/24 dev cni0
  ip link set cni0 up
  ${peer(2, "proto 146")}
  ${peer(3, "")}
  ${peer(4, "proto 146")}
`;

/** The IPv6 half of the node, with two whole peers. */
const NODE6 = `
  ip addr add 2001:db8::1/64 dev eth0 nodad
  ip link add flannel-v6.1 address 02:00:00:00:01:06 mtu 1430 type vxlan id 1 local 2001:db8::1 dev eth0 dstport 8472 nolearning udp6zerocsumrx
  ip addr add fd00:244:0:1::/128 dev flannel-v6.1 nodad
  ip link set flannel-v6.1 up
  ip addr add fd00:244:0:1::1/64 dev cni0 nodad
  ${peer6(2)}
  ${peer6(3)}
`;

function peer(n: number, proto: string): string {
  return `
  ip neigh add 10.244.${n}.0 lladdr 02:00:00:00:0${n}:04 dev flannel.1 nud permanent
  bridge fdb append 02:00:00:00:0${n}:04 dev flannel.1 dst 192.0.2.${n}
  ip route add 10.244.${n}.0/24 via 10.244.${n}.0 dev flannel.1 onlink ${proto}`;
}

function peer6(n: number): string {
  return `
  ip neigh add fd00:244:0:${n}:: lladdr 02:00:00:00:0${n}:06 dev flannel-v6.1 nud permanent
  bridge fdb append 02:00:00:00:0${n}:06 dev flannel-v6.1 dst 2001:db8::${n}
  ip route add fd00:244:0:${n}::/64 via fd00:244:0:${n}:: dev flannel-v6.1 onlink proto 146`;
}

const ENV = `FLANNEL_NETWORK=10.244.0.0/16
FLANNEL_SUBNET=10.244.1.1/24
FLANNEL_MTU=1450
FLANNEL_IPMASQ=true
`;
const ENV_DUAL = `FLANNEL_NETWORK=10.244.0.0/16
FLANNEL_SUBNET=10.244.1.1/24
FLANNEL_IPV6_NETWORK=fd00:244::/48
FLANNEL_IPV6_SUBNET=fd00:244:0:1::1/64
FLANNEL_MTU=1430
FLANNEL_IPMASQ=true
`;

interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** What the machine itself has in /var/lib/twill is not of these nodes. */
function elsewhere([word]: readonly string[]): string[] {
  return word === "inspect" ? ["--state-dir", "/nonexistent"] : [];
}

/** Calls the binary in this thread's namespace, without a single capability. */
function twill(...args: readonly string[]): Outcome {
  const { code, stdout, stderr } = new Deno.Command("setpriv", {
    args: ["--inh-caps=-all", "--bounding-set=-all", TWILL, ...args, ...elsewhere(args)],
    clearEnv: true,
    env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" },
    stdin: "null",
  }).outputSync();
  const [out = "", err = ""] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  return { code, stdout: out, stderr: err };
}

/** Runs a test's work with a subnet file of this content. */
function withEnv(text: string, work: (path: string) => void): void {
  const path = Deno.makeTempFileSync({ prefix: "twill-subnet-" });
  try {
    Deno.writeTextFileSync(path, text);
    work(path);
  } finally {
    Deno.removeSync(path);
  }
}

/** The findings of a command, `SUBJECT ID` each. */
function findings(outcome: Outcome): string[] {
  assert.equal(outcome.stderr, "");
  return JSON.parse(outcome.stdout).findings
    .map(({ subject, id }: { subject: string; id: string }) => `${subject} ${id}`);
}

kernelTest("inspect: a healthy node has no findings, in words and as JSON", () => {
  sh(NODE);
  withEnv(ENV, (path) => {
    for (const command of ["subnet", "routes", "peers"]) {
      const json = twill("inspect", command, "-o", "json", "--subnet-file", path);
      assert.deepEqual(findings(json), []);
      assert.equal(json.code, 0);
    }
    const peers = twill("inspect", "peers", "--subnet-file", path);
    assert.equal(
      peers.stdout,
      `SUBNET          NODE   PUBLIC-IP   VTEP-MAC            DEVICE      STATUS
10.244.2.0/24   -      192.0.2.2   02:00:00:00:02:04   flannel.1   ok
10.244.3.0/24   -      192.0.2.3   02:00:00:00:03:04   flannel.1   ok
10.244.4.0/24   -      192.0.2.4   02:00:00:00:04:04   flannel.1   ok
`,
    );
    const routes = twill("inspect", "routes", "--subnet-file", path);
    assert.equal(
      routes.stdout,
      `DESTINATION     VIA          DEVICE      OWNER     NODE   MEANING
10.244.1.0/24   -            cni0        kernel    -      this node's pods, on cni0
10.244.2.0/24   10.244.2.0   flannel.1   twill     -      pods of the node at 192.0.2.2, by VTEP 02:00:00:00:02:04
10.244.3.0/24   10.244.3.0   flannel.1   flannel   -      pods of the node at 192.0.2.3, by VTEP 02:00:00:00:03:04
10.244.4.0/24   10.244.4.0   flannel.1   twill     -      pods of the node at 192.0.2.4, by VTEP 02:00:00:00:04:04
`,
    );
  });
});

/** What is done to a healthy node of both families, and what peers must then say. */
const FAULTS: Readonly<Record<string, readonly [commands: string, peers: readonly string[]]>> = {
  "an FDB entry is gone": [
    "bridge fdb del 02:00:00:00:02:04 dev flannel.1 dst 192.0.2.2",
    ["10.244.2.0/24 no-fdb"],
  ],
  "a neighbour is gone": [
    "ip neigh del 10.244.2.0 dev flannel.1",
    ["10.244.2.0/24 no-neighbour"],
  ],
  "a neighbour was only learned": [
    "ip neigh replace 10.244.2.0 lladdr 02:00:00:00:02:04 dev flannel.1 nud reachable",
    ["10.244.2.0/24 no-neighbour"],
  ],
  "a route is gone": ["ip route del 10.244.2.0/24", ["10.244.2.0 no-route"]],
  "an FDB entry is left over": [
    "bridge fdb append 02:00:00:00:09:04 dev flannel.1 dst 192.0.2.9",
    ["02:00:00:00:09:04 stale-fdb"],
  ],
  "a neighbour has another MAC address": [
    "ip neigh replace 10.244.2.0 lladdr 02:00:00:00:02:ff dev flannel.1 nud permanent",
    ["10.244.2.0/24 mac-mismatch"],
  ],
  "one of each": [
    `bridge fdb del 02:00:00:00:02:04 dev flannel.1 dst 192.0.2.2
     ip neigh del 10.244.3.0 dev flannel.1
     bridge fdb append 02:00:00:00:09:04 dev flannel.1 dst 192.0.2.9`,
    [
      "10.244.2.0/24 no-fdb",
      "10.244.3.0/24 no-neighbour",
      "02:00:00:00:03:04 stale-fdb",
      "02:00:00:00:09:04 stale-fdb",
    ],
  ],
  "IPv6: an FDB entry is gone": [
    "bridge fdb del 02:00:00:00:02:06 dev flannel-v6.1 dst 2001:db8::2",
    ["fd00:244:0:2::/64 no-fdb"],
  ],
  "IPv6: a neighbour is gone": [
    "ip neigh del fd00:244:0:2:: dev flannel-v6.1",
    ["fd00:244:0:2::/64 no-neighbour"],
  ],
  "the VTEP is down": ["ip link set flannel.1 down", ["flannel.1 device-down"]],
  "the VTEP is gone": ["ip link del flannel.1", ["flannel.N no-vtep"]],
};

for (const [name, [commands, expected]] of Object.entries(FAULTS)) {
  kernelTest(`inspect peers: ${name}`, () => {
    sh(NODE + NODE6);
    withEnv(ENV_DUAL, (path) => {
      const before = twill("inspect", "peers", "-o", "json", "--subnet-file", path);
      assert.deepEqual(findings(before), []);
      sh(commands);
      const after = twill("inspect", "peers", "-o", "json", "--subnet-file", path);
      assert.deepEqual(findings(after).sort(), [...expected].sort());
      assert.equal(after.code, 1);
    });
  });
}

kernelTest("inspect peers: what it says to do by hand makes the peers whole", () => {
  sh(NODE);
  sh(`ip neigh del 10.244.2.0 dev flannel.1
      ip route del 10.244.3.0/24`);
  withEnv(ENV, (path) => {
    const broken = twill("inspect", "peers", "-o", "json", "--subnet-file", path);
    const { findings } = JSON.parse(broken.stdout);
    assert.equal(findings.length, 2);
    for (const { command } of findings) sh(command);
    assert.equal(twill("inspect", "peers", "--subnet-file", path).code, 0);
  });
});

kernelTest("inspect subnet: sees the kernel's MTU and addresses", () => {
  sh(NODE);
  withEnv(ENV, (path) => {
    sh(`ip link set eth0 mtu 1400
        ip addr del 10.244.1.1/24 dev cni0
        ip addr add 10.244.7.1/24 dev cni0`);
    const outcome = twill("inspect", "subnet", "-o", "json", "--subnet-file", path);
    assert.equal(outcome.code, 1);
    const { findings } = JSON.parse(outcome.stdout);
    assert.deepEqual(
      findings.map(({ subject, id }: { subject: string; id: string }) => `${subject} ${id}`),
      // Linux lowers a VTEP's MTU together with the link below it only when the VTEP is made.
      ["flannel.1 vtep-mtu", "cni0 bridge-address"],
    );
  });
});

kernelTest("inspect: the commands of --show-commands run, and show the same", () => {
  sh(NODE + NODE6);
  withEnv(ENV_DUAL, (path) => {
    for (const command of ["subnet", "routes", "peers"]) {
      const dir = command === "subnet" ? ["--conf-dir", "/"] : [];
      const flags = ["--show-commands", "--subnet-file", path, ...dir];
      const { stderr } = twill("inspect", command, ...flags);
      const lines = stderr.trim().split("\n");
      const shown = lines.map((line) => {
        assert.match(line, /^\$ (?:ip|bridge|cat|ls) /);
        return run("sh", "-c", line.slice(2));
      }).join("");
      assert.match(shown, /10\.244\.1\.[01]/);
      assert.match(shown, /fd00:244:0:[12]::/);
    }
  });
});

/** `inspect rules` as root, its hazards as `SUBJECT ID`. */
function hazards(path: string): string[] {
  const args = ["inspect", "rules", "-o", "json", "--subnet-file", path];
  const { code, stdout, stderr } = new Deno.Command(TWILL, { args }).outputSync();
  const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
  const found = findings({ code, stdout: text(stdout), stderr: text(stderr) });
  assert.equal(code, found.length > 0 ? 1 : 0);
  return found;
}

kernelTest("inspect rules: hazards in nft, in iptables on nft, and in old iptables", () => {
  sh(NODE);
  withEnv(ENV, (path) => {
    assert.deepEqual(hazards(path), []);
    sh("iptables-nft -P FORWARD DROP");
    assert.deepEqual(hazards(path), ["ip filter FORWARD drops-pods"]);
    sh(`iptables-nft -A FORWARD -s 10.244.0.0/16 -m comment --comment pods -j ACCEPT
        iptables-nft -A FORWARD -d 10.244.0.0/16 -j ACCEPT`);
    assert.deepEqual(hazards(path), []);
    sh(
      "iptables-nft -t nat -A POSTROUTING -s 10.244.0.0/16 ! -o docker0 -j MASQUERADE --random-fully",
    );
    assert.deepEqual(hazards(path), ["ip nat POSTROUTING second-masquerade"]);
    sh(`iptables-nft -t nat -I POSTROUTING -d 10.244.0.0/16 -j RETURN
        iptables-legacy -A INPUT -p udp -m multiport --dports 53,8472 -j DROP`);
    assert.deepEqual(hazards(path), ["legacy ip filter INPUT drops-overlay"]);
    sh(`iptables-legacy -F INPUT
        nft add table inet fw
        nft add chain inet fw in { type filter hook input priority 10 ; policy drop ; }`);
    assert.deepEqual(hazards(path), ["inet fw in drops-overlay"]);
  });
});

kernelTest("inspect: a namespace without an overlay cannot be judged", () => {
  const outcome = twill("inspect", "peers", "--subnet-file", "/nonexistent/subnet.env");
  assert.equal(outcome.code, 3);
  assert.match(outcome.stderr, /Cannot tell about peers/);
});

kernelTest("twill alone, --help, and a wrong word", () => {
  assert.deepEqual(twill(), twill("--help"));
  assert.match(twill("--help").stdout, /^COMMANDS$/m);
  const wrong = twill("inspct");
  assert.equal(wrong.code, 2);
  assert.match(wrong.stderr, /no command "inspct"; did you mean inspect\?/);
  assert.equal(twill("inspect", "pears").code, 2);
});

/** Reads a program's stdout line by line. */
function linesOf(stream: ReadableStream<Uint8Array<ArrayBuffer>>): () => Promise<string> {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  return async () => {
    for (;;) {
      const end = text.indexOf("\n");
      if (end >= 0) {
        const line = text.slice(0, end);
        text = text.slice(end + 1);
        return line;
      }
      const { value, done } = await reader.read();
      if (done) return text;
      text += value;
    }
  };
}

for (const setpriv of [[], ["setpriv", "--inh-caps=-all", "--bounding-set=-all"]]) {
  const who = setpriv.length === 0 ? "as root" : "without rights";
  Deno.test(`inspect peers --watch ${who}: on change, not on a timer; ^C ends it`, async () => {
    using host = new Netns();
    const path = Deno.makeTempFileSync({ prefix: "twill-subnet-" });
    Deno.writeTextFileSync(path, ENV);
    try {
      host.inside(() => sh(NODE));
      const [program = "", ...args] = ["ip", "netns", "exec", host.name, ...setpriv, TWILL];
      const child = new Deno.Command(program, {
        args: [
          ...args,
          "inspect",
          "peers",
          "--state-dir",
          "/nonexistent",
          "--watch",
          "-o",
          "json",
          "--subnet-file",
          path,
        ],
        stdout: "piped",
        stderr: "piped",
      }).spawn();
      const line = linesOf(child.stdout);
      const problems = async (): Promise<number> => JSON.parse(await line()).findings.length;
      assert.equal(await problems(), 0);
      host.inside(() => sh("ip neigh del 10.244.2.0 dev flannel.1"));
      assert.equal(await problems(), 1);
      // A file counts as well: outside of this network, every peer is misplaced.
      Deno.writeTextFileSync(path, ENV.replace("10.244.0.0/16", "10.244.0.0/22"));
      assert.equal(await problems(), 2);
      // Nothing of this is to be seen: no new line.
      host.inside(() => sh("ip link set far mtu 1400"));
      await new Promise((resolve) => setTimeout(resolve, 300));
      child.kill("SIGINT");
      assert.equal(await line(), "");
      const { code } = await child.status;
      assert.match(await new Response(child.stderr).text(), /^2 changes in \d+ s\n$/);
      assert.equal(code, 1);
    } finally {
      Deno.removeSync(path);
    }
  });
}
