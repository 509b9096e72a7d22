/**
 * The tools of `check` on a real node.
 *
 * @module
 */

import { familyOf } from "../../engine/ip.ts";
import { nonceOf, probePayload } from "../../engine/trace/nonce.ts";
import { addressOf, echoes } from "../../ffi/echo.ts";
import { Domain, RawSocket } from "../../ffi/raw_socket.ts";
import { tryFeatures } from "../../ffi/scratch.ts";
import type { CheckTools } from "./tools.ts";

/** They hold nothing open. */
export function realTools(): CheckTools {
  return {
    features: tryFeatures,
    echoes,
    nonce: () => nonceOf(crypto.getRandomValues(new Uint8Array(16))),
    sendProbe: (to, port, nonce) => {
      const domain = familyOf(to) === 4 ? Domain.INET : Domain.INET6;
      using socket = new RawSocket(domain, SOCK_DGRAM, UDP, "a UDP socket");
      // A refusal is no news: whether it arrives is what is asked.
      socket.send(probePayload(nonce), addressOf(to, port));
    },
    page,
    answersTcp,
  };
}

/** sys/socket.h, netinet/in.h */
const SOCK_DGRAM = 2;
const UDP = 17;

async function page(url: string, patience: number): Promise<string | undefined> {
  try {
    const answer = await fetch(url, { signal: AbortSignal.timeout(patience) });
    const text = await answer.text();
    return answer.ok ? text : undefined;
  } catch {
    return undefined;
  }
}

async function answersTcp(hostname: string, port: number, patience: number): Promise<boolean> {
  try {
    using _connection = await Deno.connect({
      hostname,
      port,
      signal: AbortSignal.timeout(patience),
    });
    return true;
  } catch (e) {
    return e instanceof Deno.errors.ConnectionRefused ||
      e instanceof Deno.errors.ConnectionReset;
  }
}
