/**
 * The server of the host outside: HTTP on port 80, tells each client the address it is seen with.
 *
 * @module
 */

Deno.serve({
  port: 80,
  onListen: () => void Deno.stdout.writeSync(new TextEncoder().encode("listening\n")),
}, (_request, { remoteAddr }) => new Response(`you are ${remoteAddr.hostname}\n`));
