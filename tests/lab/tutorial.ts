/**
 * Writes `docs/tutorial.md`: the lab of flannel's tutorials, each step answered by one command of
 * inspect. What stands in the document is what the commands printed; `tools/demo --tutorial` writes
 * it, and a test compares it with a new run.
 *
 * @module
 */

import { until } from "./command.ts";
import { Lab } from "./lab.ts";
import type { Node, Pod } from "./node.ts";
import { CHAPTERS } from "./tutorial_chapters.ts";

const HEAD = `# Tutorial

Three nodes as kind makes them (\`control-plane\`, \`worker\`, \`worker2\`), flannel's example network
10.244.0.0/16 in etcd, VXLAN: what tutorials on flannel look at with \`ip route\`, \`bridge fdb\`,
\`tcpdump\` and Wireshark, and the one command that answers each question here. \`tools/demo --keep\`
builds the same lab to look around in; in a cluster, run the commands on a node, as root.

This file is written by \`tools/demo --tutorial\` from what the commands print in that lab, and a test
compares it with a new run. Addresses, names of devices and times are those of one run.
`;

/** One question. */
export interface Chapter {
  /** The row of the lab's list of what users see. */
  readonly number: number;
  readonly title: string;
  readonly run: (book: Book) => Promise<void>;
}

/** What chapters write into. */
export class Book {
  readonly lab: Lab;
  readonly #parts: string[] = [];
  readonly #pods = new Map<string, { readonly node: Node; readonly pod: Pod }>();

  constructor(lab: Lab) {
    this.lab = lab;
  }

  /** The document so far. */
  get text(): string {
    return `${this.#parts.join("\n\n")}\n`;
  }

  /** A heading or a paragraph. */
  say(text: string): void {
    this.#parts.push(text);
  }

  /** Shows a command on a node, and what came back. @returns its stdout */
  async show(name: string, line: string): Promise<string> {
    const { stdout, stderr } = await this.lab.node(name).exec(["sh", "-c", line]);
    this.#shown(name, line, stdout + stderr);
    return stdout;
  }

  /** Shows a capture that ends by itself, around what is done meanwhile on the same node. */
  async capture(name: string, line: string, meanwhile: string): Promise<void> {
    const node = this.lab.node(name);
    const service = await node.start("tutorial", ["sh", "-c", line]);
    const log = (): string => Deno.readTextFileSync(service.log);
    const why = { explain: () => service.tail() };
    await until("it captures", () => log().includes("^C ends it"), why);
    await node.must(["sh", "-c", meanwhile]);
    await until("the capture ends", () => service.code !== undefined, why);
    this.#shown(name, `${line} &\n${name}# ${meanwhile} >/dev/null`, log());
  }

  #shown(name: string, line: string, output: string): void {
    const lines = output.split("\n").map((one) => one.trimEnd());
    this.#parts.push(["```console", `${name}# ${line}`, ...lines].join("\n").trimEnd() + "\n```");
  }

  /** A pod that the runtime knows by its name, as Kubernetes' runtimes do. */
  async addPod(place: string, name: string): Promise<Pod> {
    const node = this.lab.node(place);
    const pod = await node.addPod(name);
    await rememberPod(node, pod, name);
    this.#pods.set(name, { node, pod });
    return pod;
  }

  /** A pod of an earlier chapter. */
  pod(name: string): Pod {
    return this.#get(name).pod;
  }

  /** Takes a pod away. */
  async delPod(name: string): Promise<void> {
    const { node, pod } = this.#get(name);
    await node.delPod(pod);
    Deno.removeSync(node.path(cachePath(pod)));
    this.#pods.delete(name);
  }

  #get(name: string): { readonly node: Node; readonly pod: Pod } {
    const found = this.#pods.get(name);
    if (found === undefined) throw new RangeError(`no pod ${name}`);
    return found;
  }
}

function cachePath({ attachment: { containerId, ifname }, list }: Pod): string {
  return `/var/lib/cni/results/${list.name}-${containerId}-${ifname}`;
}

/** Writes what a container runtime keeps of a pod, so that it has a name in Kubernetes. */
export async function rememberPod(node: Node, pod: Pod, name: string): Promise<void> {
  const { attachment: { containerId, ifname }, list, result } = pod;
  await node.must(["mkdir", "-p", "/var/lib/cni/results"]);
  const text = JSON.stringify({
    kind: "cniCacheV1",
    containerId,
    ifName: ifname,
    networkName: list.name,
    cniArgs: [["K8S_POD_NAMESPACE", "default"], ["K8S_POD_NAME", name]],
    netns: `/run/netns/${name}`,
    result,
  });
  node.write(cachePath(pod), text);
}

/** Builds the lab, walks through it, and returns the document. */
export async function writeTutorial(): Promise<string> {
  await using lab = await Lab.create();
  const book = new Book(lab);
  for (const { number, title, run } of CHAPTERS) {
    book.say(`## ${number}. ${title}`);
    await run(book);
  }
  return `${HEAD}\n${book.text}`;
}

if (import.meta.main) {
  const [path = "/dev/stdout"] = Deno.args;
  Deno.writeTextFileSync(path, await writeTutorial());
}
