import assert from "node:assert/strict";
import { labTests } from "./suite.ts";
import { routed } from "./topology.ts";
import { addTwins, onlyTwins, twinOf, twinOfNetwork, twinOptions } from "./twins.ts";

Deno.test("twins are canonical, and a network's is a network", () => {
  const addresses = ["192.168.0.100", "10.0.0.253", "10.1.2.2", "172.16.0.2"];
  assert.deepEqual(addresses.map(twinOf), [
    ...["2001:db8:c0a8::64", "2001:db8:a00::fd", "2001:db8:a01:2::2", "2001:db8:ac10::2"],
  ]);
  assert.equal(twinOfNetwork("10.1.0.0/16"), "2001:db8:a01::/48");
  assert.equal(twinOfNetwork("192.168.0.1/32"), "2001:db8:c0a8::1/128");
  assert.throws(() => twinOfNetwork("10.0.0.0/9"), RangeError);
});

Deno.test("twinOptions give each flag with an address its twin", () => {
  const options = [
    ...["--net=tap100", "--ipv4-b=10.0.0.1/24", "--dst-addrs=10.0.0.2,10.1.1.2"],
    ...["--gateway=192.168.0.253", "--route=10.1.0.0/16,10.0.0.253", "--trace=off"],
  ];
  assert.deepEqual(twinOptions(options), [
    ...["--ipv4=192.168.0.100/24", "--ipv6=2001:db8:c0a8::64/64", "--net=tap100"],
    ...["--ipv4-b=10.0.0.1/24", "--ipv6-b=2001:db8:a00::1/64"],
    "--dst-addrs=10.0.0.2,10.1.1.2,2001:db8:a00::2,2001:db8:a01:1::2",
    ...["--gateway=192.168.0.253", "--gateway=2001:db8:c0a8::fd"],
    ...["--route=10.1.0.0/16,10.0.0.253", "--route=2001:db8:a01::/48,2001:db8:a00::fd"],
    "--trace=off",
  ]);
});

Deno.test("onlyTwins leave no address of IPv4 but the proxy's own", () => {
  const options = ["--net=tap100", "--dst-addrs=192.168.0.1", "--gateway=192.168.0.253"];
  assert.deepEqual(onlyTwins(options), [
    ...["--ipv4=192.168.0.100/24", "--ipv6=2001:db8:c0a8::64/64", "--net=tap100"],
    ...["--dst-addrs=2001:db8:c0a8::1", "--gateway=2001:db8:c0a8::fd"],
  ]);
});

const pingTest = await labTests("ping");

pingTest("a lab with twins speaks IPv6 on every cable, and its router forwards", async () => {
  await using topology = await routed();
  const { lab, client, farAddress } = topology;
  await client.script("ip route add 10.0.0.0/24 via 192.168.0.253");
  await addTwins(lab);
  for (const address of ["192.168.0.1", "192.168.0.253", "10.0.0.1", farAddress]) {
    await client.must(["ping", "-c", "1", "-W", "2", twinOf(address)]);
  }
});
