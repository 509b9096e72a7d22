/**
 * `/trace` on the health port: what becomes of a packet that comes in at this node. `twill inspect
 * trace --probe` of another node asks, where the way that it follows leaves for here.
 *
 * The answer tells rules and routes, so only nodes of the overlay get one; and since it costs a
 * process for a moment, one at a time.
 *
 * @module
 */

import { messageOf } from "../engine/errors.ts";
import { parseIp } from "../engine/ip.ts";
import type { NodeStatus } from "../engine/node_status.ts";

/** How long a trace may take, ms. */
const PATIENCE = 5_000;

/** The words of `twill inspect trace` for a question; nothing else of it reaches a command line. */
export function traceWords(query: URLSearchParams): string[] {
  const [src, dst] = ["src", "dst"].map((name) => {
    try {
      return parseIp(query.get(name) ?? "");
    } catch (e) {
      throw new SyntaxError(`${name}: ${messageOf(e)}`);
    }
  });
  const protocol = query.get("protocol") ?? "icmp";
  if (!["tcp", "udp", "sctp", "icmp"].includes(protocol)) {
    throw new SyntaxError("protocol: want tcp, udp, sctp or icmp");
  }
  const port = query.get("port") ?? "";
  if (port !== "" && !(/^\d{1,5}$/.test(port) && Number(port) > 0 && Number(port) < 65_536)) {
    throw new SyntaxError("port: want 1 to 65535");
  }
  const where = protocol === "icmp" || port === "" ? "icmp" : `${protocol}/${port}`;
  return [src!, dst!, where];
}

/** Answers such questions. */
export class TraceDesk {
  readonly #status: () => Pick<NodeStatus, "leases" | "subnetFile" | "instance">;
  readonly #program: string;
  #busy = false;

  /** @param program this very program. */
  constructor(
    status: () => Pick<NodeStatus, "leases" | "subnetFile" | "instance">,
    program: string = Deno.execPath(),
  ) {
    this.#status = status;
    this.#program = program;
  }

  /**
   * Follows a packet through this node.
   *
   * @param query `src`, `dst`; `protocol`, `port` where they matter.
   * @param asker the address of who asks: that of a node in a lease.
   * @returns the document of `twill inspect trace -o json`.
   */
  async answer(query: URLSearchParams, asker: string, signal: AbortSignal): Promise<Response> {
    const { leases, subnetFile, instance } = this.#status();
    const nodes = leases?.leases.flatMap(({ publicIp, publicIp6 }) => [publicIp, publicIp6]) ?? [];
    if (!nodes.some((ip) => ip === plain(asker))) {
      return refusal(403, `only nodes of the overlay are answered, and ${asker} is none`);
    }
    let words: string[];
    try {
      words = traceWords(query);
    } catch (e) {
      if (!(e instanceof SyntaxError)) throw e;
      return refusal(400, e.message);
    }
    if (this.#busy) return refusal(503, "another packet is being followed");
    this.#busy = true;
    try {
      const args = ["inspect", "trace", ...words, "-o", "json", "--subnet-file", subnetFile];
      if (instance !== "") args.push("--instance", instance);
      return await this.#run(args, AbortSignal.any([signal, AbortSignal.timeout(PATIENCE)]));
    } finally {
      this.#busy = false;
    }
  }

  async #run(args: string[], signal: AbortSignal): Promise<Response> {
    const command = new Deno.Command(this.#program, { args, stdin: "null", signal });
    const { code, stdout, stderr } = await command.output();
    // 3: not all of it could be told; the document says what.
    if (code !== 0 && code !== 1 && code !== 3 || stdout.length === 0) {
      return refusal(500, new TextDecoder().decode(stderr).trim() || `ended with ${code}`);
    }
    return new Response(stdout, { headers: { "content-type": "application/json" } });
  }
}

/** An IPv4 address that a socket of both families shows as IPv6. */
function plain(address: string): string {
  return address.replace(/^::ffff:/, "");
}

function refusal(status: number, reason: string): Response {
  return Response.json({ schema: 1, error: reason }, { status });
}
