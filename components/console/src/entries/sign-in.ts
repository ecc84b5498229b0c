import { openPage } from "../lib/page";
import SignIn from "../views/sign-in/SignIn.svelte";

void openPage(SignIn);
