/**
 * `tools/bench inspect`: how long `twill inspect routes` takes to start, read and print, beside
 * `ip route` and a compiled program that does nothing, in one run that alternates between them.
 */

import { run, sh } from "../kernel/sandbox.ts";
import { Figures } from "./table.ts";

const ROUNDS = 60;
const TWILL = new URL("../../dist/twill", import.meta.url).pathname;
const MEASURE = {
  name: "inspect routes, of ip route + an empty program",
  unit: "ms",
  ratio: 2,
} as const;

/** A node with three peers, as far as routes tell. */
const NODE = `
  ip link set lo up
  ip link add eth0 mtu 1500 type veth peer name far
  ip link set far up
  ip link set eth0 up
  ip addr add 192.0.2.1/24 dev eth0
  ip link add flannel.1 mtu 1450 type vxlan id 1 local 192.0.2.1 dev eth0 dstport 8472 nolearning
  ip addr add 10.244.1.0/32 dev flannel.1
  ip link set flannel.1 up
`;

function peer(n: number): string {
  return `
  ip neigh add 10.244.${n}.0 lladdr 02:00:00:00:0${n}:04 dev flannel.1 nud permanent
  bridge fdb append 02:00:00:00:0${n}:04 dev flannel.1 dst 192.0.2.${n}
  ip route add 10.244.${n}.0/24 via 10.244.${n}.0 dev flannel.1 onlink proto 146`;
}

function took(program: string, ...args: readonly string[]): number {
  const began = performance.now();
  run(program, ...args);
  return performance.now() - began;
}

const folder = Deno.makeTempDirSync({ prefix: "twill-bench-" });
try {
  const [source, empty, env] = ["empty.ts", "empty", "subnet.env"].map((name) =>
    `${folder}/${name}`
  );
  Deno.writeTextFileSync(source!, "export {};\n");
  Deno.writeTextFileSync(
    env!,
    "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.1.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n",
  );
  const flags = ["--quiet", "--no-check", "--no-config", "--no-lock", "--no-code-cache"];
  run(Deno.execPath(), "compile", ...flags, "--output", empty!, source!);
  sh(NODE + peer(2) + peer(3) + peer(4));
  const routes = ["inspect", "routes", "--subnet-file", env!, "--state-dir", folder] as const;
  const figures = new Figures("ip+empty");
  for (let round = 0; round < ROUNDS; round++) {
    const floor = took("ip", "route") + took(empty!);
    const ours = took(TWILL, ...routes);
    // The first ones read the programs from the disk.
    if (round < 5) continue;
    figures.note(MEASURE, "ip+empty", floor);
    figures.note(MEASURE, "twill", ours);
  }
  const text = figures.lines().map((line) => `${line}\n`).join("");
  Deno.stdout.writeSync(new TextEncoder().encode(text));
} finally {
  Deno.removeSync(folder, { recursive: true });
}
