/** Entry of the control thread where the program runs from its sources or is compiled. */
import { serveControl } from "../process/control/worker.ts";

serveControl();
