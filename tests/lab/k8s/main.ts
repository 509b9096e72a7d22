/**
 * A cluster to work in by hand, for `tools/lab k8s up`: builds it and keeps it until it is ended.
 * Serves two things on a socket in the lab's folder: `/smoke`, the smoke test with one line for each
 * check, and `/end`.
 *
 * @module
 */

import { parseArgs } from "node:util";
import { Cluster, type Network } from "./cluster.ts";
import type { Families } from "./control_plane.ts";
import { FOLDER } from "./machine.ts";
import {
  Flannel,
  FlannelDaemonSet,
  type NetConf,
  TwillDaemonSet,
  TwillEtcd,
  TwillService,
} from "./networks.ts";
import { smoke } from "./smoke.ts";

const OPTIONS = {
  nodes: { type: "string", default: "3" },
  network: { type: "string", default: "twill" },
  backend: { type: "string", default: "vxlan" },
  families: { type: "string", default: "ipv4" },
  proxy: { type: "string", default: "iptables" },
} as const;

/** What `--network` can be. */
const NETWORKS: Readonly<Record<string, (conf: NetConf) => Network>> = {
  twill: (conf) => new TwillService([`backend=${conf.Backend?.Type}`]),
  "twill-daemonset": (conf) => new TwillDaemonSet([`backend=${conf.Backend?.Type}`]),
  flannel: (conf) => new Flannel(conf),
  "flannel-daemonset": (conf) => new FlannelDaemonSet(conf),
  "twill-etcd": (conf) => new TwillEtcd(conf),
};

/** The value of an option that has few. @throws {RangeError} naming them */
function one<T extends string>(option: string, value: string, values: readonly T[]): T {
  const found = values.find((each) => each === value);
  if (found !== undefined) return found;
  throw new RangeError(`Cannot use --${option}=${value}: it is one of ${values.join(", ")}`);
}

function print(text: string): void {
  const bytes = new TextEncoder().encode(`${text}\n`);
  for (let at = 0; at < bytes.length;) at += Deno.stdout.writeSync(bytes.subarray(at));
}

async function main(): Promise<void> {
  const { values } = parseArgs({ args: Deno.args, options: OPTIONS });
  const families = one<Families>("families", values.families, ["ipv4", "ipv6", "dual"]);
  const proxy = one("proxy", values.proxy, ["iptables", "nftables"]);
  const backend = one("backend", values.backend, ["vxlan", "host-gw"]);
  const network = NETWORKS[one("network", values.network, Object.keys(NETWORKS))];
  const nodes = Number(values.nodes);
  if (!Number.isInteger(nodes) || nodes < 1 || nodes > 20) {
    throw new RangeError(`Cannot use --nodes=${values.nodes}: from 1 to 20`);
  }
  if (network === undefined) throw new TypeError("no network");
  await using cluster = await Cluster.create({
    nodes,
    families,
    proxy,
    nodeCidrs: values.network !== "twill-etcd",
    network: network({ Backend: { Type: backend } }),
  });
  print(await cluster.kubectl(["get", "nodes", "-o", "wide"]));
  const ending = new AbortController();
  const server = Deno.serve(
    { path: `${FOLDER}/control.sock`, onListen: () => {}, signal: ending.signal },
    ({ url }) => {
      if (url.endsWith("/smoke")) return new Response(report(cluster));
      ending.abort();
      return new Response("it ends\n");
    },
  );
  const status = Deno.env.get("TWILL_LAB_STATUS");
  if (status) Deno.writeTextFileSync(status, "0\n");
  await server.finished;
}

/** The smoke test as lines that come while it runs. */
function report(cluster: Cluster): ReadableStream<Uint8Array> {
  return new ReadableStream<string>({
    async start(controller): Promise<void> {
      let passed = 0;
      const failures = await smoke(cluster, (check, failure) => {
        if (failure === undefined) passed++;
        const why = failure?.replace(/^/gm, "     ") ?? "";
        controller.enqueue(failure === undefined ? `ok   ${check}\n` : `FAIL ${check}\n${why}\n`);
      });
      controller.enqueue(`${passed} passed, ${failures.length} failed\n`);
      controller.close();
    },
  }).pipeThrough(new TextEncoderStream());
}

await main();
