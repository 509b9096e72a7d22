/**
 * A node of its own for tests of packet rules: a network namespace that plugins are called in, so
 * that each test starts without any rule.
 *
 * @module
 */

import { libc } from "../../ffi/libc.ts";
import { Bench, type PluginCall, type Reply, run } from "./plugins.ts";
import { Netns } from "./sandbox.ts";

// The library stays open for good; the test that opened it would be blamed for a leak.
libc();

/** See the module. */
export class Node implements Disposable {
  readonly bench = new Bench();
  readonly netns = new Netns();

  constructor() {
    this.run("ip", "link", "set", "lo", "up");
  }

  /** Calls a plugin on the node. */
  async call(call: PluginCall): Promise<Reply> {
    const child = this.netns.inside(() => this.bench.start(call));
    const { code, stdout, stderr } = await child.output();
    const [out = "", err = ""] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
    return { status: code, stdout: out, stderr: err };
  }

  /** Runs a program on the node; returns what it printed. */
  run(program: string, ...args: string[]): string {
    return this.netns.inside(() => run(program, ...args));
  }

  /** The rules of iptables' table nat, without `-A`; of one chain only, without its name too. */
  nat(family: 4 | 6, chain?: string): string[] {
    const start = chain === undefined ? "-A " : `-A ${chain} `;
    return this.run(family === 4 ? "iptables-save" : "ip6tables-save", "-t", "nat").split("\n")
      .filter((line) => line.startsWith(start)).map((line) => line.slice(start.length));
  }

  /** The chains of our own making in iptables' table nat. */
  chains(family: 4 | 6): string[] {
    const text = this.run(family === 4 ? "iptables-save" : "ip6tables-save", "-t", "nat");
    return [...text.matchAll(/^:(CNI-\S+)/gm)].map(([, name = ""]) => name);
  }

  /** The rules of one chain of nftables, as nft words them; none when there is no such chain. */
  nft(table: string, chain: string): string[] {
    const text = this.run("nft", "-s", "list", "ruleset");
    const [, inTable = ""] = text.split(`table ${table} {\n`);
    const [, inChain = ""] = (inTable.split("\n}\n")[0] ?? "").split(`\tchain ${chain} {\n`);
    return (`\n${inChain}`.split("\n\t}")[0] ?? "").split("\n").map((line) => line.trim())
      .filter((line) => line !== "" && !line.startsWith("type "));
  }

  [Symbol.dispose](): void {
    this.netns[Symbol.dispose]();
    this.bench[Symbol.dispose]();
  }
}
