// On a phone: the document or the conversation.

import { byId } from "./dom.js";

const NARROW = matchMedia("(max-width: 760px)");

export class Tabs {
    constructor() {
        this.tabs = [...document.querySelectorAll("[role=tab]")];
        for (const tab of this.tabs) {
            tab.addEventListener("click", () => this.show(tab.dataset.tab));
            tab.addEventListener("keydown", (event) => {
                if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
                const other = this.tabs.find((one) => one !== tab);
                this.show(other.dataset.tab);
                other.focus();
            });
        }
        NARROW.addEventListener("change", () => this.apply());
        this.show("document");
    }

    get narrow() {
        return NARROW.matches;
    }

    show(name) {
        this.now = name;
        this.apply();
    }

    apply() {
        document.body.dataset.tab = this.now;
        for (const tab of this.tabs) {
            const chosen = tab.dataset.tab === this.now;
            tab.setAttribute("aria-selected", String(chosen));
            tab.tabIndex = chosen ? 0 : -1;
        }
        byId("back-to-answer").hidden = true;
    }
}
