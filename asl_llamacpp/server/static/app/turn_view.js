// One question and its answer.

import { AnswerView } from "./answer_view.js";
import { h } from "./dom.js";
import { icon } from "./icons.js";
import { announce } from "./notices.js";
import { passagesView } from "./passages_view.js";
import { ProgressBar } from "./progress_bar.js";
import { pruningButton } from "./pruning_view.js";
import { TAB } from "./talk_store.js";

const ENDED = {
    stopped: "You stopped this answer.",
    cut: "The page was closed before the answer was complete.",
};

export class TurnView {
    /** `on`: {again(turn), remove(turn), point(turn, number), go(turn, number), all(turn)}. */
    constructor(turn, on) {
        this.turn = turn;
        this.on = on;
        this.answer = new AnswerView();
        this.place = h("div.turn-answer");
        this.element = h(
            "article.turn",
            { "aria-label": "Question and answer" },
            h("div.question", {}, h("p", {}, h("span.sr-only", {}, "You asked: "), turn.question)),
            this.place,
        );
        this.shown = null;
        this.update();
    }

    update() {
        const { turn } = this;
        const elsewhere = turn.state === "asking" && turn.tab !== TAB;
        const phase = elsewhere ? "elsewhere" : turn.state === "asking" && !turn.answer ? "waiting" : turn.state;
        if (phase !== this.shown) this.build(phase);
        if (phase === "waiting") this.progress.update(turn.progress ?? {});
        if (turn.answer) this.answer.show(turn.answer, phase === "asking");
    }

    build(phase) {
        const { turn, place } = this;
        const was = this.shown;
        this.shown = phase;
        this.element.dataset.state = phase;
        if (phase === "waiting") {
            this.progress = new ProgressBar("Looking through the document");
            place.replaceChildren(this.progress.element);
        } else if (phase === "asking") {
            place.replaceChildren(this.answer.element);
        } else if (phase === "elsewhere") {
            place.replaceChildren(h("p.ended", {}, "Being answered in another tab …"));
        } else {
            place.replaceChildren(...this.ended(turn));
            if (was) announce(phase === "done" ? `Answer: ${turn.answer}` : turn.error ?? ENDED[phase] ?? "");
        }
    }

    ended(turn) {
        const parts = [];
        if (turn.answer) parts.push(this.answer.element);
        else if (turn.state === "done") parts.push(h("p.ended", {}, "The answer is empty. Try to ask in other words."));
        if (turn.state === "failed") parts.push(h("div.error-card", { role: "alert" }, icon("warning"), h("p", {}, turn.error)));
        if (ENDED[turn.state]) parts.push(h("p.ended", {}, ENDED[turn.state]));
        if (turn.finish === "length") parts.push(h("p.ended", {}, "It ends here because of the length that is set for answers in the settings."));
        if (turn.passages?.length) {
            const point = (number) => this.on.point(turn, number);
            const go = (number) => this.on.go(turn, number);
            const all = () => this.on.all(turn);
            parts.push(passagesView(turn.passages, turn.nPassages, { point, go, all }));
        }
        parts.push(this.actions(turn));
        return parts;
    }

    actions(turn) {
        const copy = h("button.icon-button.small", { type: "button", "aria-label": "Copy the answer", title: "Copy", onclick: () => this.copy(copy) }, icon("copy"));
        return h(
            "div.actions",
            {},
            turn.answer ? copy : null,
            h("button.icon-button.small", { type: "button", "aria-label": "Ask again", title: "Ask again", onclick: () => this.on.again(turn) }, icon("again")),
            turn.pruning ? pruningButton(turn.pruning) : null,
            h("button.icon-button.small.remove", { type: "button", "aria-label": "Delete this question and answer", title: "Delete", onclick: () => this.on.remove(turn) }, icon("trash")),
        );
    }

    async copy(button) {
        try {
            await navigator.clipboard.writeText(this.turn.answer);
        } catch {
            announce("This browser does not let the page copy: select the text instead");
            return;
        }
        button.replaceChildren(icon("check"));
        announce("Copied");
        setTimeout(() => button.replaceChildren(icon("copy")), 1600);
    }
}
