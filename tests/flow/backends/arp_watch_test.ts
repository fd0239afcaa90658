import assert from "node:assert/strict";
import { LimitedLog } from "../../../src/core/limited_log.ts";
import { SeededRandom } from "../../../src/core/random.ts";
import { Backends } from "../../../src/flow/backends/backends.ts";
import { plainMember } from "../../../src/flow/backends/member.ts";
import { BackendWatch } from "../../../src/flow/backends/arp_watch.ts";
import { Routes } from "../../../src/stack/routes.ts";
import { parseAddress, parseMac, subnetOf } from "../../../src/wire/address.ts";
import { AddressDigest } from "../../../src/wire/address_digest.ts";
import { type HostAddress, isIpv6, parseHostAddress } from "../../../src/wire/host_address.ts";
import { Pdu } from "../../../src/wire/pdu.ts";
import { gatewayOf } from "../../support/config.ts";

const BACKEND = parseAddress("192.168.0.1");
const GATEWAY6 = parseHostAddress("fe80::1");
const ignore = () => {};
const [A, B, C] = ["02:00:00:00:00:0a", "02:00:00:00:00:0b", "02:00:00:00:00:0c"].map(parseMac);

function make(addresses: readonly HostAddress[]): {
  readonly backends: Backends;
  readonly watch: BackendWatch;
  readonly lines: string[];
} {
  const lines: string[] = [];
  const line = (text: string) => void lines.push(text);
  const digest = new AddressDigest(new SeededRandom(1));
  const backends = new Backends(addresses, {}, undefined, undefined, ignore, () => 0, digest);
  const routes = new Routes(subnetOf(BACKEND, 16), [gatewayOf("192.168.255.254")]);
  const log = new LimitedLog({ info: line, warning: line, error: line });
  return {
    backends,
    watch: new BackendWatch(
      backends,
      (address) => isIpv6(address) ? GATEWAY6 : routes.nextHop(address),
      log,
    ),
    lines,
  };
}

Deno.test("BackendWatch calls two stations with one backend's address a conflict, with few lines", () => {
  const { watch, lines } = make([BACKEND]);
  for (let i = 0; i < 2000; i++) watch.resolved(BACKEND, i % 2 === 0 ? A! : B!, i);
  assert.deepEqual(lines, [
    "backend 192.168.0.1 is at 02:00:00:00:00:0a",
    "backend 192.168.0.1 is at 02:00:00:00:00:0b",
    "backend 192.168.0.1 is claimed by 02:00:00:00:00:0b and by 02:00:00:00:00:0a: " +
    "address conflict, one of the two must be given another address",
  ]);
});

Deno.test("BackendWatch does not call it a conflict when a backend moves, and comes and goes", () => {
  const { watch, lines } = make([BACKEND]);
  watch.resolved(BACKEND, A!, 0);
  watch.unanswered(BACKEND, 10);
  watch.resolved(BACKEND, A!, 20);
  watch.resolved(BACKEND, B!, 1000);
  watch.resolved(BACKEND, C!, 62_000);
  assert.equal(lines.filter((line) => line.includes("conflict")).length, 0);
  watch.resolved(BACKEND, A!, 63_000);
  assert.match(lines.at(-1)!, /claimed by 02:00:00:00:00:0c and by 02:00:00:00:00:0a/);
});

Deno.test("BackendWatch tells all backends behind a gateway by one next hop", () => {
  const { watch, lines, backends } = make([1, 2, BACKEND]);
  const gateway = parseAddress("192.168.255.254");
  assert.deepEqual(watch.nextHops(), [gateway, BACKEND]);
  watch.unanswered(gateway, 0);
  assert.deepEqual(backends.all.map(({ status }) => status), [
    "down",
    "down",
    "unknown",
  ]);
  watch.resolved(gateway, A!, 1);
  assert.deepEqual(backends.all.map(({ status }) => status), ["up", "up", "unknown"]);
  assert.match(lines[0]!, /^gateway 192.168.255.254 does not answer ARP/);
});

Deno.test("BackendWatch tells those of IPv6 by a next hop of theirs", () => {
  const host = parseHostAddress("2001:db8::1");
  const { watch, lines, backends } = make([BACKEND, host]);
  assert.deepEqual(watch.nextHops(), [BACKEND, GATEWAY6]);
  watch.unanswered(GATEWAY6, 0);
  assert.deepEqual(backends.all.map(({ status }) => status), ["unknown", "down"]);
  watch.resolved(GATEWAY6, A!, 1);
  assert.deepEqual(backends.all.map(({ status }) => status), ["unknown", "up"]);
  assert.deepEqual(lines, [
    "gateway fe80::1 does not answer neighbor solicitations (3): no new connections to it while " +
    "another backend answers",
    "gateway fe80::1 is at 02:00:00:00:00:0a",
  ]);
});

Deno.test("BackendWatch of 10,000 backends that come and go writes a hundred lines of each kind", () => {
  const addresses = Array.from({ length: 10_000 }, (_, i) => (BACKEND & 0xffff_0000) + 1 + i | 0);
  const { watch, lines, backends } = make(addresses);
  const random = new SeededRandom(1);
  for (const [i, address] of addresses.entries()) {
    watch.resolved(address, A!, 0);
    assert.ok(
      addresses.indexOf(backends.pools[0]!.pick("at random", new Pdu(), random)!.key) <= i,
    );
  }
  for (const address of addresses) watch.unanswered(address, 0);
  assert.equal(lines.length, 200);
  assert.equal(backends.pools[0]!.pick("at random", new Pdu(), random), null);
});

Deno.test("BackendWatch marks all members of an address, whatever their pool and port", () => {
  const members = [8080, 8081].map((port) => ({ ...plainMember(BACKEND), port }));
  const backends = new Backends([BACKEND], { web: { members } });
  const watch = new BackendWatch(
    backends,
    (address) => address,
    new LimitedLog({ info: ignore, warning: ignore, error: ignore }),
  );
  assert.deepEqual(watch.nextHops(), [BACKEND]);
  watch.unanswered(BACKEND, 0);
  assert.deepEqual(backends.all.map(({ status }) => status), ["down", "down", "down"]);
  assert.equal(backends.down, 3);
  watch.resolved(BACKEND, A!, 1);
  assert.deepEqual(backends.all.map(({ status }) => status), ["up", "up", "up"]);
  assert.equal(backends.down, 0);
});
