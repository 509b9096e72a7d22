/**
 * A kubeconfig for a daemon that is no pod: who it is, and how it reaches the API server.
 *
 * @module
 */

import { load } from "js-yaml";
import { ErrorCode, messageOf, OpError } from "../engine/errors.ts";

/** What a kubeconfig is made of. */
export interface Access {
  /** The API server: `https://HOST:PORT`. */
  readonly server: string;
  /** Its authority's certificate, PEM. */
  readonly ca: string;
  /** The ServiceAccount's token. */
  readonly token: string;
}

const USER = "flannel";
const CLUSTER = "cluster";

/** The document. */
export function kubeconfig({ server, ca, token }: Access): object {
  return {
    apiVersion: "v1",
    kind: "Config",
    clusters: [{
      name: CLUSTER,
      cluster: { server, "certificate-authority-data": toBase64(ca) },
    }],
    users: [{ name: USER, user: { token } }],
    contexts: [{ name: USER, context: { cluster: CLUSTER, user: USER } }],
    "current-context": USER,
  };
}

/**
 * Certificate and token of a Secret of the type `kubernetes.io/service-account-token`, as
 * `kubectl get secret -o json` (or yaml) prints it.
 *
 * @throws {OpError} saying what is missing.
 */
export function readTokenSecret(text: string): Pick<Access, "ca" | "token"> {
  let secret: unknown;
  try {
    secret = load(text);
  } catch (cause) {
    throw unusable(`it is neither JSON nor YAML: ${messageOf(cause)}`, cause);
  }
  const { kind, type, data } = (secret ?? {}) as Readonly<Record<string, unknown>>;
  if (kind !== "Secret") throw unusable(`it is no Secret but ${JSON.stringify(kind) ?? "nothing"}`);
  if (type !== "kubernetes.io/service-account-token") {
    throw unusable(`its type is ${JSON.stringify(type)}, not kubernetes.io/service-account-token`);
  }
  const field = (name: string): string => {
    const value = (data as Readonly<Record<string, unknown>> | undefined)?.[name];
    if (typeof value === "string" && value !== "") return fromBase64(name, value);
    throw unusable(`it has no ${name} yet: the cluster fills it within seconds, try again`);
  };
  return { ca: readCa("the Secret's ca.crt", field("ca.crt")), token: field("token") };
}

/** A certificate in PEM. @param what names it in the error @throws {OpError} */
export function readCa(what: string, text: string): string {
  if (/-----BEGIN CERTIFICATE-----[\s\S]+-----END CERTIFICATE-----/.test(text)) return text;
  throw new OpError("use", what, {
    code: ErrorCode.badConfig,
    kernel: "it holds no certificate in PEM form",
  });
}

/** A token: one word. @param what names it in the error @throws {OpError} */
export function readToken(what: string, text: string): string {
  const token = text.trim();
  if (/^[\w.~+/=-]+$/.test(token)) return token;
  throw new OpError("use", what, {
    code: ErrorCode.badConfig,
    kernel: token === "" ? "it is empty" : "it is no token",
    advice: "Make one: kubectl -n kube-flannel create token flannel --duration=8760h",
  });
}

function unusable(kernel: string, cause?: unknown): OpError {
  return new OpError("use", "the input as the ServiceAccount's Secret", {
    code: ErrorCode.badConfig,
    kernel,
    advice: "twill manifest --only token | kubectl apply -f -; " +
      "then: kubectl -n kube-flannel get secret flannel-token -o json | twill manifest …",
    cause,
  });
}

function fromBase64(name: string, text: string): string {
  try {
    return new TextDecoder().decode(Uint8Array.fromBase64(text));
  } catch (cause) {
    throw unusable(`its ${name} is no base64`, cause);
  }
}

function toBase64(text: string): string {
  return new TextEncoder().encode(text).toBase64();
}
