/**
 * Cases for host-local as data: calls on a store of their own, what each must answer, and what must
 * be in the store in the end.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Bench, expect, type Reply, type Want } from "./plugins.ts";

/** An object. */
export type Json = Readonly<Record<string, unknown>>;

/** One call, and what is wanted of it. */
export interface Step {
  readonly command: "ADD" | "DEL" | "CHECK" | "GC" | "STATUS";
  readonly id?: string;
  readonly ifname?: string;
  readonly network?: string;
  /** Members of `ipam`; without ranges of its own: 10.1.2.0/24. */
  readonly ipam?: Json | null;
  /** Members beside `ipam`. */
  readonly config?: Json;
  /** `CNI_ARGS`. */
  readonly args?: string;
  /** What is put into the store just before: content by file name. */
  readonly files?: Readonly<Record<string, string>>;
  readonly want: Want;
  /** Addresses of the result. */
  readonly ips?: readonly string[];
  /** More of the result. */
  readonly result?: Json;
}

/** One case: calls on one store, and what is left. */
export interface Row {
  readonly id: string;
  readonly title: string;
  readonly steps: readonly Step[];
  /** Addresses that have a file in the end, and what is in it. */
  readonly left?: Readonly<Record<string, string>>;
  /** Content of other files in the end. */
  readonly also?: Readonly<Record<string, string>>;
}

/** Success is wanted. */
export const OK: Want = { ok: true };

/** An ADD that gets these addresses. */
export function add(ips: readonly string[], rest: Partial<Step> = {}): Step {
  return { command: "ADD", want: OK, ips, ...rest };
}

/** An ADD that is refused with these words. */
export function refused(words: readonly (string | RegExp)[], rest: Partial<Step> = {}): Step {
  return { command: "ADD", want: { code: 999, words }, ...rest };
}

/** Another command, or an ADD, that succeeds unless `rest` says otherwise. */
export function command(name: Step["command"], rest: Partial<Step> = {}): Step {
  return { command: name, want: OK, ...rest };
}

/** Range sets of whole subnets. */
export const sets = (...list: string[][]): Json => ({
  ranges: list.map((set) => set.map((subnet) => ({ subnet }))),
});
/** What a reservation holds. */
export const owner = (id = "c1", ifname = "eth0"): string => `${id}\r\n${ifname}`;

/** Makes a test of each case. */
export function testRows(rows: readonly Row[]): void {
  for (const { id, title, steps, left, also } of rows) {
    Deno.test(`${id} host-local: ${title}`, async () => {
      using bench = new Bench();
      for (const step of steps) judge(await take(bench, step), step);
      const store = `${bench.dir}/ipam/dbnet`;
      if (left !== undefined) assert.deepEqual(addressFiles(store), left);
      for (const [name, text] of Object.entries(also ?? {})) {
        assert.equal(Deno.readTextFileSync(`${store}/${name}`), text, name);
      }
    });
  }
}

async function take(bench: Bench, step: Step): Promise<Reply> {
  const dataDir = `${bench.dir}/ipam`;
  for (const [name, text] of Object.entries(step.files ?? {})) {
    Deno.mkdirSync(`${dataDir}/dbnet`, { recursive: true });
    Deno.writeTextFileSync(
      name.startsWith("@") ? name.replace("@", bench.dir) : `${dataDir}/dbnet/${name}`,
      text,
    );
  }
  const own = step.ipam ?? {};
  const ranges = "ranges" in own || "subnet" in own
    ? {}
    : { ranges: [[{ subnet: "10.1.2.0/24" }]] };
  const text = JSON.stringify({ type: "host-local", dataDir, ...ranges, ...own });
  const ipam = step.ipam === null ? undefined : JSON.parse(text.replaceAll("@", bench.dir));
  return await bench.call({
    plugin: "host-local",
    env: {
      CNI_COMMAND: step.command,
      CNI_CONTAINERID: step.id ?? "c1",
      CNI_IFNAME: step.ifname ?? "eth0",
      CNI_ARGS: step.args,
    },
    config: { cniVersion: "1.0.0", name: step.network ?? "dbnet", ipam, ...step.config },
  });
}

function judge(reply: Reply, { want, ips, result, command }: Step): void {
  const json = expect(reply, want);
  if (!("ok" in want)) return;
  assert.equal(reply.stderr, "");
  if (command !== "ADD") assert.equal(reply.stdout, "");
  if (ips !== undefined) {
    assert.deepEqual(json.ips.map(({ address }: { address: string }) => address), ips);
  }
  for (const [key, value] of Object.entries(result ?? {})) assert.deepEqual(json[key], value, key);
}

/** The files that are named like addresses, and their content. */
export function addressFiles(store: string): Record<string, string> {
  const files: Record<string, string> = {};
  try {
    for (const { name } of Deno.readDirSync(store)) {
      if (/^[0-9a-f.:]+$/.test(name)) files[name] = Deno.readTextFileSync(`${store}/${name}`);
      else assert.match(name, /^(?:lock|note|last_reserved_ip\.\d)$/);
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return files;
}
