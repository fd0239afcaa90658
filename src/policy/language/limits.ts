/** How large a policy may be. */

/** Most nodes of an expanded policy, and most networks of an expanded list. */
export const MAX_NODES = 1_000_000;

/** Deepest nesting of an expanded policy. */
export const MAX_DEPTH = 500;

/** Most levels of indentation of its text, of nodes on a path, of operators in one another. */
export const MAX_TEXT_DEPTH = 200;
