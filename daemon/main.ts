/**
 * `twill daemon`: from the command line to a running node agent, and its end.
 *
 * Exit codes: 0 after SIGINT or SIGTERM (the data plane stays up), 1 when the operator must change
 * something, 2 for a command line that cannot be used.
 *
 * @module
 */

import { messageOf, OpError } from "../engine/errors.ts";
import { parseIp, parseIp4, parseIp6 } from "../engine/ip.ts";
import { Kernel } from "../ffi/kernel.ts";
import { notify } from "../ffi/notify.ts";
import { keepNetfilter } from "../ffi/netfilter.ts";
import { Poller } from "../ffi/poll.ts";
import { versionLine } from "../version.ts";
import { ConflistFile } from "./conflist_file.ts";
import { ArrivalDesk } from "./arrival.ts";
import { type Flags, parseFlags, usage, UsageError } from "./flags.ts";
import { serveHealth } from "./health.ts";
import { holdInstance } from "./instance.ts";
import { Log, type LogFormat } from "./log.ts";
import { NodeAgent, type NodeOptions } from "./node.ts";
import { PageDesk } from "./page/desk.ts";
import type { PageFor } from "./page_for.ts";
import { Policies } from "./policy/policies.ts";
import { servePlugins } from "./server/server.ts";
import { serveStatus, statusSocketPath } from "./status_socket.ts";
import { MemoryFile } from "./store/memory.ts";
import { nodeIdentity } from "./store/node_id.ts";
import { RememberingStore } from "./store/remembering.ts";
import type { Store } from "./store/store.ts";
import { TraceDesk } from "./trace_desk.ts";
import { FLANNEL_KEY, type SecretFiles } from "./wireguard_keys.ts";

/** Runs the daemon with the arguments behind `daemon`. Sets the exit code; never throws. */
export async function main(args: readonly string[] = Deno.args.slice(1)): Promise<void> {
  let flags: Flags;
  try {
    const line = parseFlags(args, (name) => Deno.env.get(name));
    if (line.kind !== "run") {
      print(Deno.stdout, line.kind === "help" ? usage() : `${versionLine()}\n`);
      return;
    }
    flags = line.flags;
  } catch (e) {
    if (!(e instanceof UsageError)) throw e;
    print(Deno.stderr, `twill daemon: ${e.message}\nRun: twill daemon --help\n`);
    Deno.exitCode = 2;
    return;
  }
  const format = flags["log-format"] as LogFormat;
  const log = new Log({ format, level: flags.v > 0 ? "debug" : "info" });
  try {
    await run(flags, log);
    log.info("Exiting cleanly...");
  } catch (e) {
    log.error(messageOf(e), { advice: e instanceof OpError ? e.advice : undefined });
    Deno.exitCode = 1;
  }
}

async function run(flags: Flags, log: Log): Promise<void> {
  const ending = new AbortController();
  const { signal } = ending;
  const stop = (): void => ending.abort(new Error("asked to end"));
  using signals = new DisposableStack();
  for (const name of ["SIGINT", "SIGTERM"] as const) {
    Deno.addSignalListener(name, stop);
    signals.defer(() => Deno.removeSignalListener(name, stop));
  }
  log.info("Starting", { version: versionLine() });
  using _alone = holdInstance(flags.instance);
  keepNetfilter();
  const memory = new MemoryFile(statePath(flags, "snapshot", ".json"));
  await using store = new RememberingStore(await openStore(flags, log), memory, log);
  log.info(`Created subnet manager: ${store.name}`);
  await using poller = new Poller();
  const policies = new Policies(flags, {
    poller,
    log,
    namespacesFile: statePath(flags, "policy-namespaces", ".json"),
    changed: () => agent.revision.raise(),
  });
  await using plugins = flags.instance === ""
    ? servePlugins(poller, log, {
      admit: (pod) => policies.admit(pod),
      notReady: () => agent.health().reasons,
    })
    : undefined;
  const options = { ...nodeOptions(flags), poller };
  const agent = new NodeAgent(store, options, log, tellServiceManager);
  const port = flags["healthz-port"];
  const started = Date.now();
  const arrivals = new ArrivalDesk(poller, () => agent.status());
  const traces = new TraceDesk(() => pages.status());
  const page = new PageDesk({
    status: () => pages.status(),
    facts: () => {
      using kernel = Kernel.open();
      return kernel.read({ links: "all", addresses: "all", routes: true });
    },
  });
  const pages = {
    arrival: (query: URLSearchParams, ended: AbortSignal) => arrivals.answer(query, ended),
    trace: (query: URLSearchParams, asker: string, ended: AbortSignal) =>
      traces.answer(query, asker, ended),
    health: () => {
      const { reasons, remarks } = agent.health();
      return { reasons, remarks: [...remarks, ...policies.remarks()] };
    },
    metrics: () => `${agent.metrics()}${policies.metrics()}`,
    revision: agent.revision,
    page: () => page.answer(),
    status: () => ({
      ...agent.status(),
      version: versionLine(),
      instance: flags.instance,
      started,
      subnetFile: flags["subnet-file"],
      masquerade: flags["ip-masq"],
      plugins: plugins?.status() ?? { listening: false, served: 0, left: {} },
      policy: policies.status(),
    }),
    policy: () => policies.snapshot(),
  };
  const status = serveStatus(statusSocketPath(flags.instance), pages, log, signal);
  const pageFor = flags["status-page"] as PageFor;
  const server = port > 0
    ? serveHealth(flags["healthz-ip"], port, pages, pageFor, signal)
    : undefined;
  if (server !== undefined) log.info(`Start healthz server on ${flags["healthz-ip"]}:${port}`);
  const enforcing = policies.run(signal);
  try {
    await Promise.all([agent.run(signal), enforcing]);
  } catch (e) {
    if (!signal.aborted) throw e;
  } finally {
    ending.abort(new Error("ended"));
    await Promise.all([server?.finished, status?.finished, enforcing.catch(() => {})]);
  }
}

function tellServiceManager(): void {
  const socket = Deno.env.get("NOTIFY_SOCKET");
  if (socket !== undefined) notify(socket, "READY=1");
}

/** A file in `--state-dir`, each daemon of a host its own. */
function statePath({ "state-dir": directory, instance }: Flags, name: string, end = ""): string {
  return `${directory}/${name}${instance === "" ? "" : `-${instance}`}${end}`;
}

function nodeOptions(flags: Flags): Omit<NodeOptions, "poller"> {
  const [v4, v6] = [flags["public-ip"], flags["public-ipv6"]];
  const reach = flags["iface-can-reach"];
  return {
    instance: flags.instance,
    interface: {
      ifaces: flags.iface,
      patterns: flags["iface-regex"].map((pattern) => new RegExp(pattern)),
      ...(reach === "" ? {} : { canReach: parseIp(reach) }),
    },
    publicIps: {
      ...(v4 === "" ? {} : { 4: parseIp4(v4) }),
      ...(v6 === "" ? {} : { 6: parseIp6(v6) }),
    },
    subnetFile: flags["subnet-file"],
    secrets: secretFiles(flags),
    masquerade: flags["ip-masq"],
    fullyRandom: !flags["ip-masq-fully-random-disable"],
    forward: flags["iptables-forward-rules"],
    ...(flags["conflist-file"] === "" ? {} : {
      conflist: new ConflistFile(flags["conflist-file"], flags["conflist-source"]),
    }),
    blackhole: flags["ip-blackhole-route"],
    compat: flags.compat,
  };
}

/** As flannel, whose variable tells another place of the key. */
function secretFiles(flags: Flags): SecretFiles {
  const told = Deno.env.get("WIREGUARD_KEY_FILE") ?? "";
  return {
    ...(told === ""
      ? { key: statePath(flags, "wireguard-key"), oldKey: FLANNEL_KEY }
      : { key: told }),
    psk: statePath(flags, "wireguard-psk"),
  };
}

/** The store that the flags name. etcd's client is loaded only where it is used. */
async function openStore(flags: Flags, log: Log): Promise<Store> {
  const file = flags["lease-file"];
  if (file !== "") {
    const { FileStore } = await import("./store/file.ts");
    return await FileStore.open({ path: file, node: flags["node-name"] || undefined, log });
  }
  if (flags["kube-subnet-mgr"]) {
    const { openKubeStore } = await import("./store/kube_flags.ts");
    return await openKubeStore(flags, log);
  }
  const [{ EtcdClient }, { etcdOptionsOf }, { EtcdStore }] = await Promise.all([
    import("./store/etcd.ts"),
    import("./store/etcd_flags.ts"),
    import("./store/etcd_store.ts"),
  ]);
  const etcd = new EtcdClient(etcdOptionsOf(flags, log));
  return new EtcdStore({
    etcd,
    prefix: flags["etcd-prefix"],
    node: nodeIdentity(statePath(flags, "node-id"), flags["node-name"] || Deno.hostname(), log),
    margin: flags["subnet-lease-renew-margin"] * 60_000,
    log,
  });
}

function print(to: typeof Deno.stdout | typeof Deno.stderr, text: string): void {
  to.writeSync(new TextEncoder().encode(text));
}
