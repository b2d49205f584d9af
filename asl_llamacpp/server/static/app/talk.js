// The conversation about the document that is open: questions, answers as they come, what stays of them.

import { request } from "./api.js";
import { isAbort } from "./errors.js";
import { events } from "./sse.js";
import { TAB, dropTurn, forgetTurns, keepTurn, turnsOf, watchTurns } from "./talk_store.js";

const PASSAGES = 24; // the best ones: more fill the browser's store, and nobody reads them

/**
 * A turn: {id, question, answer, state, error, passages, nPassages, bins, pruning, finish, tab}; `state` is "asking"
 * until it is "done", "stopped", "cut" (its page went away) or "failed". Events: "turns" (another list), "turn" (detail: a turn
 * that changed), "full" (this browser keeps no more).
 */
export class Talk extends EventTarget {
    constructor(settings, model) {
        super();
        this.settings = settings;
        this.model = model;
        this.id = null;
        this.turns = [];
        this.running = new Map(); // turns that this tab asks: by id, {turn, document, controller}
        this.finished = new Map(); // turns that this tab has answered, by id
        addEventListener("pageshow", () => {
            this.leaving = false;
        });
        watchTurns((id) => {
            this.mend(id);
            if (id === this.id) this.load();
        });
        addEventListener("pagehide", () => {
            this.leaving = true;
            for (const { turn, document } of this.running.values()) keepTurn(document, { ...turn, state: "cut" });
        });
    }

    show(id) {
        this.id = id;
        this.load();
    }

    load() {
        this.turns = (this.id ? turnsOf(this.id) : []).map((turn) => {
            if (this.running.has(turn.id)) return this.running.get(turn.id).turn;
            return turn.state === "asking" && turn.tab === TAB ? { ...turn, state: "cut" } : turn;
        });
        this.tell("turns");
    }

    /** Another tab that wrote at the same moment may have put back what a turn was before its answer. */
    mend(id) {
        for (const { id: turnId, state } of turnsOf(id)) {
            const own = this.finished.get(turnId);
            if (own && state === "asking" && !this.running.has(turnId)) this.keep(id, own);
        }
    }

    get asking() {
        return [...this.running.values()].some(({ document }) => document === this.id);
    }

    ask(question) {
        const turn = { id: crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`, question };
        const earlier = [...this.turns];
        this.turns.push(turn);
        this.run(turn, earlier);
    }

    again(turn) {
        this.run(turn, this.turns.slice(0, this.turns.indexOf(turn)));
    }

    remove(turn) {
        dropTurn(this.id, turn.id);
        this.load();
    }

    stop() {
        for (const { document, controller } of this.running.values()) if (document === this.id) controller.abort();
    }

    clear() {
        this.stop();
        this.forget(this.id);
        this.load();
    }

    forget(id) {
        for (const [turnId, { document, controller }] of this.running) {
            if (document !== id) continue;
            this.running.delete(turnId);
            controller.abort();
        }
        forgetTurns(id);
    }

    async run(turn, earlier) {
        const document = this.id;
        const controller = new AbortController();
        Object.assign(turn, {
            answer: "", state: "asking", error: null, passages: [], bins: null, pruning: null, finish: null, progress: {}, tab: TAB,
        });
        this.running.set(turn.id, { turn, document, controller });
        this.keep(document, turn);
        this.tell("turns");
        try {
            const json = this.settings.request(await this.model(), TAB, document, messages(turn, earlier, this.settings));
            const response = await request("POST", "v1/chat/completions", { json, signal: controller.signal, accept: "text/event-stream" });
            for await (const event of events(response)) {
                take(turn, event);
                this.tell("turn", turn);
            }
            turn.state = "done";
        } catch (error) {
            if (this.leaving) return;
            turn.state = isAbort(error) ? "stopped" : "failed";
            turn.error = isAbort(error) ? null : error.message;
        }
        turn.progress = null;
        if (!this.running.delete(turn.id)) return; // its document was removed
        this.finished.set(turn.id, turn);
        this.keep(document, turn);
        this.tell("turn", turn);
    }

    keep(document, turn) {
        if (!keepTurn(document, { ...turn, progress: null })) this.tell("full");
    }

    tell(name, detail) {
        this.dispatchEvent(new CustomEvent(name, { detail }));
    }
}

function messages(turn, earlier, settings) {
    const said = settings.system ? [{ role: "system", content: settings.system }] : [];
    if (settings.remember)
        for (const { question, answer, state } of earlier)
            if (state === "done" && answer) said.push({ role: "user", content: question }, { role: "assistant", content: answer });
    said.push({ role: "user", content: turn.question });
    return said;
}

/** What an event of the stream adds to a turn. */
function take(turn, event) {
    if (event.prompt_progress) turn.progress = event.prompt_progress;
    const choice = event.choices?.[0];
    if (choice?.delta?.content) {
        turn.answer += choice.delta.content;
        turn.progress = null;
    }
    if (choice?.finish_reason) turn.finish = choice.finish_reason;
    if (event.evidence) {
        turn.passages = event.evidence.slice(0, PASSAGES).map((passage, i) => ({ ...passage, number: i + 1 }));
        turn.nPassages = event.evidence.length;
    }
    if (event.attention) turn.bins = event.attention[0]?.bins.map((value) => Math.round(value * 1000) / 1000) ?? null;
    if (event.pruning) turn.pruning = { ...event.pruning, timings: event.timings };
}
