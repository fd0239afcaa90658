/** Entry of the policy thread where the program runs from its sources or is compiled. */
import { servePolicies } from "../process/policies/worker.ts";

servePolicies();
