import assert from "node:assert/strict";
import { SeededRandom } from "../../src/core/random.ts";
import * as address from "../../src/wire/address.ts";

Deno.test("parseAddress and formatAddress turn text into a signed number and back", () => {
  const cases: [string, number][] = [
    ["0.0.0.0", 0],
    ["0.0.0.1", 1],
    ["1.2.3.4", 0x0102_0304],
    ["127.255.255.255", 0x7fff_ffff],
    ["128.0.0.0", -0x8000_0000],
    ["192.168.0.1", -1_062_731_775],
    ["255.255.255.255", -1],
  ];
  for (const [text, number] of cases) {
    assert.equal(address.parseAddress(text), number);
    assert.equal(address.formatAddress(number), text);
  }
  const random = new SeededRandom(4);
  for (let i = 0; i < 10_000; i++) {
    const number = random.uint32() | 0;
    assert.equal(address.parseAddress(address.formatAddress(number)), number);
  }
});

Deno.test("parseAddress refuses all else, quoting it and saying what it expects", () => {
  const four = "expected four decimal octets, as in 192.168.0.1";
  const cases: [string, ErrorConstructor, string][] = [
    ["", SyntaxError, four],
    ["1.2.3", SyntaxError, four],
    ["1.2.3.4.5", SyntaxError, four],
    ["1.2.3.", SyntaxError, four],
    ["1.2.3.4 ", SyntaxError, four],
    [" 1.2.3.4", SyntaxError, four],
    ["1.2.3.x", SyntaxError, four],
    ["1.2.3.-4", SyntaxError, four],
    ["1.2.3.+4", SyntaxError, four],
    ["0x1.2.3.4", SyntaxError, four],
    ["1.2.3.4e0", SyntaxError, four],
    ["1.2.3.٤", SyntaxError, four],
    ["1.2.3.4\n", SyntaxError, four],
    ["1.2.3.99999999999", SyntaxError, four],
    ["backend", SyntaxError, four],
    ["1.2.3.04", SyntaxError, "octet must not start with 0"],
    ["00.2.3.4", SyntaxError, "octet must not start with 0"],
    ["300.1.1.1", RangeError, "octet must be ≤ 255"],
    ["1.1.1.256", RangeError, "octet must be ≤ 255"],
    ["1.1.4294967296.1", RangeError, "octet must be ≤ 255"],
  ];
  for (const [text, kind, why] of cases) {
    const message = `Cannot parse "${text}" as IPv4 address: ${why}`;
    assert.throws(() => address.parseAddress(text), (error) => {
      assert.ok(error instanceof kind, `${text}: ${error}`);
      assert.equal(error.message, message);
      return true;
    });
  }
});

Deno.test("parseInterface reads the prefix length or takes the default one", () => {
  const cases: [string, number][] = [["10.0.0.1", 24], ["10.0.0.1/0", 0], ["10.0.0.1/31", 31], [
    "10.0.0.1/32",
    32,
  ]];
  for (const [text, prefixLength] of cases) {
    assert.deepEqual(address.parseInterface(text, 24), { address: 0x0a00_0001, prefixLength });
  }
});

Deno.test("parseInterface refuses other prefixes and addresses", () => {
  for (
    const text of [
      "1.2.3.4/",
      "1.2.3.4/33",
      "1.2.3.4/-1",
      "1.2.3.4/x",
      "1.2.3.4/24/8",
      "1.2.3.4/100",
    ]
  ) {
    assert.throws(() => address.parseInterface(text, 24), {
      name: "RangeError",
      message: `Cannot parse "${text}" as IPv4 address: prefix length must be 0 to 32`,
    });
  }
  assert.throws(() => address.parseInterface("1.2.3/24", 24), {
    name: "SyntaxError",
    message:
      'Cannot parse "1.2.3" as IPv4 address: expected four decimal octets, as in 192.168.0.1',
  });
});

Deno.test("maskOf, subnetOf, inSubnet and directedBroadcast agree with arithmetic, /0 to /32", () => {
  const random = new SeededRandom(32);
  for (let prefixLength = 0; prefixLength <= 32; prefixLength++) {
    const size = 2 ** (32 - prefixLength);
    assert.equal(address.maskOf(prefixLength) >>> 0, 2 ** 32 - size);
    for (const number of [0, -1, 0x7fff_ffff, -0x8000_0000, random.uint32() | 0]) {
      const first = Math.floor((number >>> 0) / size) * size;
      const subnet = address.subnetOf(number, prefixLength);
      assert.deepEqual(subnet, { network: first | 0, prefixLength });
      const broadcast = prefixLength > 30 ? null : (first + size - 1) | 0;
      assert.equal(address.directedBroadcast(subnet), broadcast, `/${prefixLength}`);
      for (const other of [first, first + size - 1, first - 1, first + size, random.uint32()]) {
        if (other < 0 || other >= 2 ** 32) continue;
        assert.equal(
          address.inSubnet(other | 0, subnet),
          other >= first && other < first + size,
          `${address.formatAddress(other)} in ${address.formatAddress(first)}/${prefixLength}`,
        );
      }
    }
  }
});

Deno.test("isMulticast, isLoopback, isThisNetwork and isReserved know their first and last", () => {
  const kinds = {
    multicast: address.isMulticast,
    loopback: address.isLoopback,
    thisNetwork: address.isThisNetwork,
    reserved: address.isReserved,
  };
  const cases: [string, keyof typeof kinds | null][] = [
    ["0.0.0.0", "thisNetwork"],
    ["0.255.255.255", "thisNetwork"],
    ["1.0.0.0", null],
    ["126.255.255.255", null],
    ["127.0.0.0", "loopback"],
    ["127.255.255.255", "loopback"],
    ["128.0.0.0", null],
    ["223.255.255.255", null],
    ["224.0.0.0", "multicast"],
    ["239.255.255.255", "multicast"],
    ["240.0.0.0", "reserved"],
    ["255.255.255.255", "reserved"],
  ];
  for (const [text, expected] of cases) {
    const number = address.parseAddress(text);
    const found = Object.entries(kinds).filter(([, is]) => is(number)).map(([kind]) => kind);
    assert.deepEqual(found, expected === null ? [] : [expected], text);
  }
});

Deno.test("parseMac and formatMac turn text into two numbers and back", () => {
  const cases: [string, address.Mac][] = [
    ["00:00:00:00:00:00", { hi: 0, lo: 0 }],
    ["02:00:5e:10:00:01", { hi: 0x0200, lo: 0x5e10_0001 }],
    ["00:ff:80:00:00:00", { hi: 0x00ff, lo: -0x8000_0000 }],
    ["ff:ff:ff:ff:ff:ff", { hi: 0xffff, lo: -1 }],
  ];
  for (const [text, mac] of cases) {
    assert.deepEqual(address.parseMac(text), mac);
    assert.equal(address.formatMac(mac), text);
  }
  assert.deepEqual(address.parseMac("0A-bC-5E-10-00-0f"), address.parseMac("0a:bc:5e:10:00:0f"));
});

Deno.test("parseMac refuses all else, quoting it", () => {
  for (
    const text of [
      "",
      "02:00:5e:10:00",
      "02:00:5e:10:00:01:02",
      "2:0:5e:10:0:1",
      "02005e100001",
      "02:00:5e:10:00:0g",
      "02:00:5e:10:00:01 ",
    ]
  ) {
    assert.throws(() => address.parseMac(text), {
      name: "SyntaxError",
      message: `Cannot parse "${text}" as MAC address: ` +
        "expected six hex octets, as in 02:00:5e:10:00:01",
    });
  }
});

Deno.test("isGroupMac is the lowest bit of the first octet", () => {
  const cases: [string, boolean][] = [
    ["ff:ff:ff:ff:ff:ff", true],
    ["01:00:5e:00:00:01", true],
    ["33:33:00:00:00:01", true],
    ["02:00:00:00:00:01", false],
    ["fe:ff:ff:ff:ff:ff", false],
    ["00:01:00:00:00:01", false],
  ];
  for (const [text, group] of cases) {
    assert.equal(address.isGroupMac(address.parseMac(text)), group, text);
  }
});

Deno.test("stableMac is locally administered, unicast, and the same for the same name and address", () => {
  const seen = new Set<string>();
  for (const name of ["tap0", "tap1", "tap100", "a", "ä", "veth-very-long-x"]) {
    for (let host = 0; host < 256; host++) {
      const mac = address.stableMac(name, 0xc0a8_0000 | host);
      assert.equal(mac.hi & 0x0300, 0x0200);
      assert.ok(mac.hi >= 0 && mac.hi <= 0xffff && (mac.lo | 0) === mac.lo);
      assert.deepEqual(mac, address.stableMac(name, 0xc0a8_0000 | host));
      seen.add(address.formatMac(mac));
    }
  }
  assert.equal(seen.size, 6 * 256);
});
