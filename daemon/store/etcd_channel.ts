/**
 * The gRPC below the etcd library, where that does not go far enough: certificates of members that
 * are named by address, and what each call carries in its head.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { checkServerIdentity, getCACertificates, type PeerCertificate } from "node:tls";
import {
  Channel,
  type ChannelCredentials,
  credentials,
  InterceptingCall,
  type Interceptor,
  status,
  type StatusObject,
} from "@grpc/grpc-js";
import type { EtcdEndpoint } from "./etcd_endpoint.ts";
import type { EtcdTls } from "./etcd_tls.ts";

/** Options of one member's channel; a value may also be a function that makes the channel. */
export type ChannelSettings = Record<string, unknown>;

/**
 * TLS may not ask for an address by name, so a name that nobody has is asked for. What counts is
 * our look at the certificate, which must name the address.
 */
const NO_NAME = "etcd.invalid";

/**
 * How to reach one member.
 *
 * @param tls asked for each new connection.
 * @param silence milliseconds after which a silent connection is asked whether it is alive.
 */
export function channelSettings(
  endpoint: EtcdEndpoint,
  tls: () => EtcdTls,
  silence: number,
): ChannelSettings {
  const settings: ChannelSettings = {
    // All leases come in one answer.
    "grpc.max_receive_message_length": 256 << 20,
    // A watch on a dead connection hears nothing.
    "grpc.keepalive_time_ms": silence,
    "grpc.keepalive_timeout_ms": silence / 2,
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 1_000,
  };
  if (!endpoint.secure) return settings;
  const known = new WeakMap<EtcdTls, ChannelCredentials>();
  return {
    ...settings,
    ...(endpoint.isAddress && {
      "grpc.ssl_target_name_override": NO_NAME,
      "grpc.default_authority": endpoint.target,
    }),
    channelFactoryOverride: (
      target: string,
      _credentials: ChannelCredentials,
      options: ChannelSettings,
    ): Channel => {
      const files = tls();
      // Channels with the same credentials share their connection.
      const found = known.get(files) ?? credentialsOf(endpoint, files);
      known.set(files, found);
      return new Channel(target, found, options as ConstructorParameters<typeof Channel>[2]);
    },
  };
}

function credentialsOf({ host }: EtcdEndpoint, { ca, cert, key }: EtcdTls): ChannelCredentials {
  return credentials.createSsl(
    Buffer.from(ca ?? getCACertificates("system").join("\n")),
    key === undefined ? null : Buffer.from(key),
    cert === undefined ? null : Buffer.from(cert),
    { checkServerIdentity: (_name, certificate) => refusal(host, certificate) },
  );
}

/** Why the certificate is not that host's. */
function refusal(host: string, certificate: PeerCertificate): Error | undefined {
  if (checkServerIdentity(host, certificate) === undefined) return undefined;
  const named = certificate.subjectaltname?.replaceAll("IP Address:", "IP:") || "no host";
  return new Error(`its certificate is not for ${host} but for ${named}`);
}

/** Words by which etcd refuses a token that was good once, or a call without one. */
const STALE = /invalid auth token|revision of auth store is old|user name is empty/;

/**
 * Puts headers on each call; they are asked for when the call starts. An answer that says that the
 * token is not good any more always has the code `UNAUTHENTICATED`, and no words by which the
 * library would send the call again without end.
 */
export function withHeaders(headers: () => Readonly<Record<string, string>>): Interceptor {
  return (options, nextCall) =>
    new InterceptingCall(nextCall(options), {
      start(metadata, _listener, next): void {
        for (const [name, value] of Object.entries(headers())) metadata.set(name, value);
        next(metadata, { onReceiveStatus: (answer, forward) => forward(withoutRetry(answer)) });
      },
    });
}

function withoutRetry(answer: StatusObject): StatusObject {
  if (!STALE.test(answer.details)) return answer;
  return {
    ...answer,
    code: status.UNAUTHENTICATED,
    details: "etcd refuses the token of this user",
  };
}
