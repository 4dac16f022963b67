import { openFrame } from "./frame.js"; openFrame();
