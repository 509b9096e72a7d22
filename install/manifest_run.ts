/**
 * `twill manifest`: from settings to YAML.
 *
 * @module
 */

import { dump } from "js-yaml";
import { type InstallContext, UsageError } from "./context.ts";
import type { ManifestFlags } from "./manifest.ts";
import {
  type Access,
  kubeconfig,
  readCa,
  readToken,
  readTokenSecret,
} from "./manifest_kubeconfig.ts";
import {
  allObjects,
  type KubeObject,
  netConfText,
  rbacObjects,
  tokenSecret,
} from "./manifest_objects.ts";
import { readSettings, type Settings } from "./manifest_settings.ts";
import { failure } from "./place.ts";
import { checkFlags } from "./unit.ts";

/** What stands above an object. */
const REMARKS: Readonly<Record<string, (settings: Settings) => readonly string[]>> = {
  DaemonSet: ({ privileged }) =>
    privileged === "true"
      ? [
        "Privileged, because the daemon serves the plugins: it enters pods' network namespaces",
        "(SYS_ADMIN) and writes settings below /proc/sys. With --set privileged=false each plugin",
        "call starts a process on the node instead, which has these rights anyway.",
      ]
      : [
        "Not privileged: the daemon cannot enter pods' network namespaces, so each plugin call",
        "starts a process on the node; and the node itself must forward (net.ipv4.ip_forward).",
      ],
  Secret: () => [
    "The API server puts a token without an end into it: whoever reads this Secret has the",
    "account's rights. Delete it when the nodes have their kubeconfig; that ends the token.",
  ],
};

/** Does it. @throws {OpError | UsageError} */
export async function run(this: InstallContext, flags: ManifestFlags): Promise<void> {
  const more = this.behind ?? [];
  checkFlags(more);
  checkCombination(flags, more);
  const settings = readSettings(flags.set, this.version.split(" ")[1] ?? "");
  const text = flags.only === "kubeconfig"
    ? toYaml(kubeconfig(await accessOf(this, flags)))
    : textOf(flags.only, settings, more);
  this.process.stdout.write(text);
}

function textOf(
  only: Exclude<ManifestFlags["only"], "kubeconfig">,
  settings: Settings,
  more: readonly string[],
): string {
  const documents = (...objects: readonly KubeObject[]): string =>
    objects.map((one) => documentOf(one, settings)).join("");
  switch (only) {
    case undefined:
      return documents(...allObjects(settings, more));
    case "rbac":
      return documents(...rbacObjects(settings));
    case "token":
      return documents(tokenSecret(settings));
    case "net-conf":
      return netConfText(settings);
  }
}

function documentOf(object: KubeObject, settings: Settings): string {
  const remarks = REMARKS[object.kind]?.(settings) ?? [];
  return `---\n${remarks.map((line) => `# ${line}\n`).join("")}${toYaml(object)}`;
}

function toYaml(document: object): string {
  return dump(document, { lineWidth: -1, noRefs: true });
}

/** Flags that would have no effect are mistakes. */
function checkCombination(flags: ManifestFlags, more: readonly string[]): void {
  const { only } = flags;
  if (more.length > 0 && only !== undefined) {
    throw new UsageError("flags behind -- are for the DaemonSet: leave out --only, or them");
  }
  if (only === "kubeconfig") {
    if (flags.server === undefined) {
      throw new UsageError("--only kubeconfig needs --server: the API server as nodes reach it");
    }
    if (!/^https:\/\/[^\s/]+\/?$/.test(flags.server)) {
      throw new UsageError(`--server: want https://HOST:PORT, got ${JSON.stringify(flags.server)}`);
    }
    if ((flags.ca === undefined) !== (flags.token === undefined)) {
      throw new UsageError("--ca and --token go together; without both the input is read");
    }
    if (flags.set.length > 0) throw new UsageError("--set has no effect with --only kubeconfig");
    return;
  }
  const idle = (["server", "ca", "token"] as const).find((name) => flags[name] !== undefined);
  if (idle !== undefined) throw new UsageError(`--${idle} is for --only kubeconfig`);
}

async function accessOf(
  { stdin }: InstallContext,
  { server = "", ca, token }: ManifestFlags,
): Promise<Access> {
  if (ca !== undefined && token !== undefined) {
    return {
      server,
      ca: readCa(`--ca=${ca}`, readFile(ca)),
      token: readToken(`--token=${token}`, readFile(token)),
    };
  }
  const text = await stdin?.();
  if (text === undefined) {
    throw new UsageError(
      "--only kubeconfig wants --ca and --token, or the ServiceAccount's Secret as its input:\n" +
        "kubectl -n kube-flannel get secret flannel-token -o json | twill manifest …",
    );
  }
  return { server, ...readTokenSecret(text) };
}

function readFile(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch (e) {
    throw failure("read", path, e);
  }
}
