import { testOthers } from "./test-mutations.ts";

testOthers(0);
