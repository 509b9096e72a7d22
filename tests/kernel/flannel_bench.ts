/**
 * A place to call flannel in. Its delegate is a script that keeps what it gets, so that no case
 * needs bridge.
 *
 * @module
 */

import { Bench, type Reply, type Variables, type Want } from "./plugins.ts";

/** An object. */
export type Json = Readonly<Record<string, unknown>>;

/** Success is wanted. */
export const OK: Want = { ok: true };
/** What the delegate answers to ADD. */
export const DELEGATE_RESULT = {
  cniVersion: "1.0.0",
  ips: [{ address: "10.1.17.5/24" }],
  routes: [{ dst: "10.1.0.0/16" }],
};

/** What the daemon writes, unless a row says otherwise. */
export const ENV: Variables = {
  FLANNEL_NETWORK: "10.1.0.0/16",
  FLANNEL_SUBNET: "10.1.17.1/24",
  FLANNEL_MTU: "1472",
  FLANNEL_IPMASQ: "true",
};

/** The document that flannel makes of {@link ENV} and nothing else. */
export const DOCUMENT = {
  cniVersion: "1.0.0",
  name: "dbnet",
  type: "bridge",
  ipMasq: false,
  mtu: 1472,
  isGateway: true,
  ipam: {
    type: "host-local",
    ranges: [[{ subnet: "10.1.17.0/24" }]],
    routes: [{ dst: "10.1.0.0/16" }],
  },
};

/** Takes any command, keeps its stdin, fails where a file `fail.<command>` says with what. */
const DELEGATE = `#!/bin/sh
cat >"$LOG/$CNI_COMMAND.$CNI_IFNAME.json"
if [ -e "$LOG/fail.$CNI_COMMAND" ]; then cat "$LOG/fail.$CNI_COMMAND"; exit 1; fi
if [ "$CNI_COMMAND" = ADD ]; then echo '${JSON.stringify(DELEGATE_RESULT)}'; fi
`;

/** A bench with a subnet file, and scripts for `bridge` and `my-delegate` before our plugins. */
export class FlannelBench extends Bench {
  /** Where flannel keeps its documents. */
  readonly dataDir: string = `${this.dir}/flannel`;
  readonly subnetFile: string = `${this.dir}/subnet.env`;
  /** Where the delegate keeps what it read. */
  readonly log: string = `${this.dir}/log`;

  constructor(env: Variables = ENV) {
    super();
    Deno.mkdirSync(this.log);
    Deno.mkdirSync(`${this.dir}/delegates`);
    for (const name of ["bridge", "my-delegate"]) {
      Deno.writeTextFileSync(`${this.dir}/delegates/${name}`, DELEGATE, { mode: 0o755 });
    }
    this.writeEnv(env);
  }

  /** Writes the subnet file. */
  writeEnv(env: Variables): void {
    const lines = Object.entries(env).filter(([, v]) => v !== undefined).map(([k, v]) =>
      `${k}=${v}\n`
    );
    Deno.writeTextFileSync(this.subnetFile, lines.join(""));
  }

  /** Calls flannel with the directories of this bench. */
  flannel(command: string, config: Json = {}, env: Variables = {}): Promise<Reply> {
    const { dataDir, subnetFile } = this;
    return this.call({
      plugin: "flannel",
      env: {
        CNI_COMMAND: command,
        CNI_PATH: `${this.dir}/delegates:${this.plugins}`,
        LOG: this.log,
        ...env,
      },
      config: { cniVersion: "1.0.0", name: "dbnet", dataDir, subnetFile, ...config },
    });
  }

  /** What the delegate read. */
  // deno-lint-ignore no-explicit-any
  got(command: string, ifname = "eth0"): any {
    return JSON.parse(Deno.readTextFileSync(`${this.log}/${command}.${ifname}.json`));
  }

  /** Names of the kept documents; the hidden ones only say whose the others are. */
  kept(hidden = false): string[] {
    try {
      return [...Deno.readDirSync(this.dataDir)].map(({ name }) => name)
        .filter((name) => hidden || !name.startsWith(".")).sort();
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return [];
      throw error;
    }
  }
}
