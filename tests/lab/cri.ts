/**
 * As much of a kubelet as the lab needs: asks a container runtime for pod sandboxes over its
 * Container Runtime Interface (CRI v1, gRPC on a unix socket), because Debian has no `crictl`.
 *
 * Messages are written by hand: a handful of fields, numbered as in
 * k8s.io/cri-api/pkg/apis/runtime/v1/api.proto.
 *
 * @module
 */

import * as http2 from "node:http2";
import * as net from "node:net";

/** A field of a message that is written. */
type Field = readonly [number: number, value: string | number | Uint8Array | undefined];

/** A message with these fields; absent and zero ones are left out, as proto3 does. */
function message(...fields: readonly Field[]): Uint8Array<ArrayBuffer> {
  const out: number[] = [];
  const varint = (value: number): void => {
    for (; value >= 0x80; value = Math.floor(value / 0x80)) out.push(value % 0x80 + 0x80);
    out.push(value);
  };
  for (const [number, value] of fields) {
    if (value === undefined || value === 0 || value === "") continue;
    if (typeof value === "number") {
      varint(number * 8);
      varint(value);
    } else {
      const bytes = typeof value === "string" ? new TextEncoder().encode(value) : value;
      varint(number * 8 + 2);
      varint(bytes.length);
      out.push(...bytes);
    }
  }
  return new Uint8Array(out);
}

/** The fields of a message that was read: numbers, or bytes; each as often as it came. */
class Reply {
  readonly #fields = new Map<number, (number | Uint8Array)[]>();

  constructor(bytes: Uint8Array) {
    let at = 0;
    const varint = (): number => {
      for (let [value, scale] = [0, 1];; scale *= 0x80) {
        const byte = bytes[at++];
        if (byte === undefined) throw new SyntaxError("a message ends in the midst of a number");
        value += byte % 0x80 * scale;
        if (byte < 0x80) return value;
      }
    };
    while (at < bytes.length) {
      const tag = varint();
      const [number, wire] = [Math.floor(tag / 8), tag % 8];
      const value = wire === 0 ? varint() : ((n: number) => bytes.slice(at, at += n))(
        wire === 1 ? 8 : wire === 5 ? 4 : varint(),
      );
      this.#fields.set(number, [...this.#fields.get(number) ?? [], value]);
    }
  }

  #bytes(number: number): Uint8Array[] {
    return (this.#fields.get(number) ?? []).filter((one) => typeof one !== "number");
  }

  text(number: number): string {
    return new TextDecoder().decode(this.#bytes(number).at(-1));
  }

  number(number: number): number {
    const last = this.#fields.get(number)?.at(-1);
    return typeof last === "number" ? last : 0;
  }

  all(number: number): Reply[] {
    return this.#bytes(number).map((bytes) => new Reply(bytes));
  }

  one(number: number): Reply {
    return this.all(number).at(-1) ?? new Reply(new Uint8Array());
  }
}

/** The runtime said no. */
export class CriError extends Error {
  override readonly name = "CriError";
}

/** What a sandbox is to be. */
export interface SandboxOptions {
  readonly name: string;
  /** Port of the node → port of the pod, TCP. */
  readonly hostPorts?: Readonly<Record<number, number>>;
}

/** What a runtime tells of a sandbox. */
export interface Sandbox {
  readonly id: string;
  readonly ready: boolean;
  /** All its addresses. */
  readonly ips: readonly string[];
}

/** A condition of the runtime: `NetworkReady`. */
export interface Condition {
  readonly type: string;
  readonly status: boolean;
  readonly message: string;
}

/** A connection to a runtime. */
export class Cri implements Disposable {
  readonly #session: http2.ClientHttp2Session;

  /** @param socket path of the runtime's socket, as this process sees it */
  constructor(socket: string) {
    this.#session = http2.connect("http://localhost", {
      createConnection: () => net.connect(socket),
    });
    // Each call fails by itself.
    this.#session.on("error", () => {});
  }

  /** One call, with one message each way. @throws {CriError} with the runtime's words */
  #call(method: string, request: Uint8Array<ArrayBuffer>): Promise<Reply> {
    const { promise, resolve, reject } = Promise.withResolvers<Reply>();
    const stream = this.#session.request({
      ":method": "POST",
      ":path": `/runtime.v1.RuntimeService/${method}`,
      "content-type": "application/grpc",
      te: "trailers",
    });
    const chunks: Uint8Array[] = [];
    let status: string | undefined;
    let words = "no answer";
    const told = (headers: http2.IncomingHttpHeaders): void => {
      status ??= headers["grpc-status"]?.toString();
      words = headers["grpc-message"]?.toString() ?? words;
    };
    stream.on("response", told);
    stream.on("trailers", told);
    stream.on("data", (chunk: Uint8Array) => chunks.push(chunk));
    stream.on("error", (e: Error) => words = e.message);
    stream.on("close", () => {
      if (status === "0") resolve(new Reply(concat(chunks).subarray(5)));
      else reject(new CriError(`${method}: ${words}`));
    });
    // A frame: not compressed, its length, the message.
    const head = new Uint8Array(5);
    new DataView(head.buffer).setUint32(1, request.length);
    stream.end(concat([head, request]));
    return promise;
  }

  /** What the runtime says about itself. */
  async conditions(): Promise<Condition[]> {
    const status = (await this.#call("Status", message())).one(1);
    return status.all(1).map((one) => ({
      type: one.text(1),
      status: one.number(2) === 1,
      message: one.text(4),
    }));
  }

  /** Makes a sandbox, with its network. @returns its ID */
  async runSandbox({ name, hostPorts = {} }: SandboxOptions): Promise<string> {
    const metadata = message([1, name], [2, `uid-${name}`], [3, "default"]);
    const ports = Object.entries(hostPorts).map(([host, pod]): Field => [
      5,
      message([2, pod], [3, Number(host)]),
    ]);
    const config = message([1, metadata], [2, name], ...ports, [8, message()]);
    return (await this.#call("RunPodSandbox", message([1, config]))).text(1);
  }

  /** A sandbox as it is. */
  async sandbox(id: string): Promise<Sandbox> {
    const status = (await this.#call("PodSandboxStatus", message([1, id]))).one(1);
    const network = status.one(5);
    const ips = [network.text(1), ...network.all(2).map((one) => one.text(1))];
    return { id, ready: status.number(3) === 0, ips: ips.filter((ip) => ip !== "") };
  }

  /** Stops a sandbox; its network goes. */
  async stopSandbox(id: string): Promise<void> {
    await this.#call("StopPodSandbox", message([1, id]));
  }

  /** Forgets a sandbox. */
  async removeSandbox(id: string): Promise<void> {
    await this.#call("RemovePodSandbox", message([1, id]));
  }

  [Symbol.dispose](): void {
    this.#session.destroy();
  }
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
