/**
 * Keeps `tests/COMPLIANCE.md` true: it has a row for every requirement of these RFCs, each row says
 * whether it is met, and every test that a row names exists.
 */
import assert from "node:assert/strict";

/**
 * Every requirement and its lettered parts, as the RFCs number them; those that are no
 * translators' have sections, as RFC 7857; RFC 768 has none.
 */
const REQUIREMENTS: Readonly<Record<string, string>> = {
  "RFC 4787": "1 2 3 3a 4 5 5a 5b 5c 6 6a 7 8 8a 9 9a 10 10a 11 12 12a 12b 13 13a 14 14a",
  "RFC 5382": "1 2 2a 3 3a 3b 4 4a 5 5a 6 7 8 8a 9 10",
  "RFC 5508":
    "1 1a 2 2a 3 3a 3b 3c 3d 4 4a 4b 4c 5 5a 5b 5c 6 7 7a 8 9 10 10a 10b 10c 10d 10e 10f 11",
  "RFC 768": "1",
  "RFC 1812": "4.3.2.8 5.3.1",
  "RFC 826": "1 2 3",
  "RFC 1122": "2.3.2.1 2.3.2.1a 2.3.2.2",
  "RFC 4861": "6.1.1 6.1.2 6.3.4 6.3.5 6.3.6 6.3.7 7.1.1 7.1.2 7.2 7.2.1 7.2.2 7.2.3 7.2.4 7.2.5 " +
    "7.2.6 7.2.7 7.2.8 7.3.1 7.3.3 8.1 8.2 8.3 9",
  "RFC 4862": "5.3 5.4 5.4.1 5.4.2 5.4.3 5.4.4 5.4.5 5.5",
  "RFC 7527": "4.1 4.2",
  "RFC 3810": "5.1 5.2 6.1 6.2 8.2",
  "RFC 4443":
    "2.2 2.3 2.4a 2.4b 2.4c 2.4d 2.4e1 2.4e2 2.4e3 2.4e4 2.4e5 2.4e6 2.4f 3.1 3.2 3.3 3.4 4.2",
  "RFC 8200":
    "3 4 4.1 4.1a 4.2 4.4 4.5-1 4.5-2 4.5-3 4.5-4 4.5-5 4.5-6 4.5-7 4.5-8 4.7 5 6 7 8.1 " +
    "8.3 8.4",
  "RFC 8201": "4 4a 4b",
  "RFC 4890": "4.3.1 4.3.2 4.3.3 4.3.4 4.3.5 4.4.1 4.4.2 4.4.3 4.4.4 4.4.5",
  "RFC 6980": "5-1 5-2",
  "RFC 7112": "5-1 5-2 5-3 5-4 5-5",
  "RFC 8504": "5.1-1 5.1-2 5.1-3 5.2 5.3 5.4-1 5.4-2 5.4-3 5.7.1 5.9 5.11 5.12",
  "RFC 6146": "3.4-1 3.4-2 3.4-3 3.5 3.5.1 3.5.1.1 3.5.2 3.5.3 3.5.4 3.8 5.2 5.3 5.4",
  "RFC 7915":
    "4-1 4-2 4-3 4.1-1 4.1-2 4.2-1 4.2-2 4.2-3 4.2-4 4.3 4.4 4.5 5 5.1-1 5.1-2 5.1.1 5.2-1 5.2-2 " +
    "5.2-3 5.2-4 5.3 5.4 5.5",
  "RFC 7857": "2 2.1 2.2 3 4 5 6 7 7.1 8 9 10 11 12",
  "RFC 9293": "3.6 3.10.7.1 3.10.7.2 3.10.7.3-1 3.10.7.3-2 3.10.7.3-3 3.10.7.3-4 3.10.7.3-5 " +
    "3.10.7.4-1 3.10.7.4-2 3.10.7.4-3 3.10.7.4-4 3.10.7.4-5 3.10.7.4-6 3.10.7.4-7 3.10.7.4-8",
  "RFC 5961": "3.2 4.2 5.2 7 9.1 9.2 9.3",
  "RFC 7413": "4.1.1 4.2.1 4.2.2",
  "RFC 5927": "4.1 4.2 4.3 5.2 6.2 7.2",
};

interface Row {
  readonly rfc: string;
  readonly requirement: string;
  readonly verdict: string;
  readonly tests: readonly string[];
}

/** Rules for translators of IPv4, which hold over IPv6 alike. */
const OF_BOTH_FAMILIES = ["RFC 4787", "RFC 5382", "RFC 5508", "RFC 7857"];

/** What tests about IPv6 are called that are not run over both families. */
const OVER_IPV6 = /IPv6|[a-z]6\b|NeighborDiscovery/;

/** Tests of what has no family. */
const OF_NO_FAMILY =
  "RFC 5382 REQ-5 a, RFC 7857 2.1: open and closing idle times are flags of their own";

const VERDICTS = /^(met(: .+)?|partly: .{20,}|not applicable: .{20,})$/s;

const canRead = Deno.permissions.querySync({ name: "read", path: "." }).state === "granted";

Deno.test({
  name: "COMPLIANCE.md has every requirement, and every test that it names exists",
  ignore: !canRead,
  fn: () => {
    const here = new URL("./", import.meta.url);
    const text = Deno.readTextFileSync(new URL("COMPLIANCE.md", here));
    const sources = testFiles(here).map((url) => Deno.readTextFileSync(url));
    const names = new Set(sources.flatMap((source) => namesIn(source)));
    const ofBoth = new Set(sources.flatMap((source) => namesIn(source, "bothFamilies")));
    assert.ok(names.size > 300 && ofBoth.size > 50, `${names.size} tests found`);
    assert.deepEqual(faultsOf(rowsOf(text), names), []);
    assert.deepEqual(withoutIpv6(rowsOf(text), ofBoth), []);
  },
});

Deno.test("faultsOf finds missing, doubled and unknown rows, bad verdicts and unknown tests", () => {
  const all: Row[] = Object.entries(REQUIREMENTS).flatMap(([rfc, list]) =>
    list.split(" ").map((requirement) => ({ rfc, requirement, verdict: "met", tests: ["a test"] }))
  );
  const names = new Set(["a test"]);
  assert.deepEqual(faultsOf(all, names), []);
  const first = all[0]!;
  const others = all.slice(1);
  const cases: [Row[], string][] = [
    [others, "RFC 4787 1: no row"],
    [[...all, first], "RFC 4787 1: 2 rows"],
    [[...all, { ...first, requirement: "99" }], "RFC 4787 99: no such requirement"],
    [[...others, { ...first, verdict: "yes" }], 'RFC 4787 1: verdict "yes"'],
    [[...others, { ...first, verdict: "partly: no" }], 'RFC 4787 1: verdict "partly: no"'],
    [[...others, { ...first, tests: [] }], "RFC 4787 1: names no test"],
    [[...others, { ...first, tests: ["b"] }], 'RFC 4787 1: no test "b"'],
  ];
  for (const [rows, fault] of cases) assert.deepEqual(faultsOf(rows, names), [fault]);
});

Deno.test("rowsOf reads requirement, verdict and the tests in backquotes", () => {
  const text = "## RFC 1: x\n\n| r | w | v | t |\n| - | - | - | - |\n" +
    "| 2a | words | met | `one`, `t\\|wo` |\n\ntext\n\n## Other\n\n| 3 | a | b | c |\n";
  assert.deepEqual(rowsOf(text), [
    { rfc: "RFC 1", requirement: "2a", verdict: "met", tests: ["one", "t|wo"] },
  ]);
});

function faultsOf(rows: readonly Row[], names: ReadonlySet<string>): string[] {
  const faults: string[] = [];
  for (const [rfc, list] of Object.entries(REQUIREMENTS)) {
    for (const requirement of list.split(" ")) {
      const count = rows.filter((row) => row.rfc === rfc && row.requirement === requirement).length;
      if (count !== 1) {
        faults.push(`${rfc} ${requirement}: ${count === 0 ? "no row" : `${count} rows`}`);
      }
    }
  }
  for (const { rfc, requirement, verdict, tests } of rows) {
    const where = `${rfc} ${requirement}`;
    if (!(REQUIREMENTS[rfc] ?? "").split(" ").includes(requirement)) {
      faults.push(`${where}: no such requirement`);
    }
    if (!VERDICTS.test(verdict)) faults.push(`${where}: verdict "${verdict}"`);
    if (verdict.startsWith("met") && tests.length === 0) faults.push(`${where}: names no test`);
    for (const test of tests) if (!names.has(test)) faults.push(`${where}: no test "${test}"`);
  }
  return faults;
}

/** Requirements that hold over IPv6 alike, and have no test there. */
function withoutIpv6(rows: readonly Row[], ofBoth: ReadonlySet<string>): string[] {
  return rows.filter(({ rfc, verdict, tests }) =>
    OF_BOTH_FAMILIES.includes(rfc) && !verdict.startsWith("not applicable") &&
    !tests.some((test) => ofBoth.has(test) || OVER_IPV6.test(test) || test === OF_NO_FAMILY)
  ).map(({ rfc, requirement }) => `${rfc} ${requirement}: no test over IPv6`);
}

/** Rows of the tables below headings that begin with an RFC's number. */
function rowsOf(markdown: string): Row[] {
  const rows: Row[] = [];
  let rfc = "";
  for (const line of markdown.split("\n")) {
    if (line.startsWith("## ")) rfc = /^## (RFC \d+)/.exec(line)?.[1] ?? "";
    const cells = line.split(/(?<!\\)\|/).slice(1, -1).map((cell) => cell.trim());
    const [requirement, , verdict, tests] = cells;
    if (rfc === "" || cells.length !== 4 || !/^\d/.test(requirement!)) continue;
    const quoted = [...tests!.matchAll(/`([^`]+)`/g)].map(([, name]) => name!.replace("\\|", "|"));
    rows.push({ rfc, requirement: requirement!, verdict: verdict!, tests: quoted });
  }
  return rows;
}

/** Names of the tests in a file that are declared so, and not put together from parts. */
function namesIn(source: string, declared = "Deno\\.test|bothFamilies"): string[] {
  const call = new RegExp(`(?:${declared})\\((?:\\{\\s*name:)?\\s*"((?:[^"\\\\]|\\\\.)*)"`, "g");
  return [...source.matchAll(call)].map(([, name]) => JSON.parse(`"${name}"`));
}

function testFiles(folder: URL): URL[] {
  return [...Deno.readDirSync(folder)].flatMap((entry) => {
    const url = new URL(entry.name + (entry.isDirectory ? "/" : ""), folder);
    if (entry.isDirectory) return testFiles(url);
    return entry.name.endsWith("_test.ts") ? [url] : [];
  });
}
