/**
 * Reads kubeconfig files, YAML or JSON, as kubectl does: several are merged, and the first to name
 * something wins. What would need a program to be run, or would weaken TLS, is refused by name.
 *
 * @module
 */

import { load } from "js-yaml";
import { ErrorCode, messageOf, OpError } from "../../engine/errors.ts";
import { type KubeAccess, serverUrl, type Source } from "./access.ts";
import { at, listOf, member, textOf } from "./raw.ts";

/** One file. */
interface Document {
  readonly path: string;
  readonly content: unknown;
}

/** An entry of `clusters`, `users` or `contexts`. */
interface Entry {
  readonly path: string;
  readonly body: unknown;
  /** For errors: `user "admin"`. */
  readonly what: string;
}

/**
 * How to reach the cluster of the current context.
 *
 * @param paths in the order in which they count; at least one must be there.
 * @throws {OpError} naming the file, and the member that is missing or cannot be used.
 */
export function readKubeconfig(paths: readonly string[]): KubeAccess {
  const documents = paths.flatMap((path) => readDocument(path, paths.length > 1));
  const [first = { path: paths[0] ?? "", content: undefined }] = documents;
  const current = documents.map(({ content }) => textOf(member(content, "current-context")))
    .find((name) => name);
  if (current === undefined) {
    throw unusable(first.path, "it has no current-context", "Run: kubectl config use-context NAME");
  }
  const context = find(documents, "context", current, first.path);
  const named = (kind: "cluster" | "user"): string => {
    const name = textOf(member(context.body, kind));
    if (name) return name;
    throw unusable(context.path, `${context.what} names no ${kind}`);
  };
  const cluster = find(documents, "cluster", named("cluster"), context.path);
  const user = find(documents, "user", named("user"), context.path);
  refuse(cluster, CLUSTER_REFUSED);
  refuse(user, USER_REFUSED);
  const server = textOf(member(cluster.body, "server"));
  if (!server) throw unusable(cluster.path, `${cluster.what} has no server`);
  const ca = source(cluster, "certificate-authority");
  const token = tokenOf(user);
  const username = textOf(member(user.body, "username"));
  const proxy = proxyOf(cluster);
  return {
    from: context.path,
    servers: [serverUrl(server, `server of ${cluster.what} in ${cluster.path}`)],
    ...(ca && { ca }),
    ...certificate(user),
    ...(token && { token }),
    ...(username && {
      basic: { username, password: textOf(member(user.body, "password")) ?? "" },
    }),
    ...(proxy && { proxy }),
    compress: member(cluster.body, "disable-compression") !== true,
  };
}

/** Members that we do not take, with the reason and what to do instead. */
type Refused = Readonly<Record<string, (value: unknown) => readonly [string, string]>>;

const CLUSTER_REFUSED: Refused = {
  "insecure-skip-tls-verify": () => [
    "insecure-skip-tls-verify is refused: anybody could pass for the API server",
    "Give the authority of its certificate: certificate-authority-data",
  ],
  "tls-server-name": () => [
    "tls-server-name is not supported",
    "Use a server address that is in the certificate: " +
    "openssl s_client -connect HOST:PORT | openssl x509 -noout -ext subjectAltName",
  ],
};

const USER_REFUSED: Refused = {
  exec: (value) => [
    `exec (${textOf(member(value, "command")) ?? "?"}) is not supported: a node agent runs no ` +
    "login program",
    "Use a ServiceAccount's token: twill manifest --only kubeconfig",
  ],
  "auth-provider": (value) => [
    `auth-provider (${textOf(member(value, "name")) ?? "?"}) is not supported`,
    "Use a ServiceAccount's token: twill manifest --only kubeconfig",
  ],
  ...Object.fromEntries(
    ["as", "as-uid", "as-groups", "as-user-extra"].map((name) => [
      name,
      () =>
        [`${name} is not supported`, "Use the credential of the account that is meant"] as const,
    ]),
  ),
};

function refuse({ path, body, what }: Entry, refused: Refused): void {
  for (const [name, words] of Object.entries(refused)) {
    const value = member(body, name);
    if (value === undefined || value === null || value === false || value === "") continue;
    const [reason, advice] = words(value);
    throw unusable(path, `${what}: ${reason}`, advice);
  }
}

function readDocument(path: string, mayMiss: boolean): Document[] {
  let text: string;
  try {
    text = Deno.readTextFileSync(path);
  } catch (cause) {
    if (mayMiss && cause instanceof Deno.errors.NotFound) return [];
    throw new OpError("read kubeconfig", path, { code: ErrorCode.badConfig, cause });
  }
  try {
    return [{ path, content: load(text, { filename: path }) }];
  } catch (cause) {
    // The parser adds a picture of the place, in which there may be a secret.
    throw unusable(path, messageOf(cause).split("\n", 1)[0] ?? "no YAML");
  }
}

function find(
  documents: readonly Document[],
  kind: "context" | "cluster" | "user",
  name: string,
  askedBy: string,
): Entry {
  for (const { path, content } of documents) {
    for (const entry of listOf(member(content, `${kind}s`))) {
      if (textOf(member(entry, "name")) !== name) continue;
      return { path, body: member(entry, kind), what: `${kind} ${JSON.stringify(name)}` };
    }
  }
  throw unusable(askedBy, `there is no ${kind} ${JSON.stringify(name)}, but it is referred to`);
}

/** `NAME-data` (base64) or the file `NAME`, relative to the kubeconfig. */
function source({ path, body, what }: Entry, name: string): Source | undefined {
  const data = textOf(member(body, `${name}-data`));
  if (data) {
    try {
      return { kind: "text", text: atob(data.replace(/\s/g, "")) };
    } catch {
      throw unusable(path, `${name}-data of ${what} is no base64`);
    }
  }
  const file = textOf(member(body, name));
  return file ? { kind: "file", path: beside(path, file) } : undefined;
}

function certificate(user: Entry): Pick<KubeAccess, "cert" | "key"> {
  const cert = source(user, "client-certificate");
  const key = source(user, "client-key");
  if (cert === undefined && key === undefined) return {};
  if (cert !== undefined && key !== undefined) return { cert, key };
  const missing = cert === undefined ? "client-certificate" : "client-key";
  throw unusable(user.path, `${user.what} has no ${missing}: certificate and key go together`);
}

function tokenOf({ path, body }: Entry): Source | undefined {
  const file = textOf(member(body, "tokenFile"));
  if (file) return { kind: "file", path: beside(path, file) };
  const text = textOf(at(body, "token"));
  return text ? { kind: "text", text } : undefined;
}

function proxyOf({ path, body, what }: Entry): string | undefined {
  const proxy = textOf(member(body, "proxy-url"));
  if (!proxy) return undefined;
  if (/^(https?|socks5h?):\/\//.test(proxy)) return proxy;
  throw unusable(path, `proxy-url of ${what}: want http://, https:// or socks5://, got ${proxy}`);
}

function beside(kubeconfig: string, file: string): string {
  if (file.startsWith("/")) return file;
  const slash = kubeconfig.lastIndexOf("/");
  return slash < 0 ? file : `${kubeconfig.slice(0, slash)}/${file}`;
}

function unusable(path: string, kernel: string, advice?: string): OpError {
  return new OpError("use kubeconfig", path, { code: ErrorCode.badConfig, kernel, advice });
}
