/**
 * How to reach an API server and as whom: what a kubeconfig, or a pod's ServiceAccount, comes to.
 *
 * @module
 */

import { ErrorCode, messageOf, OpError } from "../../engine/errors.ts";

/** A text that stands here, or in a file that is read again when it changes. */
export type Source =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "file"; readonly path: string };

/** See the module. */
export interface KubeAccess {
  /** Where this was found, for people: a path, or `in-cluster`. */
  readonly from: string;
  /** Base addresses without a slash at the end; the first that answers is used. At least one. */
  readonly servers: readonly string[];
  /** PEM: authorities of the server's certificate. */
  readonly ca?: Source;
  /** PEM: this client's certificate; together with {@link key} or not at all. */
  readonly cert?: Source;
  readonly key?: Source;
  readonly token?: Source;
  readonly basic?: { readonly username: string; readonly password: string };
  /** `http://`, `https://` or `socks5://`. */
  readonly proxy?: string;
  /** Answers may be compressed. */
  readonly compress: boolean;
}

/** Where a pod finds its ServiceAccount. */
export const ACCOUNT_DIR = "/var/run/secrets/kubernetes.io/serviceaccount";

/** What is asked of the process. */
export interface Surroundings {
  readonly env: (name: string) => string | undefined;
  /** {@link ACCOUNT_DIR} unless set. */
  readonly accountDir?: string;
}

/** The operator's flags. */
export interface AccessFlags {
  /** `--kubeconfig-file`; empty for none. */
  readonly kubeconfig: string;
  /** `--kube-api-url`; empty for none. */
  readonly apiUrl: string;
}

/**
 * Finds out how to reach the API: by `--kubeconfig-file`, else as the pod that we are, else by
 * `$KUBECONFIG`. `--kube-api-url` goes before the address found there; that one stays as the
 * fallback.
 *
 * @throws {OpError} naming what is missing, or what in the file cannot be used.
 */
export async function findAccess(flags: AccessFlags, around: Surroundings): Promise<KubeAccess> {
  const access = await configured(flags, around);
  const wanted = flags.apiUrl === "" ? [] : [serverUrl(flags.apiUrl, "--kube-api-url")];
  const servers = [...new Set([...wanted, ...access.servers])];
  if (servers.length === 0) throw nowhere();
  const plain = servers.find((server) => server.startsWith("http:") && !isLoopback(server));
  const secret = access.token !== undefined || access.basic !== undefined;
  if (plain !== undefined && secret) {
    throw new OpError("use API server", plain, {
      code: ErrorCode.badConfig,
      kernel: "without TLS everybody on the way could read the credential",
      advice: "Use an https:// address",
    });
  }
  return { ...access, servers };
}

async function configured(flags: AccessFlags, around: Surroundings): Promise<KubeAccess> {
  const files = flags.kubeconfig !== "" ? [flags.kubeconfig] : undefined;
  const inPod = files === undefined ? inCluster(around) : undefined;
  if (inPod !== undefined) return inPod;
  const named = files ?? (around.env("KUBECONFIG") ?? "").split(":").filter((path) => path !== "");
  if (named.length > 0) {
    // Loaded only here: the YAML parser costs memory, and a pod does not need it.
    const { readKubeconfig } = await import("./kubeconfig.ts");
    return readKubeconfig(named);
  }
  if (flags.apiUrl === "") throw nowhere();
  return { from: "--kube-api-url", servers: [], compress: true };
}

/** The pod's own account; undefined outside of a cluster. */
function inCluster({ env, accountDir = ACCOUNT_DIR }: Surroundings): KubeAccess | undefined {
  const [host, port] = [env("KUBERNETES_SERVICE_HOST"), env("KUBERNETES_SERVICE_PORT")];
  const token = { kind: "file", path: `${accountDir}/token` } as const;
  const inService = host !== undefined && host !== "" && port !== undefined && port !== "";
  if (!inService && !exists(token.path)) return undefined;
  if (!exists(token.path)) {
    throw new OpError("use ServiceAccount", token.path, {
      code: ErrorCode.badConfig,
      kernel: "this is a pod of a cluster, but it has no token",
      advice: "Set serviceAccountName, and no automountServiceAccountToken: false",
    });
  }
  return {
    from: "in-cluster",
    servers: inService ? [`https://${host.includes(":") ? `[${host}]` : host}:${port}`] : [],
    ca: { kind: "file", path: `${accountDir}/ca.crt` },
    token,
    compress: true,
  };
}

/**
 * The base address that a text names; a bare `host:port` means https.
 *
 * @param what names the flag or member in the error.
 * @throws {OpError}
 */
export function serverUrl(text: string, what: string): string {
  try {
    const url = new URL(/^[a-z]+:\/\//i.test(text) ? text : `https://${text}`);
    if (url.protocol !== "https:" && url.protocol !== "http:") throw new Error("want https://");
    if (url.username !== "" || url.search !== "" || url.hash !== "") {
      throw new Error("want no more than https://host:port/path");
    }
    return `${url.origin}${url.pathname}`.replace(/\/+$/, "");
  } catch (cause) {
    throw new OpError("use", what, {
      code: ErrorCode.badConfig,
      kernel: `${JSON.stringify(text)}: ${messageOf(cause)}`,
      advice: "Give it like this: https://10.0.0.1:6443",
      cause,
    });
  }
}

function isLoopback(url: string): boolean {
  const { hostname } = new URL(url);
  return hostname === "localhost" || hostname === "[::1]" || hostname.startsWith("127.");
}

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}

function nowhere(): OpError {
  return new OpError("find", "the Kubernetes API", {
    code: ErrorCode.badConfig,
    kernel: "this is no pod (KUBERNETES_SERVICE_HOST is not set), and no kubeconfig is named",
    advice: "Set --kubeconfig-file; twill manifest --only kubeconfig makes one",
  });
}
