import { openPage } from "../lib/page";
import AgentDesk from "../views/agent/AgentDesk.svelte";

void openPage(AgentDesk);
