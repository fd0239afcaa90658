/**
 * A policy that is ready to run as data, for the thread that runs it: a few arrays and texts,
 * nothing for each node, so that it crosses threads without a copy, and is no work for a collector
 * of garbage. Only functions can't cross: a policy with a user's own is made where it runs.
 *
 *     text ── parse ── plan ── compile ── image ──▶ another thread ── link ── functions
 */
import { addressOfWords, isIpv6, wordsOf } from "../../wire/host_address.ts";
import type { Slices } from "../../core/slices.ts";
import { textAt, type Texts, TextWriter } from "../../core/texts.ts";
import type { AddressTerm, BalanceMethod, Family, PickMethod, Policy } from "../language/ast.ts";
import { balancer, type Chooser, limiter } from "./chooser.ts";
import { compileInSlices } from "./compile.ts";
import { type DoubtsImage, doubtsIn } from "./doubts.ts";
import type { Environment, LeavingAddresses } from "./environment.ts";
import type { Code } from "./link.ts";
import { type Outline, outlineOf } from "./outline.ts";
import { type Destination, NODES_AT_ONCE, type Plan } from "./plan.ts";

/** What is compiled, for one family. */
export interface FamilyImage {
  readonly code: Code;
  /** Pools whose leaving members the code asks for, by the number that it has for them. */
  readonly leaving: readonly string[];
  /** Null: nobody asks. */
  readonly doubts: (DoubtsImage & { readonly leaving: readonly string[] }) | null;
}

export interface Image {
  readonly outline: Outline;
  readonly ipv4: FamilyImage;
  /** Null without IPv6. */
  readonly ipv6: FamilyImage | null;
  /** A row for each balancer and limit. */
  readonly choosers: Float64Array<ArrayBuffer>;
  readonly destinations: Destinations;
  readonly lists: Lists;
  /** For each node the number of the same one in the policy that ran when this was made, or -1. */
  readonly adopted: Int32Array<ArrayBuffer>;
}

/** Where translators send new connections, as three numbers each: pool's name, port, method. */
interface Destinations {
  readonly texts: Texts;
  readonly rows: Int32Array<ArrayBuffer>;
}

/** The named lists. */
interface Lists {
  /** Names of the lists, and after them of what they have in them. */
  readonly names: Texts;
  /** By list: the end of its terms. */
  readonly ends: Uint32Array<ArrayBuffer>;
  /**
   * Each its length, 0 … 32, and the network; or NAMED and a name's number; or, of an IPv6 network,
   * its length and IPV6_LENGTH, and four words.
   */
  readonly terms: Int32Array<ArrayBuffer>;
}

const NAMED = -1;
const IPV6_LENGTH = 256;

const BALANCE_METHODS: readonly BalanceMethod[] = ["in turn", "at random", "by hash"];

/** Most places that are made in one go. */
const EMPTY_AT_ONCE = 1024;

/** Beginnings of rows: kind and node; then what the kind needs. */
const LIMIT = 0;
const BALANCE = 1;

/**
 * The image of a plan without functions of a user's. `poolOf` names the pool that has this set of
 * leaving members.
 */
export function* imageOf(
  plan: Plan,
  adopted: Int32Array<ArrayBuffer>,
  poolOf: (leaving: LeavingAddresses) => string,
  isCarried: boolean,
): Slices<Image> {
  const { isIpv6On } = plan.environment;
  return {
    outline: yield* outlineOf(plan),
    ipv4: yield* familyImage(plan, 4, poolOf, isCarried),
    ipv6: isIpv6On ? yield* familyImage(plan, 6, poolOf, isCarried) : null,
    choosers: yield* chooserRows(plan),
    destinations: destinationRows(plan.destinations),
    lists: listRows(plan.policy.lists),
    adopted,
  };
}

function* familyImage(
  plan: Plan,
  family: Family,
  poolOf: (leaving: LeavingAddresses) => string,
  isCarried: boolean,
): Slices<FamilyImage> {
  const { code, leaving, customs } = yield* compileInSlices(plan, family);
  const doubts = isCarried ? yield* doubtsIn(plan, family) : null;
  if (customs.length > 0) throw new TypeError("Cannot make an image: there are functions in it");
  return {
    code,
    leaving: leaving.map(poolOf),
    doubts: doubts === null ? null : { ...doubts.image, leaving: doubts.leaving.map(poolOf) },
  };
}

/** The buffers of all arrays in it, which cross threads without a copy. */
export function buffersOf(part: unknown): ArrayBuffer[] {
  if (ArrayBuffer.isView(part)) return [part.buffer as ArrayBuffer];
  return typeof part === "object" && part !== null ? Object.values(part).flatMap(buffersOf) : [];
}

function* chooserRows({ nodes }: Plan): Slices<Float64Array<ArrayBuffer>> {
  const rows: number[] = [];
  for (const { tree, number } of nodes) {
    if (number % NODES_AT_ONCE === 0) yield;
    if (tree.node === "limit") {
      rows.push(LIMIT, number, tree.perSecond, tree.burst, Number(tree.per === "source"));
    } else if (tree.node === "balance") {
      const { by, per, branches } = tree;
      rows.push(BALANCE, number, BALANCE_METHODS.indexOf(by), Number(per === "connection"));
      rows.push(branches.length);
      for (const { weight } of branches) rows.push(weight);
    } else if (tree.node === "select") {
      throw new TypeError("Cannot make an image: there are functions in it");
    }
  }
  return Float64Array.from(rows);
}

/** The choosers by node: `known`, or new ones. */
export function* choosersOf(
  { choosers: rows, outline: { sizes } }: Image,
  environment: Environment,
  known: (node: number) => Chooser | undefined,
): Slices<(Chooser | undefined)[]> {
  const choosers: (Chooser | undefined)[] = [];
  for (let node = 0; node < sizes.length; node++) {
    if (node % EMPTY_AT_ONCE === 0) yield;
    choosers.push(undefined);
  }
  for (let at = 0; at < rows.length;) {
    yield;
    const [kind, node] = [rows[at]!, rows[at + 1]!];
    const [one, two, three] = [rows[at + 2]!, rows[at + 3]!, rows[at + 4]!];
    at += 5;
    if (kind === LIMIT) {
      const limit = { perSecond: one, burst: two, per: three === 1 ? "source" : "rule" } as const;
      choosers[node] = known(node) ?? limiter(limit, environment);
    } else {
      const branches = Array.from(rows.subarray(at, at + three), (weight) => ({ weight }));
      const balance = { by: BALANCE_METHODS[one]!, per: two === 1 ? "connection" : "pdu" } as const;
      choosers[node] = known(node) ?? balancer({ ...balance, branches }, environment);
      at += three;
    }
  }
  return choosers;
}

function destinationRows(destinations: readonly Destination[]): Destinations {
  const writer = new TextWriter();
  const rows = destinations.flatMap(({ pool, port, backend }) => [
    writer.add(pool),
    port,
    writer.add(backend),
  ]);
  return { texts: writer.texts(), rows: Int32Array.from(rows) };
}

export function* destinationsOf({ destinations }: Image): Generator<Destination> {
  const { texts, rows } = destinations;
  for (let at = 0; at < rows.length; at += 3) {
    yield {
      pool: textAt(texts, rows[at]!),
      port: rows[at + 1]!,
      backend: textAt(texts, rows[at + 2]!) as PickMethod,
    };
  }
}

function listRows(lists: Policy["lists"]): Lists {
  const names = new TextWriter();
  for (const name of Object.keys(lists)) names.add(name);
  const ends: number[] = [];
  const terms: number[] = [];
  for (const list of Object.values(lists)) {
    for (const term of list) {
      if ("list" in term) terms.push(NAMED, names.add(term.list));
      else if (!isIpv6(term.network)) terms.push(term.prefixLength, term.network);
      else terms.push(IPV6_LENGTH + term.prefixLength, ...wordsOf(term.network));
    }
    ends.push(terms.length);
  }
  return {
    names: names.texts(),
    ends: Uint32Array.from(ends),
    terms: Int32Array.from(terms),
  };
}

/** The lists as the policy has them. */
export function listsIn({ lists: { names, ends, terms } }: Image): Policy["lists"] {
  let at = 0;
  return Object.fromEntries([...ends].map((end, number) => {
    const list: AddressTerm[] = [];
    while (at < end) {
      const [length, value] = [terms[at]!, terms[at + 1]!];
      if (length >= IPV6_LENGTH) {
        const network = addressOfWords(terms, at + 1);
        list.push({ network, prefixLength: length - IPV6_LENGTH });
        at += 5;
        continue;
      }
      list.push(
        length === NAMED
          ? { list: textAt(names, value) }
          : { network: value, prefixLength: length },
      );
      at += 2;
    }
    return [textAt(names, number), list] as const;
  }));
}
