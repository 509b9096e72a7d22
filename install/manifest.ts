/**
 * `twill manifest`: its flags and its help.
 *
 * @module
 */

import { buildCommand, type Command } from "@stricli/core";
import type { InstallContext } from "./context.ts";
import { settingsHelp } from "./manifest_settings.ts";

/** What may be printed alone. */
export const PARTS = ["rbac", "token", "kubeconfig", "net-conf"] as const;

/** What manifest is told. */
export interface ManifestFlags {
  /** `KEY=VALUE` each. */
  readonly set: readonly string[];
  readonly only?: (typeof PARTS)[number];
  /** The following are for `--only kubeconfig`. */
  readonly server?: string;
  readonly ca?: string;
  readonly token?: string;
}

/** The command. */
export const manifest: Command<InstallContext> = buildCommand<ManifestFlags, [], InstallContext>({
  loader: () => import("./manifest_run.ts").then((m) => m.run),
  parameters: {
    flags: {
      set: {
        kind: "parsed",
        parse: String,
        variadic: true,
        default: [],
        placeholder: "key=value",
        brief: "Change one of the settings below; may be repeated",
      },
      only: {
        kind: "enum",
        values: PARTS,
        optional: true,
        brief: "Not the DaemonSet: see below",
      },
      server: {
        kind: "parsed",
        parse: String,
        optional: true,
        placeholder: "url",
        brief: "For --only kubeconfig: the API server, as nodes reach it",
      },
      ca: {
        kind: "parsed",
        parse: String,
        optional: true,
        placeholder: "file",
        brief: "For --only kubeconfig: the API server's authority, PEM",
      },
      token: {
        kind: "parsed",
        parse: String,
        optional: true,
        placeholder: "file",
        brief: "For --only kubeconfig: the ServiceAccount's token",
      },
    },
  },
  docs: {
    brief: "Print the Kubernetes objects that run twill on every node",
    customUsage: [
      { input: "| kubectl apply -f -", brief: "With the defaults" },
      {
        input: "--set image=registry.example/twill:1 -- --iface=eth1",
        brief: "What stands behind -- are more flags of twill daemon",
      },
      { input: "--set configMap=existing", brief: "Over a flannel that runs, node by node" },
      { input: "--only rbac", brief: "Namespace, ServiceAccount and rights only" },
      { input: "--only token", brief: "A Secret that gets the ServiceAccount's token" },
      {
        input: "--only kubeconfig --server=https://10.0.0.1:6443 --ca=ca.crt --token=token",
        brief: "A kubeconfig for nodes where twill is no pod",
      },
      { input: "--only net-conf", brief: "/etc/kube-flannel/net-conf.json for such nodes" },
    ],
    fullDescription: [
      "The names are those of flannel's manifest, so kubectl apply replaces a flannel that runs: node",
      "by node, while old and new nodes reach each other. Nothing is asked of a cluster.",
      "",
      "Settings:",
      ...settingsHelp(),
      "",
      "--only kubeconfig without --ca and --token reads the Secret of --only token from its input:",
      "  kubectl -n kube-flannel get secret flannel-token -o json |",
      "    twill manifest --only kubeconfig --server=https://10.0.0.1:6443",
      "",
      "Exit code: 0 done, 1 an input cannot be used, 2 wrong usage.",
    ].join("\n"),
  },
});
