/**
 * The wrong policy files of `tests/golden/policies/wrong`, each with the message that it must give.
 * Imported as text, so that reading them needs no permission.
 */
import policy01 from "../golden/policies/wrong/01-empty.policy" with { type: "text" };
import message01 from "../golden/policies/wrong/01-empty.txt" with { type: "text" };
import policy02 from "../golden/policies/wrong/02-no-default.policy" with { type: "text" };
import message02 from "../golden/policies/wrong/02-no-default.txt" with { type: "text" };
import policy03 from "../golden/policies/wrong/03-misspelt-default.policy" with { type: "text" };
import message03 from "../golden/policies/wrong/03-misspelt-default.txt" with { type: "text" };
import policy04 from "../golden/policies/wrong/04-default-of-another-language.policy" with {
  type: "text",
};
import message04 from "../golden/policies/wrong/04-default-of-another-language.txt" with {
  type: "text",
};
import policy05 from "../golden/policies/wrong/05-no-tree.policy" with { type: "text" };
import message05 from "../golden/policies/wrong/05-no-tree.txt" with { type: "text" };
import policy06 from "../golden/policies/wrong/06-misspelt-predicate.policy" with { type: "text" };
import message06 from "../golden/policies/wrong/06-misspelt-predicate.txt" with { type: "text" };
import policy07 from "../golden/policies/wrong/07-misspelt-step.policy" with { type: "text" };
import message07 from "../golden/policies/wrong/07-misspelt-step.txt" with { type: "text" };
import policy08 from "../golden/policies/wrong/08-missing-arrow.policy" with { type: "text" };
import message08 from "../golden/policies/wrong/08-missing-arrow.txt" with { type: "text" };
import policy09 from "../golden/policies/wrong/09-missing-end.policy" with { type: "text" };
import message09 from "../golden/policies/wrong/09-missing-end.txt" with { type: "text" };
import policy10 from "../golden/policies/wrong/10-step-after-decision.policy" with { type: "text" };
import message10 from "../golden/policies/wrong/10-step-after-decision.txt" with { type: "text" };
import policy11 from "../golden/policies/wrong/11-block-after-decision.policy" with {
  type: "text",
};
import message11 from "../golden/policies/wrong/11-block-after-decision.txt" with { type: "text" };
import policy12 from "../golden/policies/wrong/12-tab.policy" with { type: "text" };
import message12 from "../golden/policies/wrong/12-tab.txt" with { type: "text" };
import policy13 from "../golden/policies/wrong/13-inconsistent-indentation.policy" with {
  type: "text",
};
import message13 from "../golden/policies/wrong/13-inconsistent-indentation.txt" with {
  type: "text",
};
import policy14 from "../golden/policies/wrong/14-indented-top-level.policy" with { type: "text" };
import message14 from "../golden/policies/wrong/14-indented-top-level.txt" with { type: "text" };
import policy15 from "../golden/policies/wrong/15-unknown-list.policy" with { type: "text" };
import message15 from "../golden/policies/wrong/15-unknown-list.txt" with { type: "text" };
import policy16 from "../golden/policies/wrong/16-use-before-definition.policy" with {
  type: "text",
};
import message16 from "../golden/policies/wrong/16-use-before-definition.txt" with { type: "text" };
import policy17 from "../golden/policies/wrong/17-recursion.policy" with { type: "text" };
import message17 from "../golden/policies/wrong/17-recursion.txt" with { type: "text" };
import policy18 from "../golden/policies/wrong/18-unknown-subtree.policy" with { type: "text" };
import message18 from "../golden/policies/wrong/18-unknown-subtree.txt" with { type: "text" };
import policy19 from "../golden/policies/wrong/19-duplicate-definition.policy" with {
  type: "text",
};
import message19 from "../golden/policies/wrong/19-duplicate-definition.txt" with { type: "text" };
import policy20 from "../golden/policies/wrong/20-bad-name.policy" with { type: "text" };
import message20 from "../golden/policies/wrong/20-bad-name.txt" with { type: "text" };
import policy21 from "../golden/policies/wrong/21-bad-address.policy" with { type: "text" };
import message21 from "../golden/policies/wrong/21-bad-address.txt" with { type: "text" };
import policy22 from "../golden/policies/wrong/22-host-bits.policy" with { type: "text" };
import message22 from "../golden/policies/wrong/22-host-bits.txt" with { type: "text" };
import policy23 from "../golden/policies/wrong/23-bad-range.policy" with { type: "text" };
import message23 from "../golden/policies/wrong/23-bad-range.txt" with { type: "text" };
import policy24 from "../golden/policies/wrong/24-other-operators.policy" with { type: "text" };
import message24 from "../golden/policies/wrong/24-other-operators.txt" with { type: "text" };
import policy25 from "../golden/policies/wrong/25-bad-label.policy" with { type: "text" };
import message25 from "../golden/policies/wrong/25-bad-label.txt" with { type: "text" };
import policy26 from "../golden/policies/wrong/26-bad-weight.policy" with { type: "text" };
import message26 from "../golden/policies/wrong/26-bad-weight.txt" with { type: "text" };
import policy27 from "../golden/policies/wrong/27-balancer-in-branch.policy" with { type: "text" };
import message27 from "../golden/policies/wrong/27-balancer-in-branch.txt" with { type: "text" };
import policy28 from "../golden/policies/wrong/28-branch-lines.policy" with { type: "text" };
import message28 from "../golden/policies/wrong/28-branch-lines.txt" with { type: "text" };
import policy29 from "../golden/policies/wrong/29-flags-and-icmp.policy" with { type: "text" };
import message29 from "../golden/policies/wrong/29-flags-and-icmp.txt" with { type: "text" };
import policy30 from "../golden/policies/wrong/30-unregistered-custom.policy" with { type: "text" };
import message30 from "../golden/policies/wrong/30-unregistered-custom.txt" with { type: "text" };
import policy31 from "../golden/policies/wrong/31-limits-and-steps.policy" with { type: "text" };
import message31 from "../golden/policies/wrong/31-limits-and-steps.txt" with { type: "text" };
import policy32 from "../golden/policies/wrong/32-arrow-not-alone.policy" with { type: "text" };
import message32 from "../golden/policies/wrong/32-arrow-not-alone.txt" with { type: "text" };
import policy33 from "../golden/policies/wrong/33-misplaced-words.policy" with { type: "text" };
import message33 from "../golden/policies/wrong/33-misplaced-words.txt" with { type: "text" };
import policy34 from "../golden/policies/wrong/34-control-characters.policy" with { type: "text" };
import message34 from "../golden/policies/wrong/34-control-characters.txt" with { type: "text" };
import policy35 from "../golden/policies/wrong/35-long-line.policy" with { type: "text" };
import message35 from "../golden/policies/wrong/35-long-line.txt" with { type: "text" };
import policy36 from "../golden/policies/wrong/36-windows-and-wide.policy" with { type: "text" };
import policy37 from "../golden/policies/wrong/37-pools.policy" with { type: "text" };
import message37 from "../golden/policies/wrong/37-pools.txt" with { type: "text" };
import message36 from "../golden/policies/wrong/36-windows-and-wide.txt" with { type: "text" };

export const WRONG_POLICIES: readonly { file: string; policy: string; message: string }[] = [
  { file: "01-empty.policy", policy: policy01, message: message01 },
  { file: "02-no-default.policy", policy: policy02, message: message02 },
  { file: "03-misspelt-default.policy", policy: policy03, message: message03 },
  { file: "04-default-of-another-language.policy", policy: policy04, message: message04 },
  { file: "05-no-tree.policy", policy: policy05, message: message05 },
  { file: "06-misspelt-predicate.policy", policy: policy06, message: message06 },
  { file: "07-misspelt-step.policy", policy: policy07, message: message07 },
  { file: "08-missing-arrow.policy", policy: policy08, message: message08 },
  { file: "09-missing-end.policy", policy: policy09, message: message09 },
  { file: "10-step-after-decision.policy", policy: policy10, message: message10 },
  { file: "11-block-after-decision.policy", policy: policy11, message: message11 },
  { file: "12-tab.policy", policy: policy12, message: message12 },
  { file: "13-inconsistent-indentation.policy", policy: policy13, message: message13 },
  { file: "14-indented-top-level.policy", policy: policy14, message: message14 },
  { file: "15-unknown-list.policy", policy: policy15, message: message15 },
  { file: "16-use-before-definition.policy", policy: policy16, message: message16 },
  { file: "17-recursion.policy", policy: policy17, message: message17 },
  { file: "18-unknown-subtree.policy", policy: policy18, message: message18 },
  { file: "19-duplicate-definition.policy", policy: policy19, message: message19 },
  { file: "20-bad-name.policy", policy: policy20, message: message20 },
  { file: "21-bad-address.policy", policy: policy21, message: message21 },
  { file: "22-host-bits.policy", policy: policy22, message: message22 },
  { file: "23-bad-range.policy", policy: policy23, message: message23 },
  { file: "24-other-operators.policy", policy: policy24, message: message24 },
  { file: "25-bad-label.policy", policy: policy25, message: message25 },
  { file: "26-bad-weight.policy", policy: policy26, message: message26 },
  { file: "27-balancer-in-branch.policy", policy: policy27, message: message27 },
  { file: "28-branch-lines.policy", policy: policy28, message: message28 },
  { file: "29-flags-and-icmp.policy", policy: policy29, message: message29 },
  { file: "30-unregistered-custom.policy", policy: policy30, message: message30 },
  { file: "31-limits-and-steps.policy", policy: policy31, message: message31 },
  { file: "32-arrow-not-alone.policy", policy: policy32, message: message32 },
  { file: "33-misplaced-words.policy", policy: policy33, message: message33 },
  { file: "34-control-characters.policy", policy: policy34, message: message34 },
  { file: "35-long-line.policy", policy: policy35, message: message35 },
  { file: "36-windows-and-wide.policy", policy: policy36, message: message36 },
  { file: "37-pools.policy", policy: policy37, message: message37 },
];
