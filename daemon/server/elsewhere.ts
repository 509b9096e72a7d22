/**
 * Requests from another mount namespace: a runtime on the node, and the daemon in a container. By
 * a path the two may mean different files. So such a request is served only when the files that
 * the work needs are the same ones on both sides, as the client's device and inode numbers tell,
 * and when it names no others. Everything else is left to the client.
 *
 * That no program of the node's has to be started is seen only when one would be: see
 * `Call.mayStart`.
 *
 * @module
 */

import { DEFAULT_DATA_DIR, Records } from "../../cni/flannel/records.ts";
import { isJsonList, type Json, JsonObject, parseJson } from "../../engine/json.ts";
import type { ClientRequest, Files } from "./protocol.ts";

/** The files that the client tells device and inode of; the pod's namespace is in the request. */
const FILES = {
  state: "/var/lib/cni",
  records: DEFAULT_DATA_DIR,
  subnet: "/run/flannel/subnet.env",
} as const satisfies Partial<Record<keyof Files, string>>;

/** What each is called in a reason, of which there must not be one for each pod. */
const WORDS: Readonly<Record<keyof Files, string>> = {
  ...FILES,
  pod: "file at CNI_NETNS",
  self: "file of the plugin",
};

/** Those that must be there: where both sides have none, each would make its own. */
const NEEDED: readonly (keyof Files)[] = ["self", "state"];

/** What a configuration may name: the subnet file, and anything below the plugins' state. */
const ALLOWED = /^(?:\/run\/flannel\/subnet\.env|\/var\/lib\/cni\/(?!.*\.\.).*)$/;

/** Members that are paths, whatever they hold. */
const PATHS = ["datadir", "subnetfile", "resolvconf"];

/** What is no path of this node's files, or is not ours to follow. */
const SKIPPED = ["prevresult", "args"];

/** Why a request from another mount namespace is not served; undefined when it is. */
export function whyNotElsewhere(request: ClientRequest): string | undefined {
  const { plugin, env, files } = request;
  const { CNI_COMMAND: command = "", CNI_NETNS: netns = "", CNI_PATH: path = "" } = env;
  if (command === "VERSION") return undefined;
  if (!["flannel", "portmap", "loopback"].includes(plugin)) {
    return `${plugin} in another mount namespace`;
  }
  const [dir = ""] = path.split(":");
  if (![dir, netns].every((one) => one === "" || one.startsWith("/"))) {
    return "a relative path in another mount namespace";
  }
  // Where the client is, the other plugins are: they are looked up there first.
  const same = { ...FILES, pod: netns, self: `${dir}/${plugin}` };
  for (const name of Object.keys(same) as (keyof Files)[]) {
    const here = identityOf(same[name]);
    if (files[name] !== here || here === "" && NEEDED.includes(name)) {
      return `another ${WORDS[name]}`;
    }
  }
  try {
    const config = parseJson(new TextDecoder().decode(request.stdin));
    return strangePath(config) ?? strangeRecord(request);
  } catch {
    return "no configuration, in another mount namespace";
  }
}

/** `DEVICE:INODE` of a file, links followed; empty when there is none. */
export function identityOf(path: string): string {
  try {
    const { dev, ino } = Deno.statSync(path);
    return `${dev}:${ino}`;
  } catch {
    return "";
  }
}

/** What ADD has written down for DEL names files too. */
function strangeRecord({ plugin, env }: ClientRequest): string | undefined {
  const { CNI_CONTAINERID: containerId = "", CNI_IFNAME: ifname = "" } = env;
  if (plugin !== "flannel" || containerId === "" || containerId.includes("/")) return undefined;
  const record = new Records(FILES.records).find({ containerId, ifname });
  return record === undefined ? undefined : strangePath(parseJson(record.text));
}

/** A path in a document that may mean another file here; undefined when there is none. */
function strangePath(value: Json, isPath = false): string | undefined {
  if (typeof value === "string") {
    const strange = isPath && value !== "" || value.startsWith("/");
    return strange && !ALLOWED.test(value) ? "a path outside /var/lib/cni" : undefined;
  }
  if (isJsonList(value)) {
    return value.map((one) => strangePath(one)).find((one) => one !== undefined);
  }
  if (!(value instanceof JsonObject)) return undefined;
  return value.members.map(([key, member]) => {
    const name = key.toLowerCase();
    return SKIPPED.includes(name) ? undefined : strangePath(member, PATHS.includes(name));
  }).find((one) => one !== undefined);
}
