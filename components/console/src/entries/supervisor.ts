import { openPage } from "../lib/page";
import Supervisor from "../views/supervisor/Supervisor.svelte";

void openPage(Supervisor);
