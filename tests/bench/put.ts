/**
 * One request to etcd's JSON gateway, over a connection that is open already.
 *
 * `deno run put.ts URL PATH BODY` prints when it was sent: ms since the epoch, with fractions.
 *
 * @module
 */

const [url, path, body] = Deno.args;

async function post(path: string, body: string): Promise<void> {
  const response = await fetch(`${url}/v3/kv/${path}`, { method: "POST", body });
  await response.text();
  if (!response.ok) throw new Error(`etcd answers ${response.status}`);
}

// Opens the connection, and has the runtime compile what it needs.
for (let i = 0; i < 3; i++) await post("range", '{"key":"Lw=="}');
const sent = performance.timeOrigin + performance.now();
await post(path ?? "", body ?? "");
Deno.stdout.writeSync(new TextEncoder().encode(`${sent}\n`));
