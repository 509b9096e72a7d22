/** What `twill manifest` prints, in the eyes of a real API server. */

import assert from "node:assert/strict";
import { must } from "../command.ts";
import { Lab, NETWORK } from "../lab.ts";
import { TWILL } from "../node.ts";
import { ApiServer, type Raw } from "./api_server.ts";
import { FLANNEL_OBJECTS, flannelDaemonSet } from "./flannel_manifest.ts";

const APPLY = ["apply", "-f", "-"];
/** Unknown and duplicate members are errors. */
const DRY_RUN = ["--dry-run=server", "--validate=strict"];
const ACCOUNT = "system:serviceaccount:kube-flannel:flannel";

function manifest(...args: readonly string[]): Promise<string> {
  return must([TWILL, "manifest", ...args]);
}

async function withServer(work: (api: ApiServer) => Promise<void>): Promise<void> {
  await using lab = await Lab.create({ nodes: [], outside: false });
  using api = await ApiServer.create(lab);
  await work(api);
}

const VARIANTS: readonly (readonly string[])[] = [
  [],
  ["--only=rbac"],
  ["--only=token"],
  ["--set=privileged=false", "--set=network6=fd00:10:244::/56", "--set=nftables=true"],
  ["--set=imagePullSecret=pull", "--set=memory=1.5Gi", "--", "--iface=eth1", "--v=1"],
];

Deno.test("k8s manifest: accepted without a warning, grants what the daemon needs and no more", async () => {
  await withServer(async (api) => {
    for (const args of VARIANTS) {
      const text = await manifest(...args);
      const said = await api.kubectl([...APPLY, ...DRY_RUN], text);
      const count = text.match(/^kind: /gm)?.length;
      assert.equal(said.match(/\(server dry run\)$/gm)?.length, count, said);
    }
    const may = async (verb: string, resource: string): Promise<boolean> => {
      const { status } = JSON.parse(
        await api.kubectl(
          ["create", "-o", "json", "-f", "-"],
          JSON.stringify({
            apiVersion: "authorization.k8s.io/v1",
            kind: "SubjectAccessReview",
            spec: { user: ACCOUNT, resourceAttributes: access(verb, resource) },
          }),
        ),
      );
      return status.allowed;
    };
    const granted = [
      ...["get nodes", "list nodes", "watch nodes", "patch nodes/status", "get pods"],
      ...["list pods", "watch pods", "list namespaces", "watch namespaces", "create events"],
      ...["list networkpolicies", "watch networkpolicies", "patch events"],
    ];
    const denied = ["patch nodes", "update nodes", "delete pods", "list secrets", "create pods"];
    for (const [rights, want] of [[granted, true], [denied, false]] as const) {
      for (const right of rights) {
        const [verb = "", resource = ""] = right.split(" ");
        assert.equal(await may(verb, resource), want, right);
      }
    }
  });
});

function access(verb: string, resource: string): Raw {
  const [name = "", subresource] = resource.split("/");
  const group = name === "networkpolicies" ? "networking.k8s.io" : "";
  return { verb, group, resource: name, ...(subresource === undefined ? {} : { subresource }) };
}

Deno.test("k8s manifest: takes flannel's place, and gives it back", async () => {
  await withServer(async (api) => {
    const flannel = JSON.stringify({
      apiVersion: "v1",
      kind: "List",
      items: [...FLANNEL_OBJECTS, ...flannelDaemonSet("flannel:1", NETWORK)],
    });
    const look = async (): Promise<Raw> => {
      const names = ["daemonset/kube-flannel-ds", "configmap/kube-flannel-cfg"];
      const text = await api.kubectl(["-n", "kube-flannel", "get", ...names, "-o", "json"]);
      const [{ spec }, { data }] = JSON.parse(text).items;
      const { containers, initContainers, volumes } = spec.template.spec;
      const named = (list: Raw[]): string[] => list.map(({ name }) => name);
      const seen = { containers: named(containers), inits: named(initContainers) };
      return { ...seen, image: containers[0].image, volumes: named(volumes), data };
    };
    await api.kubectl(APPLY, flannel);
    const before = await look();
    await api.kubectl(APPLY, await manifest("--set=configMap=existing"));
    const kept = await look();
    assert.deepEqual(kept.data, before.data);
    assert.deepEqual([kept.containers, kept.inits], [["kube-flannel"], ["install-cni-plugin"]]);
    assert.match(kept.image, /^twill:/);
    assert.ok(!kept.volumes.includes("cni-plugin"), String(kept.volumes));
    await api.kubectl(APPLY, await manifest());
    assert.match((await look()).data["cni-conf.json"], /"bandwidth": true/);
    await api.kubectl(APPLY, flannel);
    assert.deepEqual(await look(), before);
  });
});

Deno.test("k8s manifest: the kubeconfig works, with the account's rights", async () => {
  await withServer(async (api) => {
    const dir = Deno.makeTempDirSync();
    try {
      const token = await api.kubectl(["-n", "kube-flannel", "create", "token", "flannel"]);
      Deno.writeTextFileSync(`${dir}/token`, token);
      Deno.writeTextFileSync(`${dir}/ca`, api.authority);
      const files = [`--ca=${dir}/ca`, `--token=${dir}/token`];
      const config = await manifest("--only=kubeconfig", `--server=${api.url}`, ...files);
      const nodes = await api.kubectlAs(config, ["get", "nodes"]);
      assert.equal(nodes.code, 0, nodes.stderr);
      const secrets = await api.kubectlAs(config, ["get", "secrets", "-A"]);
      assert.match(secrets.stderr, new RegExp(`"${ACCOUNT}" cannot list resource "secrets"`));
    } finally {
      Deno.removeSync(dir, { recursive: true });
    }
  });
});
