import { testOthers } from "./test-mutations.ts";

testOthers(1);
