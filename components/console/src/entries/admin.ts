import { openPage } from "../lib/page";
import Admin from "../views/admin/Admin.svelte";

void openPage(Admin);
