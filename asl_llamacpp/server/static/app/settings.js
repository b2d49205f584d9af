// What the person chose, kept in this browser.

const NAME = "asl:settings";

const DEFAULTS = {
    onlyFromDocument: false,
    remember: true,
    temperature: 0,
    maxTokens: 512,
    system: "",
    policy: "",
};

export class Settings extends EventTarget {
    constructor() {
        super();
        this.load();
        addEventListener("storage", ({ key }) => {
            if (key !== NAME) return;
            this.load();
            this.dispatchEvent(new Event("change"));
        });
    }

    load() {
        let kept = {};
        try {
            kept = JSON.parse(localStorage.getItem(NAME) ?? "{}");
        } catch {
            kept = {};
        }
        for (const [name, value] of Object.entries(DEFAULTS)) this[name] = typeof kept[name] === typeof value ? kept[name] : value;
    }

    set(changes) {
        Object.assign(this, changes);
        const kept = Object.fromEntries(Object.keys(DEFAULTS).map((name) => [name, this[name]]));
        try {
            localStorage.setItem(NAME, JSON.stringify(kept));
        } catch {
            // it holds until the page is closed
        }
        this.dispatchEvent(new Event("change"));
    }

    reset() {
        this.set({ ...DEFAULTS });
    }

    /** The body of a request for an answer; `user` is who waits for it, among those whom the server takes in turn. */
    request(model, user, document, messages) {
        const body = {
            model,
            user,
            messages,
            documents: [document],
            stream: true,
            stream_options: { include_usage: true },
            return_progress: true,
            only_from_document: this.onlyFromDocument,
            temperature: this.temperature,
            max_tokens: this.maxTokens,
        };
        if (this.policy.trim()) body.policy = this.policy.trim();
        return body;
    }
}
