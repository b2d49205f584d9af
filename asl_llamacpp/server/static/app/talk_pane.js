// The right half: the conversation.

import { askable } from "./composer.js";
import { byId, h } from "./dom.js";
import { SHOWN } from "./passages_view.js";
import { TurnView } from "./turn_view.js";

const STARTERS = ["What is this document about?", "What are the most important points?", "Which numbers and dates matter?"];

/** Events: "evidence" (detail: {passages, bins} of the turn that is looked at), "point" and "go" (detail: a number),
 * "answered": a new answer has passages. */
export class TalkPane extends EventTarget {
    constructor(talk, library, ask) {
        super();
        Object.assign(this, { talk, library, ask });
        this.scroller = byId("talk-scroller");
        this.list = byId("turns");
        this.views = new Map();
        this.current = null;
        this.opened = new Set(); // turns of which all passages are shown
        this.follow = true;
        this.scroller.addEventListener("scroll", () => {
            const { scrollTop, scrollHeight, clientHeight } = this.scroller;
            this.follow = scrollHeight - scrollTop - clientHeight < 60;
        }, { passive: true });
        this.on = {
            again: (turn) => talk.again(turn),
            remove: (turn) => talk.remove(turn),
            point: (turn, number) => {
                if (number !== null) this.look(turn);
                this.tell("point", number);
            },
            go: (turn, number) => {
                this.look(turn);
                this.tell("go", number);
            },
            all: (turn) => {
                this.opened.add(turn.id);
                this.look(turn, true);
            },
        };
        talk.addEventListener("turns", () => this.draw());
        talk.addEventListener("turn", ({ detail }) => this.update(detail));
        library.addEventListener("open", () => this.draw());
        library.addEventListener("change", () => this.drawEmpty());
    }

    draw() {
        const { turns } = this.talk;
        const views = new Map();
        for (const turn of turns) {
            const known = this.views.get(turn.id);
            const view = known && (known.turn === turn || JSON.stringify(known.turn) === JSON.stringify(turn)) ? known : new TurnView(turn, this.on);
            view.turn = turn;
            view.update();
            views.set(turn.id, view);
        }
        const grew = turns.length > this.views.size || this.shownDocument !== this.talk.id;
        this.shownDocument = this.talk.id;
        this.views = views;
        const elements = [...views.values()].map(({ element }) => element);
        if (elements.length !== this.list.children.length || elements.some((element, i) => element !== this.list.children[i]))
            this.list.replaceChildren(...elements);
        this.drawEmpty();
        if (grew) this.toEnd();
        const newest = turns.findLast((turn) => turn.passages?.length) ?? null;
        if (!turns.includes(this.current)) this.look(newest);
    }

    drawEmpty() {
        const place = byId("talk-empty");
        const entry = this.library.open;
        place.hidden = this.talk.turns.length > 0 || !entry || entry.status === "failed";
        if (place.hidden) return;
        const key = `${entry.id} ${askable(entry)}`;
        if (place.dataset.of === key) return;
        place.dataset.of = key;
        place.replaceChildren(
            h("h2", {}, "Ask what you want to know"),
            h("p", {}, "Each answer comes with the passages it looked at, so that you can check it. Point at one to see it in the document."),
            h("div.starters", {}, STARTERS.map((text) => h("button.starter", { type: "button", disabled: !askable(entry), onclick: () => this.ask(text) }, text))),
        );
    }

    update(turn) {
        const view = this.views.get(turn.id);
        if (!view) return;
        this.pending ??= requestAnimationFrame(() => {
            this.pending = null;
            for (const one of this.views.values()) if (one.turn.state === "asking") one.update();
            if (this.follow) this.toEnd();
        });
        if (turn.state === "asking") return;
        view.update();
        this.opened.delete(turn.id);
        if (turn.passages?.length) {
            this.look(turn, true);
            this.tell("answered");
        }
        if (this.follow) this.toEndOf(view);
    }

    /** Show this turn's passages in the document. */
    look(turn, again = false) {
        if (this.current === turn && turn && !again) return;
        this.current = turn;
        for (const view of this.views.values()) view.element.classList.toggle("looked-at", view.turn === turn);
        const all = turn?.passages ?? [];
        this.tell("evidence", { passages: this.opened.has(turn?.id) ? all : all.slice(0, SHOWN), bins: turn?.bins ?? null });
    }

    /** Show the passage with this number in the list below its answer. */
    revealPassage(number) {
        const button = this.views.get(this.current?.id)?.element.querySelector(`.passage[data-passage="${number}"]`)
            ?? this.views.get(this.current?.id)?.element.querySelector(".more");
        button?.scrollIntoView({ block: "nearest" });
        button?.focus({ preventScroll: true });
    }

    /** The end of an answer, or its beginning where it is longer than what is seen. */
    toEndOf({ element }) {
        const top = element.offsetTop - 12;
        const end = this.scroller.scrollHeight - this.scroller.clientHeight;
        this.scroller.scrollTo({ top: Math.min(top, end), behavior: "instant" });
    }

    toEnd() {
        this.scroller.scrollTop = this.scroller.scrollHeight;
    }

    tell(name, detail) {
        this.dispatchEvent(new CustomEvent(name, { detail }));
    }
}
