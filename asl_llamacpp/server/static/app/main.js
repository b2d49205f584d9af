// The page: makes its parts, and tells them of each other.

import { getJson } from "./api.js";
import { startComposer } from "./composer.js";
import { DocumentPane } from "./document_pane.js";
import { byId } from "./dom.js";
import { startDrop } from "./drop.js";
import { icon } from "./icons.js";
import { Library } from "./library.js";
import { startLibraryPanel } from "./library_panel.js";
import { notice } from "./notices.js";
import { Prefill } from "./prefill.js";
import { startPrefillCard } from "./prefill_card.js";
import { Settings } from "./settings.js";
import { startSettings } from "./settings_dialog.js";
import { Tabs } from "./tabs.js";
import { Talk } from "./talk.js";
import { TalkPane } from "./talk_pane.js";

const theme = window.aslTheme;
for (const place of document.querySelectorAll("[data-icon]")) place.prepend(icon(place.dataset.icon));

let modelName = null;
async function model() {
    modelName ??= (await getJson("v1/models")).data[0]?.id ?? "default";
    return modelName;
}

const settings = new Settings();
const library = new Library();
const prefill = new Prefill(library);
const talk = new Talk(settings, model);
const tabs = new Tabs();
const pane = new DocumentPane(library);
const composer = startComposer(talk, library, settings);
const talkPane = new TalkPane(talk, library, (text) => composer.ask(text));

library.addEventListener("open", ({ detail }) => {
    talk.show(detail);
    prefill.consider();
});
library.addEventListener("change", () => {
    byId("welcome").hidden = !library.loaded || library.documents.length > 0;
    byId("halves").hidden = !library.documents.length;
    byId("tabs").hidden = !library.documents.length;
    prefill.consider();
});
library.addEventListener("trouble", ({ detail }) => {
    byId("trouble").hidden = !detail;
    byId("trouble-text").textContent = detail?.message ?? "";
});
byId("trouble-again").addEventListener("click", () => library.refresh());

talkPane.addEventListener("evidence", ({ detail }) => pane.showEvidence(detail.passages, detail.bins));
talkPane.addEventListener("answered", () => pane.revealBest());
talkPane.addEventListener("point", ({ detail }) => pane.point(detail));
talkPane.addEventListener("go", ({ detail }) => {
    if (tabs.narrow) {
        tabs.show("document");
        byId("back-to-answer").hidden = false;
    }
    pane.reveal(detail);
});
pane.addEventListener("mark", ({ detail }) => {
    if (tabs.narrow) tabs.show("talk");
    talkPane.revealPassage(detail);
});
byId("back-to-answer").addEventListener("click", () => tabs.show("talk"));
talk.addEventListener("full", () => notice("This browser has no room left: newer answers are not kept. Delete old conversations."));
talk.addEventListener("turns", () => tabs.narrow && talk.asking && tabs.show("talk"));

byId("theme-button").addEventListener("click", () => theme.set(theme.isDark() ? "light" : "dark"));
addEventListener("theme", () => pane.map.request());

startLibraryPanel(library, (id) => talk.forget(id));
startPrefillCard(prefill);
startSettings(settings, theme, talk);
startDrop(library);
library.start();
document.documentElement.dataset.ready = "";
