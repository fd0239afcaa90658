/** How large a policy may be. */

/** Most nodes of an expanded policy, and most networks of an expanded list. */
export const MAX_NODES = 1_000_000;

/** Most pools of a policy, and most members of all its pools. */
export const MAX_POOLS = 4096;
export const MAX_POOL_MEMBERS = 65_535;

/** Greatest weight of a pool's member, and most connections that it may be held to. */
export const MAX_MEMBER_WEIGHT = 256;
export const MAX_MAXCONN = 1_000_000;

/** Deepest nesting of an expanded policy. */
export const MAX_DEPTH = 500;

/** Most levels of indentation of its text, of nodes on a path, of operators in one another. */
export const MAX_TEXT_DEPTH = 200;
