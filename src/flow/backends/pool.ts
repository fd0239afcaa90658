/**
 * A named set of members, and who of them gets the next connection: one of its own family, or of
 * the other, where families are translated and none of its own can serve.
 */
import type { Random } from "../../core/random.ts";
import { Reason } from "../../core/reason.ts";
import type { PickMethod } from "../../policy/language/ast.ts";
import { type Health, healthOf, isActive } from "../../policy/language/health.ts";
import { AddressSet } from "../../wire/address_set.ts";
import type { HashKey } from "../../wire/keyed_hash.ts";
import { isIpv6, type Pdu } from "../../wire/pdu.ts";
import { Choosers } from "./choosers.ts";
import type { Member } from "./member.ts";

export class Pool {
  readonly name: string;
  /** How members are checked. Changed by `Backends` only. */
  health: Health = healthOf();
  /** In the order given; those that are leaving last. Changed by `Backends` only. */
  members: readonly Member[] = [];
  /**
   * Addresses of members that are leaving, as long as they have connections; no other member has
   * them.
   */
  readonly leaving: AddressSet = new AddressSet();
  readonly #ipv4: Choosers;
  readonly #ipv6: Choosers;

  constructor(name: string, key: HashKey) {
    this.name = name;
    this.#ipv4 = new Choosers(this, false, key);
    this.#ipv6 = new Choosers(this, true, key);
  }

  /** The status of a member has changed. */
  changed(): void {
    this.#ipv4.changed();
    this.#ipv6.changed();
  }

  /** Members have come or gone, or what the policy says of them has changed. */
  rearrange(members: readonly Member[]): void {
    this.members = members;
    this.#ipv4.rearrange();
    this.#ipv6.rearrange();
    this.leaving.clear();
    for (const { isLeaving, address } of members) if (isLeaving) this.leaving.add(address);
    for (const { isLeaving, address } of members) if (!isLeaving) this.leaving.delete(address);
  }

  /** A member that was leaving has gone. */
  forget(gone: Member): void {
    this.members = this.members.filter((member) => member !== gone);
    const isThere = this.members.some(({ address }) => address === gone.address);
    if (!isThere) this.leaving.delete(gone.address);
  }

  /** A member has more or fewer connections. */
  loadChanged(member: Member): void {
    this.#of(member.isIpv6).loadChanged(member);
  }

  /** Those that new connections may go to: full ones, too; of either family. */
  get usable(): readonly Member[] {
    return [...this.#ipv4.usable, ...this.#ipv6.usable];
  }

  /** True if new connections may go to this one of its members. */
  canUse(member: Member): boolean {
    return this.#of(member.isIpv6).canUse(member);
  }

  /**
   * Why `pick` gave none for the connection that `pdu` opens; `mayCross`: members of the other
   * family were asked, too.
   */
  refusal({ protocol }: Readonly<Pdu>, mayCross = false): number {
    const one = this.#of(isIpv6(protocol));
    const usable = mayCross ? this.usable : one.usable;
    if (usable.length > 0) return Reason["backends-full"];
    const isOfOther = !mayCross && one.members.length === 0 && this.members.length > 0;
    const isChecked = isActive(this.health.check) && !isOfOther;
    return Reason[isChecked ? "all-down" : "no-backend"];
  }

  /**
   * True if members of the other family are better for a connection of that one: its own are not
   * there, or down, or full. Nothing is chosen yet.
   */
  crossesFor(ofIpv6: boolean): boolean {
    return this.#of(!ofIpv6).readiness > this.#of(ofIpv6).readiness;
  }

  /**
   * A member of that family for the connection that `pdu` opens, or null if none can take it:
   * `refusal` says why.
   */
  pick(
    method: PickMethod,
    pdu: Readonly<Pdu>,
    random: Random,
    ofIpv6 = isIpv6(pdu.protocol),
  ): Member | null {
    return this.#of(ofIpv6).pick(method, pdu, random);
  }

  /** As `pick`, a member that is none of the `excluded`, or null. */
  pickOther(
    method: PickMethod,
    pdu: Readonly<Pdu>,
    random: Random,
    excluded: (member: Member) => boolean,
    ofIpv6 = isIpv6(pdu.protocol),
  ): Member | null {
    return this.#of(ofIpv6).pickOther(method, pdu, random, excluded);
  }

  /** True if `pickOther` would find one of that family. */
  hasOther(ofIpv6: boolean, excluded: (member: Member) => boolean): boolean {
    return this.#of(ofIpv6).hasOther(excluded);
  }

  #of(ofIpv6: boolean): Choosers {
    return ofIpv6 ? this.#ipv6 : this.#ipv4;
  }
}
