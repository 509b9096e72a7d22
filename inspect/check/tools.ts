/**
 * What `check` tries out instead of reading it: the one part of it that is no look. Tests give
 * fakes of it.
 *
 * @module
 */

import type { Ip } from "../../engine/ip.ts";
import type { Nonce } from "../../engine/trace/nonce.ts";
import type { Echo, EchoAnswer } from "../../ffi/echo.ts";
import type { Feature } from "./view.ts";

/** See the module. All but `features` send packets, and are used with `--probe` only. */
export interface CheckTools {
  /**
   * Makes a link of each kind and a rule in a namespace of their own.
   *
   * @param backend the network's, where it is known: its links are tried too.
   * @throws {OpError}
   */
  features(backend: string | undefined): readonly Feature[];
  /**
   * Sends echo requests, each up to three times.
   *
   * @param patience ms for all of it.
   * @throws {OpError} without CAP_NET_RAW.
   */
  echoes(all: readonly Echo[], patience: number): Promise<readonly EchoAnswer[]>;
  /** A nonce that nobody can guess. */
  nonce(): Nonce;
  /** Sends the datagram that a daemon can see arrive. */
  sendProbe(to: Ip, port: number, nonce: Nonce): void;
  /** The body of a page; undefined when nobody answers it with 200 in time. */
  page(url: string, patience: number): Promise<string | undefined>;
  /** Whether anything comes back from a TCP port, be it a refusal. */
  answersTcp(to: Ip, port: number, patience: number): Promise<boolean>;
}
