/**
 * A policy agent with an API that is told what to say, and the kernel.
 *
 * @module
 */

import { KubeClient } from "../../daemon/kube/client.ts";
import { Log } from "../../daemon/log.ts";
import { PolicyAgent } from "../../daemon/policy/agent.ts";
import { Poller } from "../../ffi/poll.ts";
import { type Ip, parseIp } from "../../engine/ip.ts";
import { listTable, nft } from "../../ffi/nft.ts";
import { FakeApi } from "../daemon/kube/fake_api.ts";
import { policyObject, Scene } from "../engine/policy/language.ts";
import { until } from "../lab/command.ts";

/** Collections of the API. */
export const PATHS = {
  pods: "/api/v1/pods",
  namespaces: "/api/v1/namespaces",
  networkpolicies: "/apis/networking.k8s.io/v1/networkpolicies",
} as const;

/** The table of these tests. */
export const TABLE = "inet twill-policy-agent";

/** See the module. The agent is that of node1 of the case tables. */
export class AgentScene implements AsyncDisposable {
  readonly api = new FakeApi();
  readonly alarms: string[] = [];
  readonly file: string = Deno.makeTempFileSync({ prefix: "twill-namespaces-" });
  readonly #poller = new Poller();
  readonly #ending = new AbortController();
  #agent: PolicyAgent | undefined;
  #client: KubeClient | undefined;
  #running: Promise<void> = Promise.resolve();

  /** Namespaces and pods of the tables; an agent that is not started. */
  constructor() {
    const { namespaces, pods } = new Scene();
    for (const one of namespaces.values()) this.api.put(PATHS.namespaces, one);
    for (const one of pods.values()) this.api.put(PATHS.pods, one);
  }

  get agent(): PolicyAgent {
    if (this.#agent === undefined) throw new TypeError("the agent is not started");
    return this.#agent;
  }

  /** Starts it. Failures are tried again at once. */
  start(): void {
    const again = { first: 10, cap: 20 };
    this.#client = new KubeClient({ from: "test", servers: [this.api.url], compress: true });
    this.#agent = new PolicyAgent({
      client: this.#client,
      node: "node1",
      table: TABLE,
      ping: false,
      namespacesFile: this.file,
      poller: this.#poller,
      log: new Log({ write: () => {} }),
      alarm: (reason) => this.alarms.push(reason),
      changed: () => {},
      times: { again, refused: 20 },
    });
    this.#running = this.#agent.run(this.#ending.signal);
  }

  /** Creates policies or replaces them. */
  policies(...words: readonly string[]): void {
    for (const one of words) this.api.put(PATHS.networkpolicies, policyObject(one));
  }

  /** Waits until the agent is in a state. */
  async is(state: string): Promise<void> {
    await until(`the agent is ${state}`, () => this.agent.status().state === state);
  }

  /** Adds a pod by the plugin. @returns milliseconds that it took */
  async admit(name: string, ip: string, uid = ""): Promise<number> {
    const [namespace = "", pod = ""] = name.split("/");
    const began = performance.now();
    await this.agent.admit({ namespace, name: pod, uid, ips: [parseIp(ip)] });
    return performance.now() - began;
  }

  /** Where the kernel's table sends packets to and from an address; undefined: nowhere. */
  chainOf(ip: Ip | string): string | undefined {
    return new RegExp(`[ {]${ip} : goto (\\S+?),?\\s`).exec(listTable(TABLE))?.[1];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ending.abort(new Error("the test is over"));
    await this.#running;
    this.#client?.[Symbol.dispose]();
    await this.api[Symbol.asyncDispose]();
    await this.#poller[Symbol.asyncDispose]();
    Deno.removeSync(this.file);
    if (listTable(TABLE) !== "") nft(`delete table ${TABLE}\n`);
  }
}
