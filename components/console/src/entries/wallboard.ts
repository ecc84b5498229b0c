import { openPage } from "../lib/page";
import Wallboard from "../views/wallboard/Wallboard.svelte";

void openPage(Wallboard);
