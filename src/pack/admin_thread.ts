/** Entry of the admin thread where the program runs from its sources or is compiled. */
import { serveAdmin } from "../process/admin/worker.ts";
import { builtPage } from "./source.ts";

serveAdmin(builtPage);
