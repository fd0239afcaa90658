/** `ctl explain`: pools are those that run, whatever the text of the policy says. */
import assert from "node:assert/strict";
import { explainPackets } from "../../src/control/explain_packets.ts";
import { plainMember } from "../../src/flow/backends/member.ts";
import type { Policy } from "../../src/policy/language/ast.ts";
import { parse } from "../../src/policy/notation/parse.ts";
import { hashKeyOf, NO_KEY } from "../../src/wire/keyed_hash.ts";
import { testConfig } from "../support/config.ts";
import { CLIENT, PROXY } from "../support/world.ts";

const SYN = `tcp ${CLIENT}:40000 > ${PROXY}:443 syn`;

function textOf(members: string, method: string): string {
  return `default drop\npool $web = ${members}\ntcp -> translate-a-to-b to $web ${method}, forward\n`;
}

/** The pools of the policy, and `$dst-addrs`. */
function poolsOf({ pools }: Policy): Policy["pools"] {
  const { dstAddrs } = testConfig();
  return { ...pools, "dst-addrs": { members: dstAddrs.map(plainMember) } };
}

/** The backend that SYNs of so many ports are explained to go to, one letter each. */
function chosen(written: string, running: string, method: string, key = NO_KEY): string[] {
  const { policy } = parse(textOf(running, method), { file: "" });
  const text = textOf(written, method);
  const packets = Array.from({ length: 40 }, (_, i) => SYN.replace("40000", `${40_000 + i}`));
  const policyText = { file: "", text, included: new Map(), pools: poolsOf(policy!) };
  return explainPackets(packets, policyText, testConfig(), key)
    .map((explanation) => /\(backend ([\d.]+)/.exec(explanation)![1]!);
}

Deno.test("explainPackets takes the pools that run, not those of the text", () => {
  const backends = chosen("192.168.0.4", "192.168.0.5", "in turn");
  assert.deepEqual(new Set(backends), new Set(["192.168.0.5"]));
});

Deno.test("explainPackets tells whether the kernel may carry the connection", () => {
  const kernelOf = (rest: string): string => {
    const { policy } = parse("default drop\n-> drop", { file: "" });
    const text = `default drop\nnot ip.src in $dst-addrs -> translate-a-to-b, forward\n${rest}\n`;
    const policyText = { file: "", text, included: new Map(), pools: poolsOf(policy!) };
    const [explanation] = explainPackets([SYN], policyText, testConfig(), NO_KEY);
    return /^kernel {3}: (.*)$/m.exec(explanation!)![1]!;
  };
  assert.equal(
    kernelOf("otherwise -> translate-b-to-a, forward"),
    "may carry the connection once it is established",
  );
  assert.equal(
    kernelOf("otherwise -> limit 1/second burst 1, translate-b-to-a, forward"),
    "leaves the connection to the proxy, for packets from the backend: limit 1/second burst 1 counts each",
  );
});

Deno.test("explainPackets chooses by the key that the proxy has", () => {
  const members = "{192.168.0.4, 192.168.0.5, 192.168.0.6}";
  const key = hashKeyOf(new TextEncoder().encode("sixteen bytes 16"));
  const [without, withKey] = [NO_KEY, key].map((one) => chosen(members, members, "by maglev", one));
  assert.deepEqual(chosen(members, members, "by maglev", key), withKey);
  assert.notDeepEqual(withKey, without);
});
