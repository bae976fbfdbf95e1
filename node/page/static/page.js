// Runs on every page: gives life to whatever carries a data attribute of one of the scripts below.
import * as browse from "./browse.js";
import * as node from "./node.js";
import * as person from "./person.js";
import * as player from "./player.js";
import * as publish from "./publish.js";
import * as speak from "./speak.js";
import * as talk from "./talk.js";
import * as train from "./train.js";
import * as trainings from "./trainings.js";
import * as voice from "./voice.js";
import { onNew } from "./rpc.js";

const scripts = [player, browse, voice, person, talk, speak, train, trainings, publish, node];
for (const script of scripts) onNew(script.enhance);
// Whoever drives the page by a program knows from this that its buttons work.
document.documentElement.dataset.alive = "";
